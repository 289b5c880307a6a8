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

from smart_sifting.memory.score_memory import NO_CLASS

STRENGTH = 0.8
"""Of the preference while it is whole: nothing is visited less than at a fifth of the mean rate."""

# Visits a sample: until the first the preference is whole, from the second on there is none. A
# model that has seen every sample that often begins to learn them by heart, and to prefer the ones
# that it has not yet hastens that. Even visits are then as good as a shorter plain run.
_WHOLE_UNTIL, _NONE_FROM = 4.0, 8.0

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
    class_floor: float = 0.0,
    keep: float = 1.0,
    shows: NDArray[Any] | None = None,
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
        classes: (n,) classes, NO_CLASS where it is not known; None: known of none.
        class_floor: 0 to 1. The least of a class, as a part of an equal share of the visits; a
            class that is shown less often is visited whole. Others give way, in proportion.
        keep: the share of what is shown that an epoch visits, more than 0.
        shows: (n,) how often the sampler shows each; None: all alike. A class counts as often as
            it is shown, so that a sampler's weights survive.
    """
    rates = _looked_up(scores, strength, first_mean)
    if classes is not None and class_floor > 0:
        _lift(rates, classes, class_floor, keep, shows)
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
    with np.errstate(under="ignore"):  # a script may ask numpy to raise
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


def _lift(
    rates: NDArray[np.float32],
    classes: NDArray[np.uint16],
    class_floor: float,
    keep: float,
    shows: NDArray[Any] | None,
) -> None:
    """Scales the rates of each class so that none is visited less than its least, and the mean of
    all stays. Those whose class is not known take part in nothing."""
    counts, sums = np.zeros(len(_VALUES)), np.zeros(len(_VALUES))
    for part in _parts(len(rates)):
        each = np.ones(len(rates[part])) if shows is None else shows[part]
        counts += np.bincount(classes[part], weights=each, minlength=len(counts))
        sums += np.bincount(classes[part], weights=each * rates[part], minlength=len(sums))
    counts[NO_CLASS] = sums[NO_CLASS] = 0.0
    if not sums.any():
        return
    always = sums.sum() / counts.sum() / keep  # the rate of what is visited whenever it is shown
    share = class_floor * sums.sum() / np.count_nonzero(counts)
    least = np.minimum(counts * always, share)
    factors = _factors(sums, least)
    # No sample can be visited more often than it is shown: what is over would be lost to a class
    # that has no more than its least. Its samples move together as far as that takes.
    means = np.divide(factors * sums, counts, out=np.ones_like(sums), where=counts > 0)
    over = factors * float(rates.max()) - means
    held = (least > 0) & (factors * sums <= least * (1 + 1e-9)) & (means + over > always)
    kept = np.ones(len(sums))
    kept[held] = np.maximum(always - means[held], 0) / over[held]
    for part in _parts(len(rates)):
        of_each = classes[part]
        rates[part] *= factors.take(of_each, mode="clip")
        if (tight := held.take(of_each, mode="clip")).any():
            mean = means[of_each[tight]]
            rates[part][tight] = mean + (rates[part][tight] - mean) * kept[of_each[tight]]


def _factors(sums: NDArray[np.float64], least: NDArray[np.float64]) -> NDArray[np.float64]:
    """By which classes whose rates add up to `sums` come to `least` or more each."""
    factors = np.ones(len(sums))
    lifted = np.zeros(len(sums), np.bool_)
    # Giving way may push another class below its least; rounding does not count.
    while (low := ~lifted & (sums * factors < least * (1 - 1e-9))).any():
        lifted |= low
        factors[lifted] = least[lifted] / sums[lifted]
        if (rest := sums[~lifted].sum()) > 0:
            factors[~lifted & (sums > 0)] = (sums.sum() - least[lifted].sum()) / rest
    return factors


def _bit_patterns(scores: NDArray[np.floating]) -> Iterator[tuple[slice, NDArray[Any]]]:
    for part in _parts(len(scores)):
        with np.errstate(under="ignore", over="ignore"):  # a script may ask numpy to raise
            bits = scores[part].astype(np.float16).view(np.uint16)
        yield part, bits


def _parts(samples: int) -> Iterator[slice]:
    return (slice(start, start + _CHUNK) for start in range(0, samples, _CHUNK))
