"""The receipt of a job: what was seen and kept, what it cost, and what that saved.

The runtime writes one file a rank into the job's output (``file_name``); the launcher reads them
back (``read``, ``read_all``), joins the ranks (``merge``) and prints one line (``summary_line``).
Times are seconds, shares are 0 to 1, money is US dollars.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from smart_sifting.errors import ReceiptException
from smart_sifting.receipt_values import ADDED, from_values

SCHEMA = 1
TIERS = ("memory", "forward", "batch", "pass-through", "waiting")
"""What was done, best first: sifted by the training steps' own losses; by a scoring pass; evenly,
knowing whole batches' losses alone; all data passed through; no training seen yet."""

SIFTED = ("memory", "forward", "batch")
"""The tiers that drop samples."""

T = TypeVar("T")


@dataclass
class Samples:
    """Counts of samples. ``left_over`` were kept but had no batch to go into when the job ended;
    ``non_finite`` had a NaN or infinite loss and were kept for it; ``loaded`` were read and
    decoded, as what memory drops is not."""

    seen: int = 0
    kept: int = 0
    dropped: int = 0
    left_over: int = 0
    non_finite: int = 0
    loaded: int = field(default=0, metadata=ADDED)


@dataclass
class Batches:
    """Batches that came from the script's loader, and batches that were given to the script."""

    seen: int = 0
    given: int = 0


@dataclass
class Seconds:
    """Wall time. The four parts do not overlap; ``total`` also holds what is none of them."""

    total: float = 0.0
    scoring: float = 0.0
    training: float = 0.0
    data: float = 0.0
    discovery: float = 0.0

    @property
    def spent(self) -> float:
        """Seconds of sifted training: scoring, training, data and discovery."""
        return self.scoring + self.training + self.data + self.discovery


@dataclass
class Unsifted:
    """The cost without sifting, measured in this job's own steps on full batches.

    ``step_seconds`` and ``data_seconds`` are for one batch, ``seconds`` for all batches that were
    seen. With ``measured_steps`` 0 nothing is known and the others mean nothing.
    """

    step_seconds: float = 0.0
    data_seconds: float = 0.0
    measured_steps: int = 0
    seconds: float = 0.0


@dataclass
class Saved:
    """What sifting saved; negative when it cost more. ``dollars`` is None without a price."""

    seconds: float = 0.0
    share: float = 0.0
    dollars: float | None = None


@dataclass
class ClassCount:
    """Samples of one integer label."""

    label: int
    seen: int
    kept: int


@dataclass
class HistoryPoint:
    """The job at one step: the share kept so far and the mean scored loss (None: not finite)."""

    step: int
    seconds: float
    kept_share: float
    loss: float | None = None

    def __post_init__(self) -> None:
        if self.loss is not None and not math.isfinite(self.loss):
            self.loss = None


@dataclass
class Loader:
    """A DataLoader that was seen, its role (training, untouched, passed-through) and why."""

    name: str
    role: str
    reason: str


@dataclass
class Resumed:
    """The job went on from a checkpoint. What had been done after it was lost, and done again:
    ``lost_steps`` and ``lost_seconds`` are in none of the other counts."""

    step: int
    lost_steps: int = 0
    lost_seconds: float = 0.0


@dataclass
class Receipt:
    """One rank's receipt, or after ``merge`` the whole job's. The file holds these very fields."""

    tier: str = "waiting"
    reason: str = ""
    keep: float = 1.0
    acceptance: str = "quota"
    final: bool = False
    rank: int = 0
    world_size: int = 1
    samples: Samples = field(default_factory=Samples)
    batches: Batches = field(default_factory=Batches)
    steps: int = 0
    epochs: int = 0
    seconds: Seconds = field(default_factory=Seconds)
    unsifted: Unsifted = field(default_factory=Unsifted)
    saved: Saved = field(default_factory=Saved)
    classes: list[ClassCount] = field(default_factory=list)
    history: list[HistoryPoint] = field(default_factory=list)
    loaders: list[Loader] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    resumed: list[Resumed] = field(default_factory=list, metadata=ADDED)

    def to_dict(self) -> dict[str, Any]:
        """The receipt as JSON values."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Receipt:
        """The receipt that ``to_dict`` wrote; keys of a later release are passed over.

        Raises ``ReceiptException`` for another schema, a missing key or a value of another type.
        """
        if not isinstance(values, Mapping) or "schema" not in values:
            raise ReceiptException("receipt: not a receipt; name a receipt.json that a job wrote")
        if values["schema"] != SCHEMA:
            raise ReceiptException(
                f"receipt: schema {values['schema']!r}, this release reads {SCHEMA}; "
                "use the release of sift-launcher that ran the job"
            )
        receipt = from_values(cls, values, "receipt")
        if receipt.tier not in TIERS:
            raise ReceiptException(f"receipt: tier is {receipt.tier!r}, not of {', '.join(TIERS)}")
        return receipt

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write the file so that a reader sees the old text or the new, never a part.

        Renaming does that. There is no fsync: it guards against a machine that loses power, and
        would stall training on the disk every second. Raises ``OSError`` as the disk does.
        """
        target = Path(path)
        part = target.with_name(f".{target.name}.{os.getpid()}.part")
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_text(text + "\n", encoding="utf-8")
            part.replace(target)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def file_name(rank: int) -> str:
    """``receipt.json`` for rank 0, ``receipt-<rank>.json`` for the others."""
    return "receipt.json" if rank == 0 else f"receipt-{rank}.json"


def read(path: str | os.PathLike[str]) -> Receipt:
    """The receipt in a file. Raises ``ReceiptException`` naming the file and what is wrong."""
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReceiptException(f"{path}: no such receipt; has the job trained yet?") from None
    except OSError as unreadable:
        raise ReceiptException(f"{path}: cannot be read: {unreadable.strerror}") from unreadable
    except (ValueError, RecursionError) as broken:
        raise ReceiptException(f"{path}: not JSON; the job's log has its last line") from broken
    try:
        return Receipt.from_dict(values)
    except ReceiptException as wrong:
        raise ReceiptException(f"{path}: {wrong}") from None


def read_all(folder: str | os.PathLike[str]) -> list[Receipt]:
    """The receipts of all ranks in a folder, rank 0 first. Raises as ``read`` does."""
    found = [
        each
        for each in Path(folder).glob("receipt*.json")
        if re.fullmatch(r"receipt(-[1-9][0-9]*)?\.json", each.name)
    ]
    return sorted((read(each) for each in found), key=lambda receipt: receipt.rank)


def saved(seconds: Seconds, unsifted: Unsifted, dollars_per_hour: float | None = None) -> Saved:
    """What was saved: the unsifted cost less everything that the sifted training took.

    Nothing is claimed where nothing was measured. ``dollars_per_hour`` prices all ranks' machine.
    """
    if unsifted.measured_steps == 0 or unsifted.seconds <= 0:
        return Saved()
    gain = unsifted.seconds - seconds.spent
    dollars = None if dollars_per_hour is None else gain * dollars_per_hour / 3600
    return Saved(seconds=gain, share=gain / unsifted.seconds, dollars=dollars)


def merge(receipts: Iterable[Receipt]) -> Receipt:
    """One receipt for all ranks.

    Samples, batches and classes add up. Ranks run side by side, so times are means and steps and
    epochs the largest, and a saving is one of wall time; it is claimed only if every rank measured
    its unsifted cost. The tier is the least of the ranks'. Raises ``ReceiptException`` if there is
    nothing to merge.
    """
    ranks = sorted(receipts, key=lambda receipt: receipt.rank)
    if not ranks:
        raise ReceiptException("receipt: no ranks to merge; has the job trained yet?")
    first = ranks[0]
    if len(ranks) == 1:
        return first
    lowest = max(ranks, key=lambda receipt: TIERS.index(receipt.tier))
    return replace(
        first,
        tier=lowest.tier,
        reason=lowest.reason,
        final=all(each.final for each in ranks),
        samples=_combine(Samples, [each.samples for each in ranks], sum),
        batches=_combine(Batches, [each.batches for each in ranks], sum),
        steps=max(each.steps for each in ranks),
        epochs=max(each.epochs for each in ranks),
        seconds=_combine(Seconds, [each.seconds for each in ranks], _mean),
        unsifted=_merge_unsifted([each.unsifted for each in ranks]),
        saved=_merge_saved(ranks),
        classes=_merge_classes(ranks),
        history=_merge_history(ranks),
        loaders=_unique(loader for each in ranks for loader in each.loaders),
        notes=[*_unique(note for each in ranks for note in each.notes), *_about_ranks(ranks)],
    )


def summary_line(receipt: Receipt) -> str:
    """The one line for the log, which also says when sifting cost more than it saved."""
    if receipt.tier == "waiting" or receipt.samples.seen == 0:
        return f"sift: receipt: no training was seen{_because(receipt)}; tier {receipt.tier}"
    parts = [counts(receipt), _verdict(receipt), restarts(receipt), f"tier {receipt.tier}"]
    return f"sift: receipt: {'; '.join(part for part in parts if part)}"


def counts(receipt: Receipt) -> str:
    """``kept 719 of 1437 samples (50.0 %) in 120 steps``, for a receipt with samples."""
    samples, steps = receipt.samples, receipt.steps
    share = f"{100 * samples.kept / samples.seen:.1f} %"
    unit = "step" if steps == 1 else "steps"
    return f"kept {samples.kept} of {samples.seen} samples ({share}) in {steps} {unit}"


def restarts(receipt: Receipt) -> str:
    """``resumed once, 35 steps (12.0 s) done again``; empty for a job that was not interrupted.

    What was done again is left out where it is not known.
    """
    count = len(receipt.resumed)
    if not count:
        return ""
    times = {1: "once", 2: "twice"}.get(count, f"{count} times")
    steps = sum(each.lost_steps for each in receipt.resumed)
    if not steps:
        return f"resumed {times}"
    seconds = sum(each.lost_seconds for each in receipt.resumed)
    unit = "step" if steps == 1 else "steps"
    return f"resumed {times}, {steps} {unit} ({_time(seconds)}) done again"


def _verdict(receipt: Receipt) -> str:
    if receipt.tier == "pass-through":
        return f"nothing was sifted{_because(receipt)}"
    if receipt.unsifted.measured_steps == 0:
        return f"{_time(receipt.seconds.spent)}; the unsifted cost was not measured"
    against = f"{_time(receipt.seconds.spent)} against {_time(receipt.unsifted.seconds)} unsifted"
    gain, percent = receipt.saved.seconds, 100 * abs(receipt.saved.share)
    money = "" if receipt.saved.dollars is None else f", ${abs(receipt.saved.dollars):.2f}"
    if gain < 0:
        return f"{against}: sifting cost {_time(-gain)} more than it saved ({percent:.1f} %{money})"
    return f"{against}: saved {_time(gain)} ({percent:.1f} %{money})"


def _because(receipt: Receipt) -> str:
    return f": {receipt.reason}" if receipt.reason else ""


def _time(seconds: float) -> str:
    digits = 1 if seconds >= 1 or seconds == 0 else 3
    return f"{seconds:.{digits}f} s"


def _merge_unsifted(parts: Sequence[Unsifted]) -> Unsifted:
    if any(part.measured_steps == 0 for part in parts):
        return Unsifted()
    steps = sum(part.measured_steps for part in parts)
    return replace(_combine(Unsifted, parts, _mean), measured_steps=steps)


def _merge_saved(ranks: Sequence[Receipt]) -> Saved:
    merged = saved(
        _combine(Seconds, [each.seconds for each in ranks], _mean),
        _merge_unsifted([each.unsifted for each in ranks]),
    )
    prices = [each.saved.dollars for each in ranks if each.saved.dollars is not None]
    return replace(merged, dollars=_mean(prices) if len(prices) == len(ranks) else None)


def _merge_classes(ranks: Sequence[Receipt]) -> list[ClassCount]:
    merged: dict[int, ClassCount] = {}
    for each in (counts for receipt in ranks for counts in receipt.classes):
        so_far = merged.get(each.label, ClassCount(each.label, 0, 0))
        merged[each.label] = ClassCount(
            each.label, so_far.seen + each.seen, so_far.kept + each.kept
        )
    return [merged[label] for label in sorted(merged)]


def _merge_history(ranks: Sequence[Receipt]) -> list[HistoryPoint]:
    by_step: dict[int, list[HistoryPoint]] = {}
    for point in (point for receipt in ranks for point in receipt.history):
        by_step.setdefault(point.step, []).append(point)
    return [_mean_point(by_step[step]) for step in sorted(by_step)]


def _mean_point(points: Sequence[HistoryPoint]) -> HistoryPoint:
    losses = [point.loss for point in points if point.loss is not None]
    return HistoryPoint(
        step=points[0].step,
        seconds=_mean([point.seconds for point in points]),
        kept_share=_mean([point.kept_share for point in points]),
        loss=_mean(losses) if losses else None,
    )


def _about_ranks(ranks: Sequence[Receipt]) -> list[str]:
    notes = []
    if len({each.tier for each in ranks}) > 1:
        tiers = ", ".join(f"rank {each.rank} {each.tier}" for each in ranks)
        notes.append(f"the ranks differ in their tier: {tiers}")
    if len(ranks) < ranks[0].world_size:
        notes.append(f"receipts of {len(ranks)} of {ranks[0].world_size} ranks")
    return notes


def _combine(cls: type[T], parts: Sequence[T], how: Callable[[list[Any]], Any]) -> T:
    names = [each.name for each in fields(cls)]  # type: ignore[arg-type]
    return cls(**{name: how([getattr(part, name) for part in parts]) for name in names})


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _unique(items: Iterable[T]) -> list[T]:
    found: list[T] = []
    for item in items:
        if item not in found:
            found.append(item)
    return found
