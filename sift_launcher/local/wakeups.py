"""Waiting for children, threads, a signal, or a moment, whichever is first, without polling."""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from types import TracebackType

_WAKING = (signal.SIGCHLD, signal.SIGTERM)


class Wakeups:
    """Inside the context SIGCHLD and SIGTERM do nothing but end a `wait`.

    A signal that comes before `wait` is called ends it at once: none is missed.
    """

    def __enter__(self) -> Wakeups:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, _ignore) for number in _WAKING}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        # Another file may get the number: a late thread must not write there.
        write, self._write = self._write, -1
        os.close(write)

    def wait(self, seconds: float) -> None:
        """Returns after a signal, at the latest after `seconds`."""
        # Days at once are more than some systems' select takes.
        ready, _, _ = select.select([self._read], [], [], min(max(seconds, 0.0), 3600.0))
        if ready:
            os.read(self._read, 4096)

    def wake(self) -> None:
        """Ends a `wait`, as a signal does. For any thread."""
        # Full of other wakeups: it is awake already. Closed: nobody waits any more.
        with suppress(OSError):
            os.write(self._write, b"\0")


def _ignore(number: int, frame: object) -> None:
    """A handler must be there for the wakeup to be written."""
