"""Asking several things at once, and not waiting for those that answer late."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Question(Generic[T_co]):
    """What `ask` returns, asked in a thread of its own. A command's end does not wait for it."""

    def __init__(self, ask: Callable[[], T_co]) -> None:
        self._ask = ask
        self._answers: list[T_co] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def answer(self, patience_seconds: float | None = None) -> T_co:
        """The answer. Raises what `ask` raised, and TimeoutError when it takes too long."""
        self._thread.join(patience_seconds)
        if self._thread.is_alive():
            raise TimeoutError(f"no answer within {patience_seconds:g} s")
        if self._error is not None:
            raise self._error
        return self._answers[0]

    def _run(self) -> None:
        try:
            self._answers.append(self._ask())
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is waited for
            self._error = error
