"""Sifting by memory: what the training steps found chooses the samples of the next epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol
from weakref import ref

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from smart_sifting.epoch_plan import EpochPlan, Shape, planned_epoch
from smart_sifting.errors import UnsupportedDataFormatException
from smart_sifting.memory.choice import EpochChoice
from smart_sifting.memory.epoch import MemoryEpoch
from smart_sifting.memory.index_pass import Choose
from smart_sifting.memory.regime import Regime
from smart_sifting.memory.score_memory import ScoreMemory
from smart_sifting.memory.source import Indices, Source
from smart_sifting.memory.step_losses import StepLosses
from smart_sifting.memory.trained_batches import TrainedBatches
from smart_sifting.meter import Meter
from smart_sifting.ranks import world_size
from smart_sifting.sift_config.job_config import SiftConfig

Integers = NDArray[np.integer]

_NOTHING: Indices = np.empty(0, np.int64)

# Steps whose losses wait on their device: an accelerator is not kept waiting for each of them.
STEPS_TOGETHER = 64
# A script whose steps stop looking like the one that was verified is not read any longer.
MISSES = 20


class Pass(Protocol):
    """What a script iterates over."""

    @property
    def running(self) -> bool:
        """Whether it may still ask for batches."""


class MemorySifter:
    """What outlives an epoch over one data set: the memory, the choice's generator, the delay.

    Nothing moves within an epoch but what is fresh, so that a job which is killed in the middle of
    one and begins it again chooses the same samples.

    Args:
        config: how much to keep.
        samples: in the data set; indices are below it.
        losses: reads the losses off a training step; None: they cannot be had, and samples are
            visited evenly (the tier "batch").
        trained: tells which batch a training step is on.
        meter: where it counts.
    """

    def __init__(
        self,
        config: SiftConfig,
        samples: int,
        losses: StepLosses | None,
        trained: TrainedBatches,
        *,
        meter: Meter,
    ) -> None:
        self.config = config
        self.meter = meter
        self.losses = losses
        self.steps = 0
        self._settled_steps = 0
        self._memory = ScoreMemory(samples)
        if losses is not None:
            self._memory.scatter(np.random.default_rng([config.seed, 0]))
        self._choice = EpochChoice(config.seed)
        self._trained = trained
        self._waiting: list[tuple[Indices, Tensor, Tensor | None]] = []
        self._given: list[Indices] = []
        self._shown = 0
        self._regime = Regime(config, readable=losses is not None)
        self._trained_here = False
        # Of the running epoch: the samples that were given before anything was chosen; how many a
        # restored sampler does not give again; how many are still to come.
        self._whole = _NOTHING
        self._behind = self._to_come = 0
        self._asks_classes = self._classes_due = True
        # Of the running epoch: what the sampler offers, and what is given of it.
        self._offered: Integers = _NOTHING
        self._taken: Integers = _NOTHING
        # The choice as the running epoch found it: an epoch may have to be begun again.
        self._at_start: dict[str, Any] | None = None
        self._misses = 0
        self._claimed_by: Callable[[], Pass | None] = _none

    kind = "memory"

    @property
    def keep(self) -> float:
        """The share of the samples that the next epoch keeps."""
        return self._regime.keep

    @property
    def busy(self) -> bool:
        """Whether a pass over some loader is at it."""
        by = self._claimed_by()
        return by is not None and by.running

    @property
    def blind(self) -> bool:
        """Whether the script's steps have not been readable for long."""
        return self._misses >= MISSES

    def claim(self, by: Pass) -> None:
        """No other loader is given this sifter as long as that pass runs."""
        self._claimed_by = ref(by)

    @property
    def trained_here(self) -> bool:
        """Whether an optimizer has stepped in the running epoch."""
        return self._trained_here

    @property
    def behind(self) -> bool:
        """Whether the script is still to train on batches that it has fetched ahead."""
        return self.losses is not None and self._trained.behind

    # -- an epoch ------------------------------------------------------------------------------

    def plan(self, shape: Shape) -> EpochPlan | None:
        """The coming epoch, None when its length is not known."""
        return planned_epoch(replace(self.config, keep=self.keep), shape, self.delay())

    def delay(self) -> int:
        """Batches of the coming epoch that are given whole."""
        if self.config.repeat_delay_per_epoch:
            return self.config.sift_delay
        return max(0, self.config.sift_delay - self._settled_steps)

    def begin_epoch(self, samples: int, shown: int) -> None:
        """Settle the last epoch, unless that is done, or this one has begun already and nothing
        was trained.

        A collective where there is something to settle and there are several ranks.

        Args:
            samples: in the data set.
            shown: those of them that this loader gives in a plain epoch.
        """
        self._flush()
        self._trained.begin_pass()
        if self._at_start is None or self._trained_here:
            self._settle()
        self.steps = self._settled_steps  # a look at a batch was none
        if samples != len(self._memory):
            self._memory.grow(samples)
        # Classes do not change: once all are known, or there are none, there is nothing to ask.
        some = self._memory.classes is not None and not self._memory.all_classes
        self._asks_classes = some or self._classes_due
        self._given, self._shown, self._trained_here = [], shown, False

    def chooser(self, plan: EpochPlan) -> Choose:
        """What chooses the epoch that has begun from its sampler's whole sequence."""
        return lambda sequence: self._choose(sequence, plan, _NOTHING)

    def begin(self, source: Source, plan: EpochPlan | None, look_ahead: int) -> MemoryEpoch:
        """The pass over `source`, whose loader asks for chosen samples only.

        Args:
            source: gave nothing yet, or batches that were not chosen: then the rest is.
            plan: the epoch's length, what an interrupted job had of it included.
            look_ahead: batches that the script has taken and not trained on yet.

        Raises:
            UnsupportedDataFormatException: samples cannot be told by their indices, or nobody
                knows how many there are.
        """
        passed = source.passed
        if passed is None or plan is None:
            raise UnsupportedDataFormatException("samples cannot be told by their indices")
        as_a_whole = source.chosen_as_a_whole()
        untouched = sum(map(len, source.given))
        if self.config.keep < 1 and not passed.chosen and passed.dispatched:
            self.begin_epoch(len(self._memory), plan.samples)
            self._trained_here = True  # on those batches
            self.steps += len(source.given)
            for indices in source.given:
                self._given.append(indices)
            for indices in source.given[len(source.given) - look_ahead :]:
                self._trained.handed(indices)
            whole = np.concatenate([*source.given, *map(np.asarray, passed.on_the_way)])
            passed.choose(lambda sequence: self._choose(sequence, plan, whole))
            self._whole = whole
        elif as_a_whole:
            self._given += [self._whole[: self._behind], passed.passed_over]
            untouched = self._behind + len(passed.passed_over)
            self.steps += -(-untouched // plan.batch_size)
        source.chosen()
        whole_samples = max(len(self._whole), plan.delayed_samples)
        self._to_come = plan.kept - untouched
        return MemoryEpoch(self, source, plan, untouched, whole_samples)

    def handed(self, indices: Indices) -> None:
        """A batch goes to the script."""
        self.steps += 1
        self._to_come -= len(indices)
        if self.config.keep < 1:
            self._given.append(indices)
            self._trained.handed(indices)

    def stepped(self) -> None:
        """An optimizer has stepped: this epoch is one of training."""
        self._trained_here = True

    def end_epoch(self, *, complete: bool, at_end: bool) -> None:
        """The script has come to the end of an epoch, or left it before.

        A collective at the end, where there are several ranks: all come to it. One of them alone
        may look at a batch before they all begin the next epoch.

        Args:
            complete: all that was planned was given.
            at_end: the script asked for more, and there was none.
        """
        if not self._trained_here:
            return  # only a look at a batch: the epoch is still to come
        self._settled_steps = self.steps
        self._at_start, self._classes_due = None, False
        if complete:
            self._count_classes()
        self._offered, self._taken = _NOTHING, _NOTHING
        # A share that the job chooses is made known as an epoch begins; and where batches were
        # fetched ahead, the last losses are still to come.
        if at_end and world_size() > 1 and not self.config.auto and not self.behind:
            self._settle()

    # -- a training step -----------------------------------------------------------------------

    def on_backward(self, root: Tensor | None) -> None:
        """A backward from `root` is about to begin: remember its rows' losses.

        None: it may be on a batch of another loader.
        """
        if self.losses is None:
            return
        indices = self._trained.backward()
        if indices is None:
            return
        losses = None if root is None else self.losses.read(root, len(indices))
        if root is None or losses is None:
            self._misses += 1
            return
        self._misses = 0
        classes = self.losses.classes(root, len(indices)) if self._asks_classes else None
        self._waiting.append((indices, losses, classes))
        if len(self._waiting) >= STEPS_TOGETHER:
            self._flush()

    def forget_losses(self) -> None:
        """They cannot be read any longer: every sample is visited equally often from now on."""
        if self.losses is not None:
            self.losses.stop()
        self.losses, self._waiting, self._misses = None, [], 0

    def forget_classes(self) -> None:
        """Other samples may have taken the places of those that it knows."""
        self._flush()
        self._memory.forget_classes()
        self._classes_due = True

    # -- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed job needs to choose as it would have.

        In the middle of an epoch it is the epoch's beginning, with the losses that came since.
        """
        self._flush()
        over = self._at_start is None or (
            self._trained_here and self._to_come <= 0 and not self.behind
        )
        given = np.concatenate(self._given) if over and self._given else _NOTHING
        return {
            "over": over,
            "memory": self._memory.state_dict(),
            "choice": self._choice.state_dict() if over else self._at_start,
            "given": torch.from_numpy(given.astype(_smallest(len(self._memory)))),
            "shown": self._shown,
            "whole": torch.from_numpy(self._whole[: 0 if over else None]),
            **self._regime.state_dict(),
            "steps": self.steps if over else self._settled_steps,
            "losses": None if self.losses is None else self.losses.describe(),
            "trained": {
                "rule": self._trained.rule,
                "backwards": self._trained.backwards,
                "ahead": self._trained.ahead,
            },
        }

    safe_state_dict = state_dict

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; an epoch that was not over begins again.

        Raises:
            SiftingStateException: it is of another data set, or no such state.
            KeyError: it is of another version.
        """
        memory, choice = ScoreMemory(len(self._memory)), EpochChoice(self.config.seed)
        memory.load_state_dict(state["memory"])
        choice.load_state_dict(state["choice"])
        regime = Regime(self.config, readable=self.losses is not None)
        regime.load_state_dict(state)
        described = state["losses"]
        losses = None if described is None else StepLosses.from_description(described)
        trained = TrainedBatches(**state["trained"])
        # Whoever did not get so far goes on as if there were no state.
        self._memory, self._choice, self.losses, self._trained = memory, choice, losses, trained
        self._trained_here = bool(state["over"])
        self._at_start = None if state["over"] else state["choice"]
        self._given = [state["given"].numpy().astype(np.int64)]
        self._shown, self._whole = int(state["shown"]), state["whole"].numpy()
        self._regime = regime
        self.steps = self._settled_steps = int(state["steps"])

    # -- inside --------------------------------------------------------------------------------

    def _settle(self) -> None:
        self._flush()
        given = np.concatenate(self._given) if self._given else _NOTHING
        self._choice.settle(self._memory, given, self._shown)
        visits = len(given) / max(1, self._shown)
        self._regime.epoch_ended(self._memory, visits, readable=self.losses is not None)
        self._settled_steps = self.steps
        self._whole, self._given, self._trained_here = _NOTHING, [], False
        self._at_start = self._choice.state_dict()

    def _choose(self, sequence: Indices, plan: EpochPlan, whole: Indices) -> Indices:
        """Those of a sequence that are given after `whole`, of which the delay's come untouched.

        An epoch that is begun again gives those untouched that it gave so before, if they are in
        the sequence: a restored sampler may go on behind them.
        """
        if self._at_start is not None:
            self._choice.load_state_dict(self._at_start)
        behind = len(whole)
        if not behind:
            missing = max(0, plan.samples - len(sequence))
            # It goes on behind whole batches; another difference is a sampler's wrong length.
            behind = self._behind = 0 if missing % plan.batch_size else missing
            whole = self._whole[:behind]
        delayed = sequence[: max(0, max(plan.delayed_samples, len(self._whole)) - behind)]
        whole = np.concatenate([whole, delayed])
        rest = sequence[len(delayed) :]
        quota = max(0, plan.kept - behind - len(delayed))
        shown = np.concatenate([whole, rest])
        rates = None
        if self.losses is not None:
            rates = self._regime.rates(self._memory, shown, len(whole) + quota)
        chosen = self._choice.choose(
            self._memory,
            rest,
            quota,
            preference=rates,
            whole=whole if len(whole) else None,
        )
        if self._asks_classes or self._memory.classes is not None:
            kind = np.int32 if len(self._memory) < 2**31 else np.int64
            self._offered = shown.astype(kind)
            self._taken = np.concatenate([whole, chosen]).astype(kind)
        return np.concatenate([delayed, chosen])

    def _count_classes(self) -> None:
        """Count an epoch's samples of each class, if all are known by its end."""
        self._flush()
        classes = self._memory.classes
        if classes is not None and self._memory.all_classes and len(self._offered):
            seen, kept = (np.bincount(classes[each]) for each in (self._offered, self._taken))
            self.meter.count_classes(seen.tolist(), kept.tolist())

    def _flush(self) -> None:
        """Take the losses from their device into the memory."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        indices = np.concatenate([each for each, _, _ in waiting])
        losses = torch.cat([each for _, each, _ in waiting]).float().cpu().numpy()
        labels = [each for _, _, each in waiting if each is not None]
        classes = torch.cat(labels).cpu().numpy() if len(labels) == len(waiting) else None
        self._memory.record(indices, losses, classes)
        finite = losses[np.isfinite(losses)]
        self.meter.non_finite += len(losses) - len(finite)
        if len(finite):
            self.meter.point(float(finite.mean()))


def _smallest(samples: int) -> type[np.int32 | np.int64]:
    """The smallest type for the indices of so many samples, of those that every torch can save."""
    return np.int32 if samples < 2**31 else np.int64


def _none() -> None:
    """A reference to nothing."""
