"""Whether sifting pays in this very job, from what the meter has measured.

A sample that is seen and scored costs its scoring; a share of 1 - keep of them is dropped, and
saves its training. What is dropped after it was loaded saves no loading; by memory, it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from itertools import islice
from statistics import median

from smart_sifting.meter import Meter

# A reading is a median over so many windows and steps; there are none before those.
WINDOWS = 16
STEPS = 20
WINDOWS_REMEMBERED = 64
STEPS_REMEMBERED = 200
# Between readings, so that a busy moment of the machine is one reading and not all of them.
SECONDS_BETWEEN_READINGS = 5.0
# Bad readings in a row that make a verdict.
READINGS = 3
# Costs of so many times the saving are a bad reading; only those below the saving are a good one.
CLEARLY_MORE = 1.05


class Guard:
    """Reads the meter now and then, and says once, for good, why sifting does not pay.

    Args:
        keep: the share that is kept.
        clock: seconds.
        loads_dropped: whether what is dropped was loaded before, as for forward scoring.
    """

    def __init__(
        self,
        keep: float,
        clock: Callable[[], float] = time.perf_counter,
        *,
        loads_dropped: bool = True,
    ) -> None:
        self._keep = keep
        self._clock = clock
        self._loads_dropped = loads_dropped
        self._next = clock()
        self._windows = 0
        self._loaded = 0
        self._data_seconds = 0.0
        self._bad = self._bound = 0
        self._verdict: str | None = None
        self._input_bound: str | None = None

    def verdict(self, meter: Meter) -> str | None:
        """None as long as sifting pays, or it is not known; else why it does not, on one line."""
        if self._verdict is None and self._due(meter):
            self._read(meter)
        return self._verdict

    @property
    def input_bound(self) -> str | None:
        """That a sample is waited for longer than it is trained on, on one line; None if not.

        Then sifting can save a small part at most, and no verdict need follow from that.
        """
        return self._input_bound

    def _due(self, meter: Meter) -> bool:
        return (
            meter.windows - self._windows >= WINDOWS
            and meter.measured_steps >= STEPS
            and self._clock() >= self._next
        )

    def _read(self, meter: Meter) -> None:
        loaded = meter.loaded - self._loaded
        loading = (meter.data_seconds - self._data_seconds) / max(1, loaded)
        training = median(_last(meter.full_steps, STEPS_REMEMBERED)) / max(1, meter.largest_batch)
        cost = median(_last(meter.window_costs, WINDOWS_REMEMBERED))
        self._windows, self._loaded = meter.windows, meter.loaded
        self._data_seconds = meter.data_seconds
        self._next = self._clock() + SECONDS_BETWEEN_READINGS
        spared = training if self._loads_dropped else training + loading
        self._judge_cost(cost, (1 - self._keep) * spared)
        if self._loads_dropped:
            self._judge_loading(loading, training)

    def _judge_cost(self, cost: float, saved: float) -> None:
        if cost > CLEARLY_MORE * saved:
            self._bad += 1
        elif cost < saved:
            self._bad = 0
        if self._bad >= READINGS:
            self._verdict = (
                f"scoring takes {_milliseconds(cost)} a sample, more than the "
                f"{_milliseconds(saved)} that dropping {100 * (1 - self._keep):.0f} % of them saves"
            )

    def _judge_loading(self, loading: float, training: float) -> None:
        self._bound = self._bound + 1 if loading > training else 0
        if self._bound >= READINGS and self._input_bound is None:
            self._input_bound = (
                f"a sample is waited for {_milliseconds(loading)} and trained on in "
                f"{_milliseconds(training)}, and what is dropped has been loaded by then: a faster "
                "loader saves more than sifting can"
            )


def _last(values: Collection[float], count: int) -> list[float]:
    return list(islice(values, max(0, len(values) - count), None))


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
