"""What sifting did, for Lightning: ``Trainer(callbacks=[TrainingMetricsRecorder()])``."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from smart_sifting.dataloader.sift_dataloader import SiftingDataloader

logger = logging.getLogger("smart_sifting")


def _callback_class() -> Any:
    """Lightning's ``Callback``, of the distribution that the script uses."""
    names = ["lightning.pytorch", "pytorch_lightning"]
    # Both may be installed; the one that is in use is the one that was imported.
    names.sort(key=lambda name: name not in sys.modules)
    for name in names:
        if find_spec(name.partition(".")[0]) is not None:
            return import_module(name).Callback
    raise ImportError(
        "smart_sifting.metrics.lightning needs Lightning, which is not installed; "
        "write: pip install lightning"
    )


class TrainingMetricsRecorder(_callback_class()):  # type: ignore[misc]
    """Counts training steps and their seconds and, if the loader is a ``SiftingDataloader``, the
    samples it saw and kept. Logs them every ``trainer.log_every_n_steps`` steps and at the end of
    an epoch, under the keys that metric regexes of SageMaker jobs look for.

    A step lasts from the start of its batch to its end; ``step_seconds`` is their sum.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()
        self.steps = 0
        self.step_seconds = 0.0
        self.samples_seen = 0
        self.samples_kept = 0
        self._clock = clock
        self._started = 0.0
        self._logged_steps = 0
        self._logged_latency = 0.0

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        """The step begins."""
        self._started = self._clock()

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """The step is over."""
        self.step_seconds += self._clock() - self._started
        self.steps += 1
        if trainer.log_every_n_steps and self.steps % trainer.log_every_n_steps == 0:
            self._log(trainer)

    def on_train_epoch_end(self, trainer: Any, *_: Any) -> None:
        """The epoch is over."""
        if self.steps > self._logged_steps:
            self._log(trainer)

    def _log(self, trainer: Any) -> None:
        meters = [loader.sifter.meter for loader in _sifting(trainer.train_dataloader)]
        since, self._logged_steps = self.steps - self._logged_steps, self.steps
        if not meters:
            logger.info("sift: step_seconds: %.6f", self.step_seconds / self.steps)
            return
        self.samples_seen = sum(meter.seen for meter in meters)
        self.samples_kept = sum(meter.kept for meter in meters)
        latency = sum(meter.scoring_seconds for meter in meters)
        logger.info(
            "sift: num_orig_samples_seen: %d, num_orig_samples_kept: %d, "
            "sifted_batch_creation_latency: %.6f, step_seconds: %.6f",
            self.samples_seen,
            self.samples_kept,
            (latency - self._logged_latency) / since,
            self.step_seconds / self.steps,
        )
        self._logged_latency = latency


def _sifting(loaders: Any) -> Iterator[SiftingDataloader]:
    """The sifting loaders in what a script gave Lightning: a loader, or a list or dict of them."""
    if isinstance(loaders, SiftingDataloader):
        yield loaders
    elif isinstance(loaders, Mapping):
        for each in loaders.values():
            yield from _sifting(each)
    elif isinstance(loaders, (list, tuple)):
        for each in loaders:
            yield from _sifting(each)
    elif hasattr(loaders, "iterables"):
        yield from _sifting(loaders.iterables)
