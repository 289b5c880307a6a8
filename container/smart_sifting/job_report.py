"""This process's part in a job: one meter, one verdict, and the receipt written from them."""

from __future__ import annotations

import atexit
import logging
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

import torch
import torch.distributed as dist
from torch.optim.optimizer import register_optimizer_step_post_hook

from smart_sifting import __version__, checkpoints, gloo_threads
from smart_sifting.meter import Meter
from smart_sifting.picture import draw_svg
from smart_sifting.receipt import (
    SIFTED,
    Batches,
    ClassCount,
    Loader,
    Receipt,
    Resumed,
    Samples,
    Seconds,
    Unsifted,
    file_name,
    saved,
    summary_line,
)

if TYPE_CHECKING:
    from smart_sifting.checkpoints.keeper import Keeper

logger = logging.getLogger("smart_sifting")

SECONDS_BETWEEN_WRITES = 1.0


class Pass(Protocol):
    """An epoch that counts."""

    @property
    def unfinished(self) -> bool:
        """Whether batches of it are still to come."""

    @property
    def waiting(self) -> int:
        """Samples that were kept and have not been given yet."""

    @property
    def repeatable(self) -> int:
        """Batches that it has given, and would give again if it were begun again; 0 once over."""


class JobReport:
    """Collects what the loaders of this process do, and writes `receipt.json` in the job's output.

    Args:
        folder: where the receipt goes (a job's SM_OUTPUT_DATA_DIR); None writes nothing.
        clock: seconds, for the meter and for when to write again.
    """

    def __init__(
        self,
        folder: Path | None,
        keep: float = 1.0,
        acceptance: str = "quota",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.meter = Meter(clock, told=self.note, said=self.say)
        self.tier = "waiting"
        self.reason = "no training step has been seen"
        self.keep = keep
        self.acceptance = acceptance
        self.loaders: dict[str, Loader] = {}
        self.notes: list[str] = []
        self.managed: WeakSet[Any] = WeakSet()
        self.resumed: list[Resumed] = []
        self.keeper: Keeper | None = None
        # Epochs that count, each as long as the script holds it.
        self.passes: WeakSet[Pass] = WeakSet()
        self._given_before = self._epochs_before = 0
        self._rank = int(os.environ.get("RANK", "0"))
        self._world_size = int(os.environ.get("WORLD_SIZE", "1"))
        self._process = os.getpid()
        self._folder = folder
        self._clock = clock
        self._written = clock()
        self._failed = False

    @property
    def rank(self) -> int:
        """This process's rank, as torch.distributed says or, outside of it, the environment."""
        self._ask_for_ranks()
        return self._rank

    @property
    def world_size(self) -> int:
        """Ranks that train together, as `rank` knows it."""
        self._ask_for_ranks()
        return self._world_size

    def _ask_for_ranks(self) -> None:
        if dist.is_available() and dist.is_initialized():
            # Kept: at the process's end the group may be gone, and ranks that a script spawns by
            # itself have no RANK in their environment.
            self._rank, self._world_size = dist.get_rank(), dist.get_world_size()

    @property
    def trained(self) -> bool:
        """Whether there is anything to go on from."""
        return self.meter.batches_given > 0 or self.meter.steps > 0

    @property
    def begun(self) -> bool:
        """Whether this very process has begun to train."""
        return self.meter.batches_given > self._given_before

    @property
    def epochs_here(self) -> int:
        """Epochs begun in this process."""
        return self.meter.epochs - self._epochs_before

    def state_dict(self) -> dict[str, Any]:
        """Everything that a receipt shows, for a process that goes on from a checkpoint made now.

        It will begin a running epoch again: only those that are over count, and samples that wait
        for their batch will not come.
        """
        meter = self.meter.state_dict()
        running = [given for each in self.passes if (given := each.repeatable)]
        again = {"batches": running[0] if len(running) == 1 else 0, "epochs": meter["epochs"]}
        meter["epochs"] -= sum(each.unfinished for each in self.passes)
        meter["left_over"] += sum(each.waiting for each in self.passes)
        return {
            "tier": self.tier,
            "reason": self.reason,
            "loaders": [[each.name, each.role, each.reason] for each in self.loaders.values()],
            "notes": list(self.notes),
            "resumed": [[each.step, each.lost_steps, each.lost_seconds] for each in self.resumed],
            "meter": meter,
            "again": again,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave in the process that was interrupted."""
        self.tier, self.reason = state["tier"], state["reason"]
        self.loaders = {each[0]: Loader(*each) for each in state["loaders"]} | self.loaders
        self.notes = [*state["notes"], *(each for each in self.notes if each not in state["notes"])]
        self.resumed = [Resumed(*each) for each in state["resumed"]]
        self.meter.load_state_dict(state["meter"])
        self.meter.expect_again(**state["again"])
        self._given_before, self._epochs_before = self.meter.batches_given, self.meter.epochs

    def say(self, line: str) -> None:
        """One line in the job's log, from one rank: the others' receipts hold theirs."""
        if self.rank == 0:
            logger.info("sift: %s", line)

    def settle(self, tier: str, reason: str) -> None:
        """Say once what is done with this job's data, and why."""
        if (tier, reason) == (self.tier, self.reason):
            return
        self.tier, self.reason = tier, reason
        self.say(f"tier {tier}: {reason}")

    def note(self, line: str) -> None:
        """Something that the user should read in the receipt too."""
        if line not in self.notes:
            self.notes.append(line)
            self.say(line)

    def loader(self, name: str, role: str, reason: str) -> None:
        self.loaders[name] = Loader(name, role, reason)

    def count_step(self, *_: Any) -> None:
        """An optimizer has stepped."""
        self.meter.steps += 1

    def tick(self) -> None:
        """Write the receipt if the last one is a second old."""
        if self._folder is not None and self._clock() - self._written > SECONDS_BETWEEN_WRITES:
            self.write()

    def write(self, *, final: bool = False) -> None:
        """Write the receipt; training goes on if the disk refuses, and that is said once."""
        self._written = self._clock()
        if self._folder is None or self._in_forked_child():
            return
        receipt = self.receipt(final=final)
        if self.keeper is not None:
            self.keeper.receipt_written(receipt)
        try:
            receipt.write(self._folder / file_name(receipt.rank))
            if final and receipt.rank == 0:
                (self._folder / "receipt.svg").write_text(draw_svg(receipt), encoding="utf-8")
        except OSError as refused:
            if not self._failed:
                self._failed = True
                self.say(f"the receipt cannot be written: {refused}")

    def close(self) -> None:
        """The last receipt, and its line in the log."""
        if self._in_forked_child():
            return
        if self._folder is None or (self.tier == "waiting" and not self.loaders):
            return
        self.write(final=True)
        if self.rank == 0:
            logger.info("%s", summary_line(self.receipt(final=True)))

    def receipt(self, *, final: bool = False) -> Receipt:
        """Everything so far."""
        m = self.meter
        seconds = Seconds(
            total=m.elapsed(),
            scoring=m.scoring_seconds,
            training=m.training_seconds,
            data=m.data_seconds,
            discovery=m.discovery_seconds,
        )
        unsifted = self._unsifted()
        return Receipt(
            tier=self.tier,
            reason=self.reason,
            keep=self.keep,
            acceptance=self.acceptance,
            final=final,
            rank=self.rank,
            world_size=self.world_size,
            samples=Samples(m.seen, m.kept, m.seen - m.kept, m.left_over, m.non_finite, m.loaded),
            batches=Batches(m.batches_seen, m.batches_given),
            steps=m.steps,
            epochs=m.epochs,
            seconds=seconds,
            unsifted=unsifted,
            saved=saved(seconds, unsifted) if self.tier in SIFTED else saved(seconds, Unsifted()),
            classes=[ClassCount(label, *counts) for label, counts in sorted(m.classes.items())],
            history=list(m.history),
            loaders=list(self.loaders.values()),
            notes=list(self.notes),
            versions={
                "sift_launcher": __version__,
                "torch": str(torch.__version__),
                "python": platform.python_version(),
            },
            resumed=list(self.resumed),
        )

    def _in_forked_child(self) -> bool:
        """A child that the script forks inherits all of this and none of the training."""
        return os.getpid() != self._process

    def _unsifted(self) -> Unsifted:
        measured = self.meter.unsifted_step()
        if measured is None:
            return Unsifted()
        step, data = measured
        return Unsifted(step, data, self.meter.measured_steps, self.meter.unsifted_seconds())


_report: JobReport | None = None


def start(folder: Path | None, keep: float, acceptance: str) -> JobReport:
    """The report of this process, written at its end. One for a process: later calls get it too."""
    global _report
    if _report is None:
        _log_to_stderr()
        _report = JobReport(folder, keep, acceptance)
        atexit.register(gloo_threads.wait_until_idle)  # the first that registers is called last
        atexit.register(_report.close)
        register_optimizer_step_post_hook(_report.count_step)
    return _report


def adopt(loader: Any, keep: float, acceptance: str) -> Meter:
    """The meter for a loader that the script itself sifts; in a job it counts into its receipt."""
    folder = os.environ.get("SM_OUTPUT_DATA_DIR")
    if _report is None and folder is None:
        return Meter()
    report = start(Path(folder) if folder else None, keep, acceptance)
    manage(loader)
    report.keep, report.acceptance = keep, acceptance
    report.settle("forward", "the script uses SiftingDataloader itself")
    report.loader(type(loader).__name__, "training", "sifted by the script")
    report.meter.listener = report.tick
    checkpoints.install(lambda: report, None)
    checkpoints.attach()
    return report.meter


def manage(loader: Any) -> None:
    """Leave a loader to the script, and the one that Accelerate's loaders iterate themselves."""
    if _report is None:
        return
    for each in (loader, getattr(loader, "base_dataloader", None)):
        with suppress(TypeError):  # a loader that takes no weak references is no DataLoader either
            _report.managed.add(each)


def keeper() -> Keeper | None:
    """What keeps this process's state with the job's checkpoints, if anything does."""
    return None if _report is None else _report.keeper


def follow(epoch: Pass) -> None:
    """Count an epoch as one of the job's, if this is one."""
    if _report is not None:
        _report.passes.add(epoch)


def _log_to_stderr() -> None:
    """Job lines go to stderr, unless the script has set up the logger itself."""
    if logger.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
