"""Which loaders' batches a script has in hand when it trains."""

from __future__ import annotations

from smart_sifting.discovery.watch import Watch


class InHand:
    """The loaders that have given batches since the backwards on the batches before those."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []
        self._trained = False

    def given(self, watch: Watch) -> None:
        """A batch of this loader goes to the script."""
        if self._trained:
            self._watches.clear()
            self._trained = False
        if watch not in self._watches:
            self._watches.append(watch)

    def backward(self) -> bool:
        """A backward begins. Whether it is plain which loader's batch it is on."""
        self._trained = True
        return len(self._watches) <= 1
