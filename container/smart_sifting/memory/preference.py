"""How much more often one sample should be visited than another, told from their losses.

Preferred is what the model is undecided about. What it has learned has little left to teach, and
what it is confidently wrong about is often labelled wrongly: a preference that goes on rising with
the loss makes it learn those labels by heart.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRENGTH = 0.8
"""Of the preference while it is whole: nothing is visited less than at a fifth of the mean rate."""

# Visits a sample: until the first the preference is whole, from the second on there is none. A
# model that has seen every sample that often begins to learn them by heart, and to prefer the ones
# that it has not yet hastens that. Even visits are then as good as a shorter plain run.
_WHOLE_UNTIL, _NONE_FROM = 4.0, 8.0

CLASS_FLOOR = 0.3
"""The least mean rate of a class, where all have 1: none is left behind for being easy."""

# The preferred loss, as a share of the first epoch's mean.
_PREFERRED = 0.5

# Every float16 there is: they are counted per bit pattern, without a sort of the samples.
_VALUES = np.arange(2**16, dtype=np.uint16).view(np.float16)
_CHUNK = 2**18


def strength_after(visits: float) -> float:
    """The preference's strength once the samples were visited so often, on average."""
    left = (_NONE_FROM - visits) / (_NONE_FROM - _WHOLE_UNTIL)
    return STRENGTH * min(1.0, max(0.0, left))


def visit_rates(
    scores: NDArray[np.floating],
    *,
    strength: float,
    first_mean: float | None,
    classes: NDArray[np.uint16] | None = None,
    floor: float = 0.0,
) -> NDArray[np.float32]:
    """Rates of visits relative to each other; their mean is 1.

    A rate goes with sqrt(q (1 - q)) for q = 2^(-loss / peak): with the root of a small loss,
    highest at the peak, falling above it. That is the spread of a coin that shows heads with
    probability q; for a cross entropy and a peak of ln 2, q is the probability of the sample's own
    label. The peak is half of the first epoch's mean loss, or the median where that is higher: as
    long as most losses are high, high ones are not suspect.

    Args:
        scores: (n,) losses, in the precision of float16; below 0 they count as 0. Those that are
            not finite are not known: they have the rate 1.
        strength: 0 to 1, see `strength_after`; no rate is below 1 - strength.
        first_mean: mean loss of the first epoch; None where it is not known.
        classes: (n,) classes; None: all of one.
        floor: 0 to 1, the least mean rate of a class. Others give way, in proportion.
    """
    rates = _looked_up(scores, strength, first_mean)
    if classes is not None and floor > 0:
        _lift(rates, classes, floor)
    return rates


def window_rates(
    losses: NDArray[np.floating],
    known: NDArray[np.floating],
    *,
    strength: float,
    first_mean: float | None,
) -> NDArray[np.float64]:
    """The same for a few samples that come along, beside others that came before.

    Args:
        losses: (n,) of the samples, as for `visit_rates`.
        known: (m,) finite losses that stand for all; the mean rate of such samples is 1.
        strength, first_mean: as for `visit_rates`.
    """
    rates = np.ones(len(losses))
    if not len(known):
        return rates
    peak = _peak(float(np.median(np.maximum(known, 0))), first_mean)
    if peak <= 0:
        return rates
    finite = np.isfinite(losses)
    mean = float(_spreads(known, peak).mean())
    rates[finite] = _relative(_spreads(losses[finite], peak), mean, strength)
    return rates


def _peak(median: float, first_mean: float | None) -> float:
    """The preferred loss; 0 where nothing tells it."""
    return max(_PREFERRED * (first_mean or 0.0), median)


def _relative(
    spreads: NDArray[np.floating], mean: float, strength: float
) -> NDArray[np.floating] | float:
    """The rates of such spreads, where all have that mean."""
    return 1 - strength + strength * spreads / mean if mean > 0 else 1.0


def _spreads(losses: NDArray[np.floating], peak: float) -> NDArray[np.floating]:
    q = np.exp2(-np.maximum(losses, 0) / peak)
    spreads: NDArray[np.floating] = np.sqrt(q * (1 - q))
    return spreads


def _looked_up(
    scores: NDArray[np.floating], strength: float, first_mean: float | None
) -> NDArray[np.float32]:
    counts = np.zeros(len(_VALUES), np.int64)
    for _, bits in _bit_patterns(scores):
        counts += np.bincount(bits, minlength=len(_VALUES))
    table = _table(counts, strength, first_mean)
    rates = np.empty(len(scores), np.float32)
    for part, bits in _bit_patterns(scores):
        # Every bit pattern is in the table: the mode spares numpy the check.
        table.take(bits, out=rates[part], mode="clip")
    return rates


def _table(
    counts: NDArray[np.int64], strength: float, first_mean: float | None
) -> NDArray[np.float32]:
    """The rate of every float16, when `counts` samples have it."""
    table = np.ones(len(_VALUES), np.float32)
    known = np.flatnonzero((counts > 0) & np.isfinite(_VALUES))
    if not len(known):
        return table
    losses = np.maximum(_VALUES[known].astype(np.float64), 0)
    peak = _peak(_median(losses, counts[known]), first_mean)
    if peak <= 0:
        return table
    spreads = _spreads(losses, peak)
    mean = float(np.average(spreads, weights=counts[known]))
    table[known] = _relative(spreads, mean, strength)
    return table


def _median(values: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """Of values that occur so often each."""
    order = np.argsort(values)
    below = np.cumsum(counts[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])


def _lift(rates: NDArray[np.float32], classes: NDArray[np.uint16], floor: float) -> None:
    """Scales the rates of each class so that none has a mean below `floor`, and all have 1."""
    counts, sums = np.zeros(len(_VALUES)), np.zeros(len(_VALUES))
    for part in _parts(len(rates)):
        counts += np.bincount(classes[part], minlength=len(counts))
        sums += np.bincount(classes[part], weights=rates[part], minlength=len(sums))
    factors = _factors(counts, sums, floor).astype(np.float32)
    for part in _parts(len(rates)):
        rates[part] *= factors.take(classes[part], mode="clip")


def _factors(
    counts: NDArray[np.float64], sums: NDArray[np.float64], floor: float
) -> NDArray[np.float64]:
    factors = np.ones(len(counts))
    lifted = np.zeros(len(counts), np.bool_)
    # Giving way may push another class below the floor.
    while (low := ~lifted & (sums * factors < floor * counts)).any():
        lifted |= low
        left = counts.sum() - floor * counts[lifted].sum()
        factors[~lifted] = left / sums[~lifted].sum()
        factors[lifted] = floor * counts[lifted] / sums[lifted]
    return factors


def _bit_patterns(scores: NDArray[np.floating]) -> Iterator[tuple[slice, NDArray[Any]]]:
    for part in _parts(len(scores)):
        yield part, scores[part].astype(np.float16).view(np.uint16)


def _parts(samples: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, samples, _CHUNK))
