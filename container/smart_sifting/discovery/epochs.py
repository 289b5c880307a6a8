"""One pass over a loader, from the first batch watched to the last one sifted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from smart_sifting import batches as batch_ops
from smart_sifting.discovery.watch import Role, Verdict, Watch, describe, is_idle, may_train
from smart_sifting.epoch_plan import EpochPlan
from smart_sifting.errors import UnsupportedDataFormatException
from smart_sifting.memory.epoch import MemoryEpoch
from smart_sifting.memory.sifter import MemorySifter
from smart_sifting.memory.source import Source
from smart_sifting.no_trace import synchronize
from smart_sifting.sifted_epoch import SiftedEpoch

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from smart_sifting.discovery.discoverer import Discoverer

# Untouched steps of a first discovery: enough to verify, and to measure what a step costs.
FIRST_STEPS = 12
# Where the script's way to its loss is known already, as in a loader made anew each epoch.
LATER_STEPS = 3


class WatchedEpoch:
    """Stands for the loader's own iterator. What it does next is its phase:

    watch (batches untouched, the tape running) -> measure (untouched, timed) -> sift;
    plain for a pass without training, evaluating for one over training data, count for training
    data that pass through.
    """

    def __init__(
        self,
        discoverer: Discoverer,
        loader: DataLoader[Any],
        watch: Watch,
        plan: EpochPlan | None,
        source: Iterator[Any],
    ) -> None:
        self._discoverer = discoverer
        self._loader = loader
        self._watch = watch
        self._source = Source(source)
        # Until a backward shows that this is training, counts are on trial.
        on_trial = watch.backwards == 0 and watch.role is not Role.TRAINING
        meter = discoverer.report.meter
        self._meter = meter.trial() if on_trial else meter
        passed = self._source.passed
        if plan is not None and passed is not None and 0 < passed.restored < plan.samples:
            plan = plan.rest(passed.restored)
        self._plan = plan
        # A function, not a method of this object: a cycle would keep the loader's workers alive
        # after the script has left the loop.
        self._phase: Callable[[WatchedEpoch], Any] = WatchedEpoch._first
        self._handed_before = watch.handed
        self._backwards_before = watch.backwards
        self._steps_before = discoverer.steps
        self._evaluated: list[int] = []
        self._counts = self._over = False
        self._samples = 0
        self._batches = 0
        # Batches of this epoch that an interrupted job has had.
        self._had_before = 0
        self._limit: int | None = None
        self._given_at: float | None = None
        self._discovered = 0.0
        self._data = 0.0
        self._sifted: SiftedEpoch | MemoryEpoch | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return self._phase(self)
        except StopIteration:
            self._over = True
            if 0 < self._had_before == self._batches:
                self._count_no_more()
            raise
        except Exception as failure:
            if failure is self._source.failure or self._phase in _PLAIN_PHASES:
                raise
            # Ours, not the script's: it must not end its training.
            return self._fall_back(describe(failure))

    def __len__(self) -> int:
        return self._discoverer.length(self._loader)

    def __getattr__(self, name: str) -> Any:
        if name == "_source":
            raise AttributeError(name)
        return getattr(self._source.inner, name)

    def __del__(self) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the script may still ask for batches."""
        return not self._over

    @property
    def unfinished(self) -> bool:
        """Whether this epoch counts and batches of it are still to come, as its plan tells."""
        if isinstance(self._sifted, MemoryEpoch):
            return self._sifted.unfinished
        limit = self._planned_batches()
        return self._counts and not self._over and (limit is None or self._batches < limit)

    @property
    def waiting(self) -> int:
        """Samples that were kept and have not been given yet."""
        return 0 if self._sifted is None else self._sifted.waiting

    @property
    def repeatable(self) -> int:
        """Batches that it has given, and would give again if it were begun again; 0 once over."""
        others = isinstance(self._sifted, SiftedEpoch)
        return self._batches if self._counts and not self._over and not others else 0

    def close(self) -> None:
        """The script has left the loop, or come to its end."""
        # By the object's own type: at the interpreter's end the module's names may be gone.
        if self._phase is type(self)._watching:
            self._discoverer.end_watching(self._watch)
        if self._sifted is not None:
            self._sifted.close()
        if self._counts and not self._over and not self._stepped():
            self._count_no_more()  # only a look at a batch

    # -- phases --------------------------------------------------------------------------------

    def _first(self) -> Any:
        role = self._watch.role
        if role is Role.PASSED:
            self._begin_counting()
            self._limit = self._planned_batches() if self._watch.limited else None
            self._phase = WatchedEpoch._count
        elif role is Role.TRAINING and may_train(self._watch.modules):
            self._begin_counting()
            self._begin_sifting()
        elif role is Role.TRAINING:
            self._phase = WatchedEpoch._evaluating
        elif role is Role.UNTOUCHED or not torch.is_grad_enabled():
            self._discoverer.untouched(self._loader, self._watch)
            self._phase = WatchedEpoch._plain
        else:
            self._discoverer.begin_watching(self._watch)
            self._phase = WatchedEpoch._watching
        return self._phase(self)

    def _plain(self) -> Any:
        return self._source.whole()

    def _evaluating(self) -> Any:
        """A pass over training data that looks like evaluation, until an optimizer steps in it:
        some scripts put the model in training mode only when they have their batch."""
        if not self._stepped():
            batch = self._source.whole()
            self._evaluated.append(self._rows(batch))
            return batch
        self._begin_counting()
        for rows in self._evaluated:
            self._meter.fetched(rows)
            self._meter.whole_batch(rows)
        self._samples = sum(self._evaluated)
        self._begin_sifting()
        return self._phase(self)

    def _count(self) -> Any:
        """All data pass through; what they cost is counted."""
        self._settle_step()
        if self._limit is not None and self._batches >= self._limit:
            raise StopIteration
        fresh = not self._source.pending
        if fresh:
            self._fetch()
        batch = self._source.again()
        rows = self._rows(batch)
        if fresh:
            self._meter.fetched(rows)
        self._meter.whole_batch(rows)
        return self._give(batch)

    def _watching(self) -> Any:
        """Untouched batches with the tape running, until the loss is verified."""
        self._settle_step()
        watch = self._watch
        self._settle_trial()
        passed = watch.handed - self._handed_before
        idle = is_idle(passed, self._discoverer.tape.ahead)
        if idle and not self._trained():
            return self._leave_alone()
        if watch.scorer is not None and watch.steps:
            self._discoverer.end_watching(watch)
            self._phase = WatchedEpoch._measuring
            return self._phase(self)
        if self._checkpoint() and self._decided():
            return self._phase(self)
        try:
            batch = self._fetch()
        except StopIteration:
            self._end_of_watch()
            raise
        return self._hand_out(batch)

    def _measuring(self) -> Any:
        """Untouched batches with nothing of ours running: what a step costs without sifting."""
        synchronize(self._watch.modules)
        self._settle_step(measured=True)
        self._settle_trial()
        if self._checkpoint() and self._decided():
            return self._phase(self)
        return self._hand_out(self._fetch())

    def _sifting(self) -> Any:
        sifted = self._sifted
        if sifted is None:
            raise RuntimeError("the phase of sifting has no epoch")
        if self._discoverer.turns.reason is not None:
            return self._fall_back(self._discoverer.turns.reason)
        batch = next(sifted)
        self._source.settled()
        if self._discoverer.tape.running:  # another loader is watched
            self._discoverer.hand_out(batch, self._rows(batch), self._watch)
        else:
            self._discoverer.sifted(self._watch)
        self._batches += 1
        return batch

    # -- from phase to phase -------------------------------------------------------------------

    def _checkpoint(self) -> bool:
        """Whether a verdict is due: after so many batches, the same on every rank."""
        handed, step = self._watch.handed, self._first_checkpoint()
        while step < handed:
            step *= 2
        return handed == step and self._watch.backwards > 0

    def _first_checkpoint(self) -> int:
        if self._watch.known:
            return LATER_STEPS
        if self._discoverer.resumes:
            return LATER_STEPS + 1
        if self._plan is None:
            return FIRST_STEPS
        return max(LATER_STEPS + 1, min(FIRST_STEPS, self._plan.batches // 2))

    def _decided(self) -> bool:
        verdict = self._discoverer.decide(self._loader, self._watch)
        if verdict is Verdict.WAIT:
            return False
        self._discoverer.end_watching(self._watch)
        if verdict is Verdict.PASS:
            self._phase = WatchedEpoch._count
            return True
        if self._watch.resumed or self._discoverer.config.auto:
            # The delay may be over, or the share is known only now.
            self._plan = self._discoverer.plan(self._loader, self._watch)
        try:
            self._begin_sifting()
        except UnsupportedDataFormatException:
            if not self._discoverer.unfollowed(self._loader, self._watch):
                raise
            return self._decided()  # only the pass itself could tell, and the verdict is another
        return True

    def _begin_sifting(self) -> None:
        sifter = self._watch.sifter
        if sifter is None:
            raise RuntimeError("a training loader has no sifter")
        shape = self._discoverer.shape(self._loader)
        if isinstance(sifter, MemorySifter):
            sifter.claim(self)
            waiting = self._watch.look_ahead.waiting
            as_a_whole = self._source.chosen_as_a_whole()
            if as_a_whole:
                self._plan = sifter.plan(shape.whole)
            self._sifted = sifter.begin(self._source, self._plan, waiting)
            if as_a_whole:
                self._batches = self._had_before = self._sifted.batches
        else:
            self._sifted = SiftedEpoch(sifter, self._source, self._plan, shape, self._samples)
        self._phase = WatchedEpoch._sifting

    def _leave_alone(self) -> Any:
        self._discoverer.end_watching(self._watch)
        self._discoverer.untouched(self._loader, self._watch)
        self._watch.handed = self._handed_before
        self._watch.idle_passes += 1
        if self._watch.idle_passes >= 3:
            self._watch.role = Role.UNTOUCHED
        self._phase = WatchedEpoch._plain
        return self._plain()

    def _end_of_watch(self) -> None:
        self._discoverer.end_watching(self._watch)
        if not self._trained():
            self._discoverer.untouched(self._loader, self._watch)
            self._watch.handed = self._handed_before

    def _settle_trial(self) -> None:
        """Count this pass as training once a backward has shown that it is."""
        # While it is measured, no tape hears of a backward.
        measuring = self._phase is WatchedEpoch._measuring
        if self._counts or not (self._trained() or (measuring and self._stepped())):
            return
        meter = self._discoverer.report.meter
        if self._meter is not meter:
            meter.absorb(self._meter)
            self._meter = meter
        self._begin_counting()

    def _trained(self) -> bool:
        """Whether the tape has heard of a backward in this pass."""
        return self._watch.backwards > self._backwards_before

    def _stepped(self) -> bool:
        """Whether an optimizer has stepped in this pass."""
        return self._discoverer.steps > self._steps_before

    def _begin_counting(self) -> None:
        self._counts = True
        self._meter.epochs += 1
        self._discoverer.report.passes.add(self)

    def _count_no_more(self) -> None:
        """This pass was no epoch of its own."""
        self._meter.epochs -= 1
        self._counts = False

    def _fall_back(self, reason: str) -> Any:
        """Discovery or sifting failed within an epoch: give what is left of it as it is."""
        self._discoverer.end_watching(self._watch)
        if self._sifted is not None:
            self._sifted.abandon()
        self._discoverer.pass_through(self._loader, self._watch, reason)
        self._limit = self._planned_batches() if self._watch.limited else None
        self._phase = WatchedEpoch._count
        return self._phase(self)

    def _planned_batches(self) -> int | None:
        return None if self._plan is None else self._plan.batches

    # -- one batch -----------------------------------------------------------------------------

    def _hand_out(self, batch: Any) -> Any:
        rows = self._rows(batch)
        self._samples += rows
        self._meter.fetched(rows)
        self._meter.whole_batch(rows)
        self._discoverer.hand_out(batch, rows, self._watch)
        self._source.settled()
        return self._give(batch)

    def _rows(self, batch: Any) -> int:
        try:
            return batch_ops.batch_size(batch)
        except UnsupportedDataFormatException as unknown:
            if self._watch.role is Role.UNKNOWN:
                self._watch.fail(str(unknown))
            return 0

    def _fetch(self) -> Any:
        batch, self._data = self._meter.timed_next(self._source)
        return batch

    def _give(self, batch: Any) -> Any:
        self._batches += 1
        self._discovered = self._discoverer.report.meter.discovery_seconds
        self._given_at = self._meter.clock()
        return batch

    def _settle_step(self, *, measured: bool = False) -> None:
        """Count the training step since the last batch was given."""
        if self._given_at is None:
            return
        inside = self._discoverer.report.meter.discovery_seconds - self._discovered
        trained = self._meter.clock() - self._given_at - inside
        self._meter.whole_step(trained, self._data, measured=measured)
        self._given_at = None


# Phases in which nothing but the loader itself can fail.
_PLAIN_PHASES = (WatchedEpoch._plain, WatchedEpoch._evaluating, WatchedEpoch._count)
