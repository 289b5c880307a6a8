"""Lengths of loaders that scripts were told, and schedules that were built from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from smart_sifting.discovery.schedules import Positions, keep_pace, positions, stretch
from smart_sifting.discovery.watch import Watch

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from smart_sifting.job_report import JobReport


# Asked only where one was told: a stream has none.
Length = Callable[["DataLoader[Any]"], int]


class Lengths:
    """Makes good, where it can, on lengths that have turned out to be others, and says so.

    Args:
        report: where it says it.
    """

    def __init__(self, report: JobReport) -> None:
        self._report = report

    def fit(self, loader: DataLoader[Any], watch: Watch, length: Length) -> None:
        """A length that was told before the loader's role was known: schedules built from it run
        at the pace of the true one, which `length` gives."""
        told = watch.told
        if told is None or told == (true := length(loader)):
            return
        before = watch.schedules if watch.schedules is not None else positions()
        fitted = stretch(told, true, before, passes=self._report.epochs_here)
        self._admit(
            watch,
            true,
            f"{fitted} learning-rate schedulers were fitted; what else the script computed from "
            "it was not",
        )

    def untrained(self, loader: DataLoader[Any], watch: Watch, length: Length) -> None:
        """A loader whose length was told as if it were trained on is not."""
        if watch.told is not None:
            self._admit(watch, length(loader), "it is not trained on")

    def pace(self, watch: Watch, plain: int, batches: int) -> None:
        """Schedules were built for epochs of `plain` batches: fewer must take them as far."""
        before = Positions() if watch.schedules is None else watch.schedules
        keep_pace(plain / batches, before, self._report.meter.epochs)

    def _admit(self, watch: Watch, true: int, consequence: str) -> None:
        told, watch.told = watch.told, None
        if told != true:
            self._report.note(
                f"len() of {watch.name} was {told} before its role was known and is {true}: "
                f"{consequence}"
            )
