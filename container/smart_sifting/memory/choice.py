"""Which samples of an epoch are taken: by rate and credit, without flipping coins.

Every sample has a rate, the visits that it should have in an epoch, and a credit, the visits that
it is owed. An epoch adds the rates to the credits, takes the samples with the highest sums and
charges each of them one visit. With equal rates all samples are visited equally often, as in a
plain run of fewer epochs; a coin for every sample in every epoch would leave some out for long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smart_sifting.errors import SiftingStateException, UnsupportedDataFormatException
from smart_sifting.memory.exchange import exchange
from smart_sifting.memory.score_memory import VISIT, ScoreMemory

Indices = NDArray[np.int64]
Integers = NDArray[np.integer]
Numbers = NDArray[np.floating]

# Above every credit, and below every credit.
_FIRST = 2**28
_NEVER = -(2**30)

_NO_GAINS = np.zeros(1, np.int16)


class EpochChoice:
    """Chooses each epoch's samples. Draws from a generator of its own only.

    Once an epoch: `settle` the last one, then `choose`. In between nothing changes but what is
    pending here, so an epoch that is begun again from its first state chooses the same samples.

    Args:
        seed: of the draws among samples that are owed the same, at least 0.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._epoch = 0
        # Of the running epoch: what its rates add to the credits, and the visits that it planned.
        self._gains: Integers = _NO_GAINS
        self._planned = 0

    def choose(
        self,
        memory: ScoreMemory,
        sequence: Indices,
        quota: int,
        *,
        preference: Numbers | None = None,
        whole: Indices | None = None,
    ) -> Indices:
        """The chosen occurrences, min(quota, n) of them, in the order of `sequence`.

        A sample whose last loss was not finite comes first: what a model cannot digest must be
        seen, not hidden. Every occurrence has its sample's rate, so a sampler's weights survive.

        Args:
            memory: what is known of the samples.
            sequence: (n,) samples as the sampler gives them.
            quota: how many occurrences to choose.
            preference: (samples,) rates relative to each other, more than 0; None: all alike.
            whole: (m,) samples that the epoch gives beside the chosen ones, before them.

        Raises:
            UnsupportedDataFormatException: the sampler gave an index outside of the data set.
        """
        quota = min(quota, len(sequence))
        shown = sequence if whole is None else np.concatenate([whole, sequence])
        before = len(shown) - len(sequence)
        shows = _shows(shown, len(memory))
        repeated = shows.dtype != np.bool_
        first = memory.not_finite
        gains = _gains(_weights(preference, first), shows, before + quota)
        # Without repetition none is over one visit.
        self._gains = gains if repeated else gains.astype(np.int16)
        self._planned = before + quota
        self._epoch += 1

        keys = gains + memory.credit_units
        keys[first] += _FIRST
        generator = np.random.default_rng([self._seed, self._epoch])
        if repeated:
            of_each = keys[shown] - VISIT * _earlier(shown, shows)
            return sequence[_highest(of_each[before:], quota, generator)]
        keys[~shows] = _NEVER
        keys[shown[:before]] = _NEVER
        return sequence[_highest(keys, quota, generator).take(sequence)]

    def settle(self, memory: ScoreMemory, given: Indices, shown: int) -> None:
        """End the epoch: what it gave is charged, its losses join the scores.

        A collective where there are several ranks; then all hold the same memory.

        Args:
            memory: as it was when the epoch was chosen.
            given: (n,) samples that really reached the script, those of `whole` included.
            shown: samples that this process's loader gives in a plain epoch.

        Raises:
            SiftingStateException: what was loaded is of another data set.
        """
        earned = self._earned(len(given))
        if len(earned) not in (1, len(memory)):
            raise SiftingStateException(
                f"sifting state: gains of {len(earned)} samples in a data set of {len(memory)}"
            )
        changes = np.zeros(len(memory), np.result_type(earned, np.int32))
        changes += earned
        np.subtract.at(changes, given, changes.dtype.type(VISIT))
        memory.settle(exchange(memory, changes, shown))
        self._gains, self._planned = _NO_GAINS, 0

    def state_dict(self) -> dict[str, Any]:
        """Everything that a resumed job needs to choose as it would have."""
        gains = torch.from_numpy(self._gains.copy())
        return {"epoch": self._epoch, "planned": self._planned, "gains": gains}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            SiftingStateException: it is not such a state. Nothing has changed then.
        """
        epoch, planned, gains = (state.get(name) for name in ("epoch", "planned", "gains"))
        if not isinstance(epoch, int) or not isinstance(planned, int) or min(epoch, planned) < 0:
            raise SiftingStateException("sifting state: epoch or planned is missing or no count")
        if not isinstance(gains, torch.Tensor) or gains.is_floating_point() or gains.dim() != 1:
            raise SiftingStateException("sifting state: gains is missing or not a row of integers")
        self._epoch, self._planned = epoch, planned
        self._gains = gains.cpu().numpy().copy()

    def _earned(self, given: int) -> Integers:
        """What the samples gain when the epoch really gave that many."""
        if given >= self._planned:
            return self._gains
        # A script that leaves its loop early leaves the same share of every sample's rate.
        return _whole(self._gains * np.float32(given / self._planned))


def _shows(shown: Indices, samples: int) -> NDArray[Any]:
    """How often each of the (samples,) is shown; as bools where none is shown twice."""
    if len(shown) and not 0 <= (wrong := _farthest(shown, samples)) < samples:
        raise UnsupportedDataFormatException(
            f"the sampler gave the index {wrong}, and the data set has {samples} samples"
        )
    once = np.zeros(samples, np.bool_)
    once[shown] = True
    if np.count_nonzero(once) == len(shown):
        return once
    return np.bincount(shown, minlength=samples)


def _farthest(shown: Indices, samples: int) -> int:
    """The index that is the farthest outside of the data set, or some index within."""
    lowest, highest = int(shown.min()), int(shown.max())
    return lowest if lowest < 0 else highest


def _weights(preference: Numbers | None, first: NDArray[np.bool_]) -> Numbers:
    """Relative rates. Those to be seen first are worth all others together: they fill up first."""
    alike = np.ones(len(first), np.float32) if preference is None else preference
    return np.where(first, np.float32(len(first)), alike) if first.any() else alike


def _gains(weights: Numbers, shows: NDArray[Any], total: int) -> Integers:
    """Units of credit that an epoch of `total` visits adds to each of the (samples,)."""
    return _whole(_rates(weights, shows, total) * shows * VISIT)


def _rates(weights: Numbers, shows: NDArray[Any], total: int) -> Numbers:
    """Visits for each show: in proportion to the weights, at most 1, `total` in all."""
    if total >= shows.sum():
        return np.ones(len(weights), np.float32)
    weighed = weights * shows
    whole = float(weighed.sum(dtype=np.float64))
    scale, full = total / whole, 0
    # What is over 1 goes to the others, which may lift more of them over it.
    while np.count_nonzero(over := weights * np.float32(scale) > 1) > full:
        full = int(np.count_nonzero(over))
        rest = whole - float(weighed[over].sum(dtype=np.float64))
        if rest <= 0:
            break
        scale = (total - int(shows[over].sum())) / rest
    rates: Numbers = np.minimum(weights * np.float32(scale), 1)
    return rates


def _whole(units: Numbers) -> Integers:
    # A sample that is shown a hundred thousand times an epoch is beyond 32 bits.
    return np.rint(units).astype(np.int32 if units.dtype == np.float32 else np.int64)


def _earlier(shown: Indices, shows: Integers) -> Indices:
    """How often each occurrence's sample has occurred before."""
    # One sort of plain numbers is several times as fast as a stable argsort.
    ordered = np.sort(shown << 32 | np.arange(len(shown)))
    places, samples = ordered & 0xFFFFFFFF, ordered >> 32
    starts = np.cumsum(shows) - shows
    earlier = np.empty(len(shown), np.int64)
    earlier[places] = np.arange(len(shown)) - starts[samples]
    return earlier


def _highest(keys: Integers, quota: int, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Which (n,) are the `quota` highest; among equals at the border the generator draws."""
    if quota == 0:
        return np.zeros(len(keys), np.bool_)
    border = np.partition(keys, len(keys) - quota)[len(keys) - quota]
    taken: NDArray[np.bool_] = keys > border
    missing = quota - np.count_nonzero(taken)
    level = np.flatnonzero(keys == border)
    taken[generator.choice(level, missing, replace=False, shuffle=False)] = True
    return taken
