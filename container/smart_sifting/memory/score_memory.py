"""What is known of every sample of a data set: eight bytes each, from one epoch to the next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from smart_sifting.errors import SiftingStateException

VISIT = 8192
"""Units of credit in one visit. Whole numbers, so that a thousand epochs add up exactly."""

NO_CLASS = 65535

_LARGEST_LOSS = float(np.finfo(np.float16).max)
_LARGEST_CREDIT = 4 * VISIT - 1
_INFINITY = 0x7C00  # in float16's bits, many times as fast to look for as the value
# Entries at a time: what is made on the way fits into a processor's cache.
_CHUNK = 2**18


class ScoreMemory:
    """The loss, the visits and the class of every sample.

    Scores and credits change in `settle` alone, between two epochs: a job that is killed within an
    epoch and begins it again finds them as they were.

    Args:
        samples: in the data set; indices are below it.
        smoothing: weight of the newest loss in a sample's score, more than 0 and at most 1. Less
            than 1 is an exponential moving average; what it averages are losses of other models,
            and in none of the regimes that were tried did it choose better.
    """

    bytes_per_sample = 8

    def __init__(self, samples: int, *, smoothing: float = 1.0) -> None:
        self.smoothing = smoothing
        # In both: NaN where nothing is known, infinity for a loss that was not finite.
        self._score = np.full(samples, np.nan, np.float16)
        self._fresh = np.full(samples, np.nan, np.float16)
        self._credit = np.zeros(samples, np.int16)
        self._class = np.full(samples, NO_CLASS, np.uint16)
        self._all_classes = False

    def __len__(self) -> int:
        return len(self._score)

    @property
    def scores(self) -> NDArray[np.float32]:
        """A copy of the (samples,) scores: NaN where unknown, infinity where not finite."""
        return self._score.astype(np.float32)

    @property
    def not_finite(self) -> NDArray[np.bool_]:
        """Whether the last known loss of each of the (samples,) was NaN or infinite."""
        not_finite: NDArray[np.bool_] = self._score.view(np.uint16) == _INFINITY
        return not_finite

    @property
    def credits(self) -> NDArray[np.float32]:
        """Visits that each of the (samples,) is owed; below 0 where it had more than its share."""
        credits: NDArray[np.float32] = self._credit.astype(np.float32) / np.float32(VISIT)
        return credits

    @property
    def credit_units(self) -> NDArray[np.int16]:
        """The same as whole numbers, `VISIT` of them a visit; not a copy."""
        return self._credit

    @property
    def classes(self) -> NDArray[np.uint16] | None:
        """The (samples,) classes, `NO_CLASS` where unknown; not a copy. None: none is known."""
        return self._class if (self._class != NO_CLASS).any() else None

    @property
    def class_ids(self) -> NDArray[np.uint16]:
        """The same, also where none is known."""
        return self._class

    @property
    def untouched(self) -> bool:
        """Whether no loss has been remembered yet."""
        return bool(np.isnan(self._score).all() and np.isnan(self._fresh).all())

    @property
    def all_classes(self) -> bool:
        """Whether the class of every sample is known."""
        if not self._all_classes:
            self._all_classes = bool((self._class != NO_CLASS).all())
        return self._all_classes

    @property
    def fresh(self) -> NDArray[np.float16]:
        """The (samples,) losses of this epoch, NaN where there is none yet; not a copy."""
        return self._fresh

    def record(
        self,
        indices: NDArray[np.integer],
        losses: NDArray[np.floating],
        classes: NDArray[np.integer] | None = None,
    ) -> None:
        """Remember this epoch's losses of the (n,) samples; they count from `settle` on.

        The last one of a sample counts. What float16 cannot hold is clipped.

        Args:
            indices: (n,) samples.
            losses: (n,) numbers.
            classes: (n,) integers; those outside 0 to 65534 count as unknown.
        """
        # Adding 0 turns the -0 that a perfect prediction costs into 0: one loss, one bit pattern.
        clipped = np.clip(losses, -_LARGEST_LOSS, _LARGEST_LOSS) + 0.0
        with np.errstate(under="ignore"):  # a script may ask numpy to raise
            self._fresh[indices] = np.where(np.isfinite(losses), clipped, np.inf)
        if classes is not None:
            known = (classes >= 0) & (classes < NO_CLASS)
            self._class[indices] = np.where(known, classes, NO_CLASS)

    def settle(self, changes: NDArray[np.integer]) -> None:
        """End an epoch: its losses join the scores, and each sample's credit changes.

        Args:
            changes: (samples,) or (1,) units of credit, see `VISIT`. Credit is bounded by four
                visits, so that nothing saves up for ever.
        """
        changes = np.broadcast_to(changes, len(self))
        for part in self._parts():
            credit = self._credit[part] + changes[part]
            self._credit[part] = np.clip(credit, -_LARGEST_CREDIT, _LARGEST_CREDIT)
            self._score[part] = self._smoothed(self._score[part], self._fresh[part])
        self._fresh.fill(np.nan)

    def scatter(self, generator: np.random.Generator) -> None:
        """Let each sample begin at another part of a visit.

        Samples of one rate that all began alike would come in step: whole epochs of hard ones,
        then of easy ones.
        """
        self._credit[:] = generator.integers(0, VISIT, len(self), np.int16)

    def grow(self, samples: int) -> None:
        """The data set has another length now. New samples are unknown, lost ones forgotten."""
        self._score = _resized(self._score, samples, np.nan)
        self._fresh = _resized(self._fresh, samples, np.nan)
        self._credit = _resized(self._credit, samples, 0)
        self._class = _resized(self._class, samples, NO_CLASS)
        self._all_classes = False

    def forget_classes(self) -> None:
        """Samples may be of other classes than before."""
        self._class.fill(NO_CLASS)
        self._all_classes = False

    def state_dict(self) -> dict[str, Any]:
        """A copy of everything, as tensors."""
        return {name: torch.from_numpy(array.copy()) for name, array in self._signed().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave for a data set of this length.

        Raises:
            SiftingStateException: it is not the state of such a memory. Nothing has changed then.
        """
        arrays = self._signed()
        for name, array in arrays.items():
            _check(name, state.get(name), array)
        for name, array in arrays.items():
            array[:] = state[name].cpu().numpy()

    def _smoothed(
        self, score: NDArray[np.float16], fresh: NDArray[np.float16]
    ) -> NDArray[np.floating]:
        old, new = score.astype(np.float32), fresh.astype(np.float32)
        with np.errstate(invalid="ignore"):  # infinity less infinity
            mean = old + np.float32(self.smoothing) * (new - old)
        # Where one of the two is no number there is no mean, and the newer one stands.
        return np.where(np.isfinite(mean), mean, np.where(np.isnan(new), old, new))

    def _parts(self) -> Iterator[slice]:
        return (slice(start, start + _CHUNK) for start in range(0, len(self), _CHUNK))

    def _arrays(self) -> dict[str, NDArray[Any]]:
        return {
            "score": self._score,
            "fresh": self._fresh,
            "credit": self._credit,
            "class": self._class,
        }

    def _signed(self) -> dict[str, NDArray[Any]]:
        """The arrays themselves, in types that every torch can save and load."""
        return self._arrays() | {"class": self._class.view(np.int16)}


def _resized(array: NDArray[Any], samples: int, unknown: float) -> NDArray[Any]:
    resized = np.full(samples, unknown, array.dtype)
    kept = min(samples, len(array))
    resized[:kept] = array[:kept]
    return resized


def _check(name: str, found: object, array: NDArray[Any]) -> None:
    wanted = torch.from_numpy(array)
    if not isinstance(found, torch.Tensor):
        raise SiftingStateException(f"sifting state: {name} is missing or no tensor")
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        raise SiftingStateException(
            f"sifting state: {name} is {found.dtype} of shape {tuple(found.shape)}, and this data "
            f"set needs {wanted.dtype} of shape {tuple(wanted.shape)}"
        )
