"""What a job's sifting did and cost, counted while it runs."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from statistics import median
from typing import Any

import torch
from torch import Tensor

from smart_sifting.receipt import HistoryPoint

HISTORY_POINTS = 400
MAX_CLASSES = 1000
STEPS_REMEMBERED = 1000
# Batches whose gradients are accumulated, at most.
LARGEST_UPDATE = 64
WINDOWS_REMEMBERED = 64

COUNTERS = (
    *("seen", "kept", "loaded", "left_over", "non_finite", "batches_seen", "batches_given"),
    "batches_loaded",
    *("epochs", "steps", "whole_batches", "measured_steps", "_offered", "_stride"),
    *("windows", "largest_batch"),
    *("scoring_seconds", "training_seconds", "data_seconds", "discovery_seconds", "whole_seconds"),
)
"""The attributes of a meter that are plain numbers."""

_COUNTED_OF_BATCHES = ("seen", "kept", "batches_seen", "batches_given")


@dataclass(frozen=True)
class _Again:
    """What is counted once so many batches have been given and no more steps were taken."""

    given_before: int
    batches_given: int
    steps: int
    counted: dict[str, int]


@dataclass
class Meter:
    """Counters of one process. Seconds are wall-clock time.

    Attributes:
        full_steps: training seconds of the last steps on full batches in which nothing of ours ran.
            Whichever samples are in a batch, that is what a step costs without sifting.
        measured_steps: how many such steps there were in all.
        loaded, batches_loaded: what the plain loader really loaded: memory loads what it keeps.
        whole_batches, whole_seconds: all steps on whole batches, and what they took in training
            and data. Without sifting they would have taken the same, slow first steps included.
        largest_batch: samples in a full batch, as far as one was seen.
        windows: how many windows were scored.
        window_costs: scoring seconds a sample in the last of them.
        listener: called after each batch that came from a loader.
        epoch_listener: called when a sifted epoch is over.
        told: called with a line that the user should read in the receipt.
        said: called with a line for the log alone.
    """

    clock: Callable[[], float] = time.perf_counter
    seen: int = 0
    kept: int = 0
    loaded: int = 0
    left_over: int = 0
    non_finite: int = 0
    batches_seen: int = 0
    batches_given: int = 0
    batches_loaded: int = 0
    epochs: int = 0
    steps: int = 0
    scoring_seconds: float = 0.0
    training_seconds: float = 0.0
    data_seconds: float = 0.0
    discovery_seconds: float = 0.0
    whole_batches: int = 0
    whole_seconds: float = 0.0
    measured_steps: int = 0
    largest_batch: int = 0
    windows: int = 0
    full_steps: deque[float] = field(default_factory=lambda: deque(maxlen=STEPS_REMEMBERED))
    window_costs: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOWS_REMEMBERED))
    classes: dict[int, list[int]] = field(default_factory=dict)
    history: list[HistoryPoint] = field(default_factory=list)
    started: float = 0.0
    listener: Callable[[], None] | None = None
    epoch_listener: Callable[[], None] | None = None
    told: Callable[[str], None] | None = None
    said: Callable[[str], None] | None = None
    _update: list[float] = field(default_factory=list)
    _updates: int = 0
    _offered: int = 0
    _stride: int = 1
    _again: _Again | None = None

    def __post_init__(self) -> None:
        self.started = self.clock()

    def timed_next(self, source: Iterator[Any]) -> tuple[Any, float]:
        """The next of a loader's batches, and the seconds that it took; they count in any case."""
        start = self.clock()
        try:
            batch = next(source)
        finally:
            seconds = self.clock() - start
            self.data_seconds += seconds
        return batch, seconds

    def fetched(self, samples: int) -> None:
        """A batch that came from the plain loader."""
        self.passed(samples, 1)
        self.loads(samples)

    def whole_batch(self, samples: int) -> None:
        """A fetched batch that is given as the loader made it."""
        self.batches_given += 1
        self.kept += samples
        again = self._again
        if again and (again.batches_given, again.steps) == (self.batches_given, self.steps):
            for name, value in again.counted.items():
                setattr(self, name, value)
        self._tell()

    def sifted_batch(
        self, losses: Tensor | None, rows: Sequence[int], labels: Tensor | None
    ) -> None:
        """What was fetched and chosen from: (n,) losses if it was scored, the rows kept, (n,)
        integer labels if any."""
        self.kept += len(rows)
        if labels is not None:
            self._count_classes(labels, rows)
        if losses is not None:
            finite = losses[torch.isfinite(losses)]
            self.non_finite += len(losses) - len(finite)
            if len(finite):
                self.point(float(finite.mean()))
        self._tell()

    def window_scored(self, seconds: float, samples: int) -> None:
        """What choosing from a window of so many samples took."""
        self.windows += 1
        self.window_costs.append(seconds / max(1, samples))

    def tell(self, line: str) -> None:
        """A line that the user should read, where somebody passes it on."""
        if self.told is not None:
            self.told(line)

    def say(self, line: str) -> None:
        """A line for the log, where somebody writes it."""
        if self.said is not None:
            self.said(line)

    def loads(self, samples: int) -> None:
        """A batch was loaded."""
        self.loaded += samples
        self.largest_batch = max(self.largest_batch, samples)
        self.batches_loaded += 1

    def passed(self, samples: int, batches: int) -> None:
        """So many more of the plain loader's samples and batches were given or passed over."""
        self.seen += samples
        self.batches_seen += batches

    def count_classes(self, seen: Iterable[int], kept: Iterable[int]) -> None:
        """So many samples of each class, numbered from 0, were seen and kept."""
        for label, counts in enumerate(zip_longest(seen, kept, fillvalue=0)):
            if any(counts) and (label in self.classes or len(self.classes) < MAX_CLASSES):
                known = self.classes.setdefault(label, [0, 0])
                self.classes[label] = [a + int(b) for a, b in zip(known, counts, strict=True)]

    def point(self, loss: float) -> None:
        """A mean loss for the history: at most HISTORY_POINTS, evenly spread, halved if more."""
        self._offered += 1
        if self._offered % self._stride:
            return
        self.history.append(
            HistoryPoint(
                step=self.batches_given,
                seconds=round(self.clock() - self.started, 3),
                kept_share=round(self.kept / self.seen, 4),
                loss=round(loss, 6),
            )
        )
        if len(self.history) > HISTORY_POINTS:
            self.history = self.history[::2]
            self._stride *= 2

    def epoch_ended(self) -> None:
        """A sifted epoch is over, or the script has left it."""
        if self.epoch_listener is not None:
            self.epoch_listener()

    def whole_step(self, training: float, data: float, *, measured: bool) -> None:
        """A training step on a whole batch has ended. `measured`: nothing of ours ran in it."""
        self.whole_batches += 1
        self.whole_seconds += training + data
        self.step(training, measured=measured)

    def step(self, training: float, *, measured: bool) -> None:
        """The training on a batch has ended. `measured`: a full one, and nothing of ours ran."""
        self.training_seconds += training
        if not measured:
            self._update, self._updates = [], self.steps
            return
        self.measured_steps += 1
        self._update.append(training)
        # A loop may fetch all batches of an update before it trains on the first: what one of
        # them costs is told by the update alone.
        if self.steps != self._updates or len(self._update) >= LARGEST_UPDATE or not self.steps:
            self.full_steps.extend([sum(self._update) / len(self._update)] * len(self._update))
            self._update, self._updates = [], self.steps

    def elapsed(self) -> float:
        """Seconds since it was started, those before an interruption included."""
        return self.clock() - self.started

    def state_dict(self) -> dict[str, Any]:
        """Everything counted, as plain data."""
        return {
            **{name: getattr(self, name) for name in COUNTERS},
            "elapsed": self.elapsed(),
            "full_steps": list(self.full_steps),
            "window_costs": list(self.window_costs),
            "classes": {label: list(counts) for label, counts in self.classes.items()},
            "history": [[p.step, p.seconds, p.kept_share, p.loss] for p in self.history],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting from what `state_dict` gave, as if no time had passed in between."""
        for name in COUNTERS:
            setattr(self, name, state[name])
        self.started = self.clock() - state["elapsed"]
        self.full_steps = deque(state["full_steps"], maxlen=STEPS_REMEMBERED)
        self.window_costs = deque(state["window_costs"], maxlen=WINDOWS_REMEMBERED)
        self.classes = {label: list(counts) for label, counts in state["classes"].items()}
        self.history = [HistoryPoint(*point) for point in state["history"]]

    def expect_again(self, batches: int, epochs: int) -> None:
        """The last `batches` are counted, and may come once more: a resumed script passes over
        those of its epoch that it has trained on. If it takes no step on them they count once.

        Args:
            batches: of the epoch that was interrupted.
            epochs: counted once they have come again.
        """
        counted = {name: getattr(self, name) for name in _COUNTED_OF_BATCHES}
        given = self.batches_given
        again = _Again(given, given + batches, self.steps, counted | {"epochs": epochs})
        self._again = again if batches else None

    @property
    def counted_ahead(self) -> int:
        """Batches of the interrupted epoch that are counted, as long as no other batch is."""
        again = self._again
        if again is None or again.given_before != self.batches_given:
            return 0
        return again.batches_given - again.given_before

    def take_back(self, samples: int, batches: int, seen: int, batches_seen: int) -> None:
        """So many samples in so many batches were counted too early, with what was seen."""
        self.kept -= samples
        self.batches_given -= batches
        self.passed(-seen, -batches_seen)

    def trial(self) -> Meter:
        """Counts apart, until it is known whether they count."""
        meter = Meter()
        if self._again is not None:
            meter.expect_again(self._again.batches_given - self.batches_given, epochs=0)
        return meter

    def unsifted_step(self) -> tuple[float, float] | None:
        """What a full batch costs in (training, data) seconds; None if no step was measured.

        Training is the median of the last steps, so that one with an evaluation or a checkpoint
        in it does not count for all; data the mean over all batches that were loaded.
        """
        if not self.full_steps:
            return None
        return median(self.full_steps), self.data_seconds / max(1, self.batches_loaded)

    def unsifted_seconds(self) -> float:
        """What the batches seen would have cost had each been trained on."""
        step = self.unsifted_step()
        if step is None:
            return 0.0
        return self.whole_seconds + sum(step) * (self.batches_seen - self.whole_batches)

    def absorb(self, other: Meter) -> None:
        """Count what the other has counted of whole batches and their seconds."""
        self.seen += other.seen
        self.kept += other.kept
        self.loaded += other.loaded
        self.largest_batch = max(self.largest_batch, other.largest_batch)
        self.batches_seen += other.batches_seen
        self.batches_given += other.batches_given
        self.batches_loaded += other.batches_loaded
        self.training_seconds += other.training_seconds
        self.data_seconds += other.data_seconds
        self.whole_batches += other.whole_batches
        self.whole_seconds += other.whole_seconds

    def _tell(self) -> None:
        if self.listener is not None:
            self.listener()

    def _count_classes(self, labels: Tensor, rows: Sequence[int]) -> None:
        for column, some in enumerate((labels, labels[list(rows)])):
            values, counts = some.unique(return_counts=True)  # type: ignore[no-untyped-call]
            for value, count in zip(values.tolist(), counts.tolist(), strict=True):
                if value in self.classes or len(self.classes) < MAX_CLASSES:
                    self.classes.setdefault(value, [0, 0])[column] += count
