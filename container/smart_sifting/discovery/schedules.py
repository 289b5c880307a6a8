"""Learning-rate schedules that were built from a length that turned out to be another.

A script builds its schedule from `len(loader)` before anyone can know what the loader is for.
Where the answer was wrong, the schedulers that step with every batch are made to run at the pace
of the true length, so that they still end exactly at the end: each call advances them by
told / true steps on average.
"""

from __future__ import annotations

import gc
from typing import Any
from weakref import WeakKeyDictionary

from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

_paces: WeakKeyDictionary[LRScheduler, _Pace] = WeakKeyDictionary()
_patched: set[type] = set()


class Positions(WeakKeyDictionary[LRScheduler, int]):
    """How far schedulers had come, in steps."""


def positions() -> Positions:
    """How far every running scheduler has come, in steps."""
    return Positions({each: _position(each) for each in _running()})


def stretch(told: int, true: int, before: Positions, passes: int) -> int:
    """Fit the running per-batch schedulers, built for `told` batches an epoch, to `true` ones.

    Args:
        before: where they stood when this training began, which may be a resumed one.
        passes: epochs begun since; a scheduler that has stepped no oftener steps by the epoch.

    Returns:
        How many schedulers it fitted.
    """
    fitted = 0
    for scheduler in _running():
        calls = _position(scheduler) - before.get(scheduler, 0)
        if calls > passes:
            _pace(scheduler, told / true, calls)
            fitted += 1
    return fitted


def keep_pace(ratio: float, before: Positions, passes: int) -> int:
    """Let the running per-batch schedulers take `ratio` steps a call from now on, on average.

    Args:
        before: where they stood when this training began; one that is not in it, at its beginning.
        passes: epochs begun since, as for `stretch`.

    Returns:
        How many schedulers those are.
    """
    paced = [each for each in _running() if _position(each) - before.get(each, 0) > passes]
    for scheduler in paced:
        _pace(scheduler, ratio, calls=0)
    return len(paced)


class _Pace:
    """Steps to take for the calls so far, less those taken."""

    def __init__(self, ratio: float, calls: int) -> None:
        self.ratio = ratio
        self.owed = calls * (ratio - 1)

    def due(self) -> int:
        """How many steps the next call takes."""
        self.owed += self.ratio
        # A rounding error must not take the last step away.
        steps = max(0, int(self.owed + 1e-6))
        self.owed -= steps
        return steps


def _running() -> list[LRScheduler]:
    """Every scheduler of this process that no other scheduler steps."""
    # By type: isinstance() would ask every object of the process for its class, lazy ones too.
    found = [each for each in gc.get_objects() if issubclass(type(each), LRScheduler)]
    inner = {id(child) for each in found for child in getattr(each, "_schedulers", ())}
    return [e for e in found if id(e) not in inner and not isinstance(e, ReduceLROnPlateau)]


def _position(scheduler: LRScheduler) -> int:
    # A chain has none of its own.
    children = getattr(scheduler, "_schedulers", ())
    own = getattr(scheduler, "last_epoch", None)
    return max(map(_position, children), default=0) if own is None else int(own)


def _pace(scheduler: LRScheduler, ratio: float, calls: int) -> None:
    _paces[scheduler] = _Pace(ratio, calls)
    kind = type(scheduler)
    if kind in _patched:
        return
    _patched.add(kind)
    original = kind.step

    # On the class: an attribute of the object would end up in its state_dict.
    def step(self: LRScheduler, *args: Any, **kwargs: Any) -> None:
        pace = _paces.get(self)
        for _ in range(1 if pace is None else pace.due()):
            original(self, *args, **kwargs)

    kind.step = step  # type: ignore[method-assign]
