"""Which sifter remembers which data set, from one loader to the next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

from smart_sifting.memory.sifter import MemorySifter


class KnownData:
    """The sifters of the data sets that are trained on.

    A loader made anew goes on with what is known of its data set. So does a data set made anew in
    the place of one that is gone. Two that live at the same time are two, however alike: tasks,
    folds and domains often have one class and one length.
    """

    def __init__(self) -> None:
        self._known: list[tuple[Callable[[], Any], str, MemorySifter]] = []

    def __iter__(self) -> Iterator[MemorySifter]:
        return (sifter for _, _, sifter in self._known)

    def find(self, dataset: Any, name: str) -> MemorySifter | None:
        """The sifter of a data set, or else of one of that name that is gone; none that is busy."""
        idle = [
            (known(), called, sifter) for known, called, sifter in self._known if not sifter.busy
        ]
        for known, _, sifter in idle:
            if known is dataset:
                return sifter
        for known, called, sifter in idle:
            if known is None and called == name:
                sifter.forget_classes()  # a fold has another's samples in the same places
                return sifter
        return None

    def remember(self, dataset: Any, name: str, sifter: MemorySifter) -> None:
        """From now on this sifter is that data set's, and of no other."""
        self.forget(sifter)
        self._known.append((_weak(dataset), name, sifter))

    def forget(self, sifter: MemorySifter) -> None:
        """Give a sifter to nobody any more."""
        self._known = [each for each in self._known if each[2] is not sifter]


def _weak(dataset: Any) -> Callable[[], Any]:
    """Gives a data set while it lives; a list, which takes no weak references, for ever."""
    try:
        return ref(dataset)
    except TypeError:
        return lambda: dataset
