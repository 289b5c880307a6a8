"""Finds the training loader of a script that knows nothing of us, and sifts it once it is sure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.data import (
    DataLoader,
    DistributedSampler,
    IterableDataset,
    SequentialSampler,
)

from smart_sifting.acceptance import PreferredQuota
from smart_sifting.dataloader.sift_dataloader import data_of, shape_of
from smart_sifting.discovery.agreement import agreed
from smart_sifting.discovery.epochs import WatchedEpoch
from smart_sifting.discovery.lengths import Lengths
from smart_sifting.discovery.memories import Memories
from smart_sifting.discovery.program import NotTraceable, Program, program_of
from smart_sifting.discovery.schedules import positions
from smart_sifting.discovery.tape import Tape
from smart_sifting.discovery.user_loss import load_loss
from smart_sifting.discovery.watch import (
    OptimizerTurns,
    Role,
    Verdict,
    Watch,
    describe,
    loader_name,
    may_train,
)
from smart_sifting.epoch_plan import DataName, EpochPlan, Shape, planned_epoch
from smart_sifting.errors import SiftingError
from smart_sifting.job_report import JobReport
from smart_sifting.loss.abstract_sift_loss_module import Loss
from smart_sifting.memory.index_pass import Choose, indexable
from smart_sifting.memory.samplers import layers
from smart_sifting.memory.sifter import MemorySifter
from smart_sifting.memory.source import Indices
from smart_sifting.no_trace import unwrapped
from smart_sifting.ranks import world_size
from smart_sifting.scoring import ForwardScorer
from smart_sifting.sift_config.job_config import SiftConfig
from smart_sifting.sifter import Sifter


class Discoverer:
    """Everything that discovery knows in this process.

    Args:
        config: what the job was asked to keep.
        report: where verdicts and counts go.
        plain_length: the length of a loader as torch counts it.
    """

    def __init__(
        self, config: SiftConfig, report: JobReport, plain_length: Callable[[Any], int]
    ) -> None:
        self.config = config
        self.report = report
        self.plain_length = plain_length
        self.tape = Tape(self._on_backward)
        self.turns = OptimizerTurns()
        self.steps = 0
        self.program: tuple[Program, int] | None = None
        self._watches: WeakKeyDictionary[Any, Watch] = WeakKeyDictionary()
        self._latest: Watch | None = None
        self._batch: tuple[Any, int] | None = None
        self._user_loss: Loss | None = None
        self._watching: set[int] = set()
        self._nothing_to_sift = False
        self._trained_on: list[DataName] = []
        self._memories = Memories(config, report)
        self._lengths = Lengths(report)
        # Loaders whose batches have been given since an optimizer stepped last.
        self._since_step: list[Watch] = []
        report.meter.listener = report.tick
        os.register_at_fork(after_in_child=self._in_forked_child)
        self._hook = register_optimizer_step_post_hook(self._on_step)

    # -- what the patched DataLoader asks ------------------------------------------------------

    def follow(self, loader: DataLoader[Any], source: Iterator[Any]) -> Iterator[Any]:
        """The iterator that the script gets in place of `source`."""
        if loader in self.report.managed:
            return source
        try:
            watch = self.watch(loader)
            self._begun(loader, watch)
            plan = self.plan(loader, watch)
        except Exception as failure:  # noqa: BLE001 - a loader of a kind we have not met
            self.report.note(f"a {type(loader).__name__} is left alone: {describe(failure)}")
            return source
        epoch = WatchedEpoch(self, loader, watch, plan, source)
        if isinstance(watch.sifter, MemorySifter):
            watch.sifter.claim(epoch)
        return epoch

    def choose(self, loader: DataLoader[Any]) -> Choose | None:
        """How the pass that begins over a loader is chosen from its first sample on, if it is."""
        if loader in self.report.managed or self.config.keep == 1:
            return None
        try:
            watch = self.watch(loader)
            sifter = self._begun(loader, watch)
            plan = None if sifter is None else sifter.plan(self.shape(loader).whole)
            if sifter is None or plan is None:
                return None
            choose = sifter.chooser(plan)
        except Exception as failure:  # noqa: BLE001 - as above
            self.report.note(f"a {type(loader).__name__} is left alone: {describe(failure)}")
            return None
        return lambda sequence: self._chosen(choose, sequence)

    def _begun(self, loader: DataLoader[Any], watch: Watch) -> MemorySifter | None:
        """The memory of a loader whose next epoch of training has begun with this call, or by an
        earlier one; None if it has none, or this is no pass for training."""
        self._recall(loader, watch)
        sifter = watch.sifter
        samples = self.shape(loader).whole.samples
        if self.config.keep == 1 or samples is None:
            return None
        if not isinstance(sifter, MemorySifter) or not may_train(watch.modules):
            return None
        before = sifter.keep
        sifter.begin_epoch(len(loader.dataset), samples)  # type: ignore[arg-type]
        if sifter.keep != before:
            self._new_share(loader, watch, sifter)
        return sifter

    def _new_share(self, loader: DataLoader[Any], watch: Watch, sifter: MemorySifter) -> None:
        """A job that chooses its share goes on with less."""
        self._pace_schedules(loader, watch, sifter)
        self.report.say(
            f"keep auto: {sifter.keep:.0%} of the samples from epoch "
            f"{self.report.meter.epochs + 1} on, for the others have little left to teach"
        )

    def _pace_schedules(self, loader: DataLoader[Any], watch: Watch, sifter: MemorySifter) -> None:
        """Schedules were built for epochs of all samples: fewer steps must take them as far."""
        self.report.keep = sifter.keep
        plan = sifter.plan(self.shape(loader))
        if plan is not None:
            self._lengths.pace(watch, self.plain_length(loader), plan.batches)

    def _chosen(self, choose: Choose, sequence: Indices) -> Indices:
        try:
            return choose(sequence)
        except Exception as failure:  # noqa: BLE001 - the script gets its samples in any case
            self.report.note(f"an epoch is not sifted: {describe(failure)}")
            return sequence

    def length(self, loader: DataLoader[Any]) -> int:
        """How many batches the next pass over a loader gives the script."""
        plain = self.plain_length(loader)
        if loader in self.report.managed:
            return plain
        try:
            return self._length(loader, plain)
        except Exception as failure:  # noqa: BLE001 - as above; the script gets torch's own answer
            self.report.note(f"a {type(loader).__name__} is left alone: {describe(failure)}")
            return plain

    def close(self) -> None:
        """Listen to torch no more."""
        self.tape.stop()
        self._hook.remove()
        self._memories.close()

    # -- what the watched epochs ask -----------------------------------------------------------

    def watch(self, loader: DataLoader[Any]) -> Watch:
        known = self._watches.get(loader)
        if known is None:
            samples = self.shape(loader).samples
            known = Watch(loader_name(loader, len(self._watches) + 1, samples))
            if self.program is not None and self.config.loss is None:
                known.candidate, known.rows = self.program
                known.known = True
                known.modules = known.candidate.modules
            self._watches[loader] = known
        return known

    def shape(self, loader: DataLoader[Any]) -> Shape:
        return shape_of(loader, self.plain_length)

    def plan(self, loader: DataLoader[Any], watch: Watch) -> EpochPlan | None:
        """The coming epoch over a loader, if it is the one that is sifted."""
        if watch.sifter is not None:
            return watch.sifter.plan(self.shape(loader))
        return self._first_plan(loader)

    def _first_plan(self, loader: DataLoader[Any]) -> EpochPlan | None:
        """A loader's first epoch, had the job not been interrupted."""
        config = replace(self.config, keep=1.0) if self.config.auto else self.config
        return planned_epoch(config, self.shape(loader), config.sift_delay)

    @property
    def resumes(self) -> bool:
        """Whether this job goes on from a state, alone: ranks can know that of each other late."""
        keeper = self.report.keeper
        return keeper is not None and keeper.resumes and world_size() == 1

    def begin_watching(self, watch: Watch) -> None:
        self._watching.add(id(watch))
        if watch.schedules is None and (watch.told is not None or self.config.auto):
            watch.schedules = positions()
        self.tape.start()

    def end_watching(self, watch: Watch) -> None:
        self._watching.discard(id(watch))
        if not self._watching:
            self.tape.stop()
            self._batch = None

    def sifted(self, watch: Watch) -> None:
        """The script is about to get a sifted batch."""
        self._latest = watch
        self._memories.given(watch)
        if watch not in self._since_step:
            self._since_step.append(watch)

    def hand_out(self, batch: Any, rows: int, watch: Watch) -> None:
        """The script is about to get this batch, which the tape follows."""
        self.sifted(watch)
        self._batch = (batch, rows)
        watch.handed += 1
        if not self.tape.running:
            return
        try:
            handed = self.tape.hand_out(batch, rows, watch)
            watch.ordinals[handed.number] = watch.handed
        except Exception as failure:  # noqa: BLE001 - the script gets its batch, whatever is in it
            watch.fail(describe(failure))

    def decide(self, loader: DataLoader[Any], watch: Watch) -> Verdict:
        """The verdict on a loader, the same on every rank; makes it the loader's role."""
        own, reason = watch.verdict(self.turns.reason, self._source, indexable(loader))
        verdict = agreed(own)
        if verdict is not own:
            reason = "another rank could not verify its loss"
        if verdict is Verdict.PASS:
            self.pass_through(loader, watch, reason)
        elif verdict is not Verdict.WAIT:
            self._sift(loader, watch, verdict, reason)
        return verdict

    @property
    def _source(self) -> str:
        # AWS's rule and a loss of the user's own are asked of what the loader gives.
        own_way = self.config.acceptance == "probabilistic" or self.config.loss is not None
        return "forward" if own_way else self.config.source

    def unfollowed(self, loader: DataLoader[Any], watch: Watch) -> bool:
        """Whether a loader's samples, as its pass has found out, cannot be chosen after all."""
        if indexable(loader) is None:
            return False
        self._memories.forget(watch)
        return True

    def pass_through(self, loader: DataLoader[Any], watch: Watch, reason: str) -> None:
        """Give all data of this loader from now on, and say why."""
        self._lengths.fit(loader, watch, self.plain_length)
        watch.limited = watch.role is Role.TRAINING and world_size() > 1
        self._memories.forget(watch)
        watch.read_with(None)
        watch.role, watch.scorer, watch.sifter = Role.PASSED, None, None
        self._nothing_to_sift = True
        self.report.settle("pass-through", reason)
        self.report.loader(watch.name, "passed-through", reason)

    def untouched(self, loader: DataLoader[Any], watch: Watch) -> None:
        """This loader's batches have led to no training step."""
        if watch.role is Role.UNKNOWN:
            self.report.loader(watch.name, "untouched", "no training step on its batches")
            self._lengths.untrained(loader, watch, self.plain_length)

    # -- what torch tells ----------------------------------------------------------------------

    def _in_forked_child(self) -> None:
        """A worker of another loader was started while the tape ran: it is none of its business."""
        self.tape.stop()

    def _on_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        self.steps += 1
        self.turns.stepped(optimizer)
        if not self._since_step and self._latest is not None:
            self._since_step.append(self._latest)
        for watch in self._since_step:
            watch.steps += 1
            if isinstance(watch.sifter, MemorySifter):
                watch.sifter.stepped()
        self._since_step.clear()

    def _on_backward(self, root: Tensor) -> None:
        start = self.report.meter.clock()
        try:
            if self.config.loss is None:
                self._observe(root)
            else:
                self._observe_user_loss(self.config.loss)
        except SiftingError:
            raise
        except Exception as failure:  # noqa: BLE001 - the script's backward goes on in any case
            if self._latest is not None:
                self._latest.fail(describe(failure))
        finally:
            self.report.meter.discovery_seconds += self.report.meter.clock() - start

    def _observe(self, root: Tensor) -> None:
        try:
            program, handed = program_of(self.tape, root)
        except NotTraceable as why:
            if self._latest is not None:
                self._latest.backwards += 1
                self._latest.fail(str(why))
            return
        watch: Watch = handed.loader
        watch.backwards += 1
        if self._latest is not None and watch is not self._latest:
            self._memories.mix(watch, self._latest)
        watch.look_ahead.observe(watch.ordinals[handed.number], watch.handed)
        watch.observe(program, handed, root)
        if watch.scorer is not None and watch.candidate is not None:
            self.program = watch.candidate, watch.rows

    def _observe_user_loss(self, name: str) -> None:
        """Try the user's own loss on the batch in hand. Its errors are the user's to see."""
        if self._latest is None or self._batch is None:
            return
        watch, (batch, rows) = self._latest, self._batch
        watch.backwards += 1
        if watch.scorer is not None:
            return
        if self._user_loss is None:
            self._user_loss = load_loss(name)
        model = self._root_model()
        if model is None:
            watch.fail("no model was called before the backward")
            return
        scorer = ForwardScorer(self._user_loss, model)
        scorer(batch, batch, rows)
        watch.scorer, watch.modules = scorer, [model]

    def _root_model(self) -> nn.Module | None:
        """The largest of the models that the script has called."""
        called = [unwrapped(module) for module in self.tape.called.values()]
        return max(called, key=lambda m: sum(p.numel() for p in m.parameters()), default=None)

    def _sift(self, loader: DataLoader[Any], watch: Watch, verdict: Verdict, reason: str) -> None:
        if self.config.loss is not None:
            reason = f"scored by {self.config.loss}"
        watch.role = Role.TRAINING
        if verdict is not Verdict.MEMORY:
            watch.read_with(None)
        if verdict is Verdict.FORWARD:
            if watch.scorer is None:
                raise RuntimeError("a verdict to score needs a scorer")
            config = self._memories.fixed()
            own = config.acceptance == "quota"
            rule = PreferredQuota(config.loss_history_length, config.seed) if own else None
            watch.sifter = Sifter(config, watch.scorer, rule=rule, meter=self.report.meter)
        else:
            readable = verdict is Verdict.MEMORY
            watch.sifter = self._memories.make(loader, watch, readable=readable)
        if self.report.keeper is not None:
            self.report.keeper.register(watch.sifter, data_of(loader))
            watch.resumed = self.report.keeper.take_up(watch.sifter, agree=world_size() > 1)
        self._settle(loader, watch, verdict.tier, reason)

    def _settle(self, loader: DataLoader[Any], watch: Watch, tier: str, reason: str) -> None:
        self._nothing_to_sift = False
        self._trained_on.append(data_of(loader))
        # A script restores its schedule as it was built: from the length told in the beginning.
        self._lengths.fit(loader, watch, self._first_length if watch.resumed else self.length)
        self.report.settle(tier, reason)
        self.report.loader(watch.name, "training", reason)

    def _recall(self, loader: DataLoader[Any], watch: Watch) -> None:
        """Go on with what is remembered of the same data: of a loader before this one, or of the
        job that was interrupted."""
        if watch.role is not Role.UNKNOWN or not torch.is_grad_enabled():
            return
        if not self._presumed(loader) or indexable(loader) is not None:
            return
        sifter = self._memories.find(loader, watch, resume=self._source != "forward")
        if sifter is None:
            return
        watch.role, watch.sifter = Role.TRAINING, sifter
        if watch.resumed and sifter.config.auto:
            self._pace_schedules(loader, watch, sifter)
        self._settle(loader, watch, self.report.tier, self.report.reason)

    def _first_length(self, loader: DataLoader[Any]) -> int:
        plan = self._first_plan(loader)
        return self.plain_length(loader) if plan is None else plan.batches

    def _length(self, loader: DataLoader[Any], plain: int) -> int:
        watch = self.watch(loader)
        plan = self.plan(loader, watch)
        if plan is None or not torch.is_grad_enabled():
            return plain
        if watch.role is Role.TRAINING or watch.limited:
            return plan.batches
        if watch.role is Role.UNKNOWN:
            watch.told = plan.batches if self._presumed(loader) else plain
            return watch.told
        return plain

    def _presumed(self, loader: DataLoader[Any]) -> bool:
        """Whether a loader that nobody has used yet is taken for the one to be trained on."""
        if self._nothing_to_sift or self.watch(loader).idle_passes:
            return False
        known = self._trained_on
        return _shuffles(loader) and (not known or data_of(loader) in known)


def _shuffles(loader: DataLoader[Any]) -> bool:
    """Whether a loader looks like one for training before it has been used."""
    if isinstance(loader.dataset, IterableDataset):
        return False
    # With a batch sampler of the script's own, the loader's sampler is a stand-in.
    sampler: Any = loader.sampler
    if loader.batch_size is None:
        *own, sampler = layers(loader.batch_sampler)
        if not own:
            return False
    if isinstance(sampler, DistributedSampler):
        return sampler.shuffle
    return not isinstance(sampler, SequentialSampler)
