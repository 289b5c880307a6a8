"""Windows scored in the cheapest way that ranks their samples as the plain one does.

Which way that is depends on the model and the machine: the first windows of a job are scored in
every way and timed, and one window in a while after them. `benchmarks/scoring.py` measures the
ways, and says what was tried and does not pay.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from smart_sifting import batches as batch_ops
from smart_sifting.scoring import Scorer, Scores

# Windows in a row that are scored in every way before one is settled on.
TRIALS = 3
# Windows from one comparison to the next, once a way is settled: what held early in training must
# hold later. At most a hundredth of the scoring goes into them.
WINDOWS_BETWEEN_AUDITS = 256
# A rank correlation that a way must reach in each of the last comparisons.
SAME_RANKS = 0.99
# A way must take less than this share of a simpler one's time, and so many seconds a window less:
# what is closer is a draw, which the machine's other work would decide.
WORTH_IT = 0.9
WORTH_SECONDS = 0.0005
# A way that takes so many times as long as the plain one is not tried a second time: processors
# without bfloat16 emulate it, a function that is compiled inside the model is compiled again.
HOPELESS = 5.0


@dataclass(frozen=True)
class Way:
    """How a window is scored.

    Attributes:
        at_once: all its batches in one forward, not one by one.
        bfloat16: under autocast to bfloat16, where the script has no autocast of its own.
    """

    at_once: bool = False
    bfloat16: bool = False


PLAIN = Way()
# Each departs further from the plain one than the one before it.
WAYS = (PLAIN, Way(at_once=True), Way(bfloat16=True), Way(at_once=True, bfloat16=True))


@dataclass
class _Record:
    """A way's last comparisons: seconds a window, rank correlation with the plain scores."""

    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=TRIALS))
    agreement: deque[float] = field(default_factory=lambda: deque(maxlen=TRIALS))


class WindowScorer:
    """Scores whole windows, always with losses that rank samples as `score` itself would.

    Args:
        score: gives a batch its losses; what it gives is never questioned.
        dim: how to read the batches, see `smart_sifting.batches`.
        clock: seconds.
        said: called with a line for the log where scores are to come in another type.

    A script that asks torch for deterministic algorithms is scored the plain way: what it keeps
    must not depend on a clock. So are compiled models, which another way would compile again.
    """

    def __init__(
        self,
        score: Scorer,
        dim: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
        said: Callable[[str], None] | None = None,
    ) -> None:
        self.way = PLAIN
        self._score = score
        self._dim = dim
        self._clock = clock
        self._said = said
        self._records: dict[Way, _Record] | None = None
        self._audits = 0
        self._windows_to_audit = 0
        self._largest = 0

    @property
    def modules(self) -> Sequence[nn.Module]:
        """The models that it calls."""
        return self._score.modules

    def __call__(self, window: Sequence[tuple[Any, Any, int]]) -> Scores:
        """The scores of all samples of a window, in order.

        Args:
            window: its batches as (transformed, original, samples).
        """
        if self._records is None:
            self._records = {way: _Record() for way in self._ways()}
        samples = sum(each[2] for each in window)
        self._windows_to_audit -= 1
        # A short window's time says nothing about the others'.
        if len(self._records) > 1 and self._windows_to_audit < 0 and samples >= self._largest:
            self._largest = samples
            return self._audited(window)
        return self._scored(window)

    def state_dict(self) -> dict[str, Any]:
        """The way settled on: a resumed job must not choose another."""
        settled = self._audits >= TRIALS
        return {"at_once": self.way.at_once, "bfloat16": self.way.bfloat16, "settled": settled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if not state["settled"]:
            return
        self.way = Way(bool(state["at_once"]), bool(state["bfloat16"]))
        self._records = {way: _Record() for way in dict.fromkeys((PLAIN, self.way))}
        self._audits, self._windows_to_audit = TRIALS, WINDOWS_BETWEEN_AUDITS

    def _ways(self) -> tuple[Way, ...]:
        fixed = torch.are_deterministic_algorithms_enabled() or _compiled(self.modules)
        return (PLAIN,) if fixed or not self.modules else WAYS

    def _scored(self, window: Sequence[tuple[Any, Any, int]]) -> Scores:
        if self.way == PLAIN:
            return self._in_way(PLAIN, window)
        try:
            return self._in_way(self.way, window)
        except Exception as failure:  # noqa: BLE001 - the user's code on what it has never seen;
            # if the plain way fails too, that is theirs to see.
            self._give_up(self.way, failure)
            return self._in_way(PLAIN, window)

    def _audited(self, window: Sequence[tuple[Any, Any, int]]) -> Scores:
        """Score in every way that is still open, and settle on one. Gives the plain scores."""
        records = self._open()
        start = self._clock()
        plain = self._in_way(PLAIN, window)
        spent = self._clock() - start
        records[PLAIN].seconds.append(spent)
        for way in [each for each in records if each != PLAIN]:
            start = self._clock()
            try:
                losses = self._in_way(way, window).losses
            except Exception as failure:  # noqa: BLE001 - as above
                self._give_up(way, failure)
                continue
            seconds = self._clock() - start
            records[way].seconds.append(seconds)
            records[way].agreement.append(rank_correlation(plain.losses, losses))
            if seconds > HOPELESS * spent:
                del records[way]
        self._audits += 1
        if self._audits >= TRIALS:
            self._settle()
        return plain

    def _settle(self) -> None:
        """Take the cheapest way that agrees; forget those that are no cheaper than the plain."""
        records = self._open()
        seconds = {way: min(record.seconds) for way, record in records.items()}
        for way in [each for each in records if each != PLAIN]:
            if not _cheaper(seconds[way], seconds[PLAIN]):
                del records[way]
        best = PLAIN
        for way, record in records.items():
            agrees = all(each > SAME_RANKS for each in record.agreement)
            if agrees and _cheaper(seconds[way], seconds[best]):
                best = way
        if best.bfloat16 and best != self.way:
            share = seconds[best] / seconds[PLAIN]
            self._say(f"scoring runs in bfloat16, in {share:.2f} of the time it took")
        self.way = best
        self._windows_to_audit = WINDOWS_BETWEEN_AUDITS

    def _give_up(self, way: Way, failure: Exception) -> None:
        self._open().pop(way, None)
        if self.way == way:
            self.way = PLAIN
            if way.bfloat16:
                self._say(f"scoring runs in bfloat16 no longer: {type(failure).__name__}")

    def _open(self) -> dict[Way, _Record]:
        if self._records is None:
            raise RuntimeError("no window has been scored yet")
        return self._records

    def _in_way(self, way: Way, window: Sequence[tuple[Any, Any, int]]) -> Scores:
        with _autocast(self.modules) if way.bfloat16 else nullcontext():
            if way.at_once and len(window) > 1:
                transformed, original, samples = _merged(window, self._dim)
                return self._score(transformed, original, samples, at_once=True)
            return _joined([self._score(*batch) for batch in window])

    def _say(self, line: str) -> None:
        if self._said is not None:
            self._said(line)


def rank_correlation(some: Tensor, others: Tensor) -> float:
    """Spearman's, of two sets of (n,) losses; ties share their ranks.

    0 where others are finite in the one set than in the other; 1 where neither tells samples apart.
    """
    finite = torch.isfinite(some)
    if not torch.equal(finite, torch.isfinite(others)):
        return 0.0
    ranks = torch.stack([_ranks(some[finite]), _ranks(others[finite])])
    ranks -= ranks.mean(1, keepdim=True) if ranks.numel() else 0.0
    spread = ranks.norm(dim=1)
    if not spread.all():
        return float(torch.equal(spread[:1], spread[1:]))
    return float(ranks[0] @ ranks[1] / spread.prod())


def _cheaper(seconds: float, others: float) -> bool:
    return seconds < min(WORTH_IT * others, others - WORTH_SECONDS)


def _ranks(losses: Tensor) -> Tensor:
    known = losses.sort().values
    below = torch.searchsorted(known, losses, right=False)
    not_above = torch.searchsorted(known, losses, right=True)
    return (below + not_above).to(torch.float64)


def _merged(window: Sequence[tuple[Any, Any, int]], dim: int | None) -> tuple[Any, Any, int]:
    transformed = batch_ops.merge([each[0] for each in window], dim)
    untransformed = all(each[0] is each[1] for each in window)
    original = transformed if untransformed else batch_ops.merge([each[1] for each in window], dim)
    return transformed, original, sum(each[2] for each in window)


def _joined(scores: Sequence[Scores]) -> Scores:
    labels = [each.labels for each in scores if each.labels is not None]
    return Scores(
        torch.cat([each.losses for each in scores]),
        torch.cat(labels) if len(labels) == len(scores) else None,
    )


def _autocast(modules: Iterable[nn.Module]) -> AbstractContextManager[Any]:
    devices = (p.device.type for module in modules for p in module.parameters())
    return torch.autocast(next(devices, "cpu"), dtype=torch.bfloat16)


def _compiled(modules: Iterable[nn.Module]) -> bool:
    """Whether any part of a model is compiled, by `torch.compile(model)` or `model.compile()`."""
    return any(
        hasattr(part, "_orig_mod") or getattr(part, "_compiled_call_impl", None) is not None
        for module in modules
        for part in module.modules()
    )
