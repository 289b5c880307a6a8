"""The memories of the data sets that a job trains on: made, found again, and read no more."""

from __future__ import annotations

import sys
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from torch import Tensor

from smart_sifting.dataloader.sift_dataloader import data_of
from smart_sifting.discovery.backwards import Backwards
from smart_sifting.discovery.in_hand import InHand
from smart_sifting.discovery.watch import MIXED, Watch, describe
from smart_sifting.memory.known_data import KnownData
from smart_sifting.memory.sifter import MemorySifter
from smart_sifting.memory.step_losses import StepLosses
from smart_sifting.memory.trained_batches import TrainedBatches
from smart_sifting.ranks import world_size
from smart_sifting.sift_config.job_config import SiftConfig

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from smart_sifting.job_report import JobReport

_LIGHTNING = ("lightning.pytorch.loops", "pytorch_lightning.loops")
CHANGED = "the script's steps have changed, and their losses cannot be read any longer"


class Memories:
    """Feeds the losses of each training step to the memory of the loader whose batch it is on.

    Args:
        config: what the job was asked to keep.
        report: where it says what it cannot do.
    """

    def __init__(self, config: SiftConfig, report: JobReport) -> None:
        self._config = config
        self._report = report
        self._known = KnownData()
        self._in_hand = InHand()
        self._latest: Watch | None = None
        self._backwards = Backwards(self._on_backward)

    def given(self, watch: Watch) -> None:
        """A batch of this loader goes to the script."""
        self._latest = watch
        self._in_hand.given(watch)

    def make(self, loader: DataLoader[Any], watch: Watch, *, readable: bool) -> MemorySifter:
        """A memory of this loader's data, which loaders made anew over the same data go on with.

        Args:
            readable: the losses of the loader's steps can be read; else all is visited evenly.
        """
        reads = readable and self._config.keep < 1
        config = self._chosen_share() if reads else self.fixed()
        losses = watch.losses if reads else None
        trained = watch.look_ahead.trained_batches() or TrainedBatches()
        sifter = self._sifter(loader, config, losses, trained)
        self._known.remember(loader.dataset, str(data_of(loader)), sifter)
        if reads:
            self._backwards.listen()
        return sifter

    def find(self, loader: DataLoader[Any], watch: Watch, *, resume: bool) -> MemorySifter | None:
        """What is remembered of this loader's data: from a loader before this one, or, if it may
        `resume`, from the job that was interrupted."""
        name = str(data_of(loader))
        sifter = self._known.find(loader.dataset, name)
        if sifter is None and resume:
            sifter = self._resumed(loader, watch)
        if sifter is not None:
            self._known.remember(loader.dataset, name, sifter)
        return sifter

    def forget(self, watch: Watch) -> None:
        """A loader has no memory any longer."""
        if isinstance(watch.sifter, MemorySifter):
            watch.sifter.forget_losses()
            self._known.forget(watch.sifter)
        watch.sifter = None

    def mix(self, *watches: Watch) -> None:
        """A step on one loader's batch began when another's had been given since: nobody will know
        whose samples the losses of such a script are."""
        for watch in watches:
            watch.mixed = True
            if isinstance(watch.sifter, MemorySifter):
                self._read_no_more(watch.sifter, MIXED)

    def _chosen_share(self) -> SiftConfig:
        """As it was asked for. Lightning works out once, from the first epoch's length, when it
        validates: in shorter epochs it never would."""
        if not self._config.auto or not _within(_LIGHTNING):
            return self._config
        self._report.note("keep auto: 100%, for Lightning counts on epochs of one length")
        return replace(self._config, keep=1.0)

    def fixed(self) -> SiftConfig:
        """What was asked for, where no memory tells what can be spared."""
        if not self._config.auto:
            return self._config
        fixed = replace(self._config, keep=max(SiftConfig.keep, self._config.keep))
        self._report.keep = fixed.keep
        self._report.note(f"keep auto: {fixed.keep:.0%}, for the losses of samples are not known")
        return replace(fixed, auto=False)

    def close(self) -> None:
        """Listen no more."""
        self._backwards.close()
        for each in self._known:
            each.forget_losses()

    def _resumed(self, loader: DataLoader[Any], watch: Watch) -> MemorySifter | None:
        keeper = self._report.keeper
        if keeper is None or not keeper.can_resume:
            return None
        sifter = self._sifter(loader, self._config, None, TrainedBatches())
        keeper.register(sifter, data_of(loader))
        watch.resumed = keeper.take_up(sifter, agree=world_size() > 1)
        if not watch.resumed:
            return None
        if sifter.losses is not None:
            sifter.losses.start()
            self._backwards.listen()
        return sifter

    def _sifter(
        self,
        loader: DataLoader[Any],
        config: SiftConfig,
        losses: StepLosses | None,
        trained: TrainedBatches,
    ) -> MemorySifter:
        samples = len(loader.dataset)  # type: ignore[arg-type]
        return MemorySifter(config, samples, losses, trained, meter=self._report.meter)

    def _on_backward(self, root: Tensor) -> None:
        """A backward begins, on a batch of a loader that is sifted, or on anything else."""
        plain = self._in_hand.backward()
        sifter = None if self._latest is None else self._latest.sifter
        if not isinstance(sifter, MemorySifter):
            return
        try:
            sifter.on_backward(root if plain else None)
        except Exception as failure:  # noqa: BLE001 - the script's backward goes on in any case
            self._read_no_more(sifter, describe(failure))
        if sifter.blind:
            self._read_no_more(sifter, CHANGED)

    def _read_no_more(self, sifter: MemorySifter, why: str) -> None:
        if sifter.losses is not None:
            sifter.forget_losses()
            reason = f"every sample equally often from now on: {why}"
            self._report.note(reason)
            self._report.settle("batch", reason)


def _within(modules: tuple[str, ...]) -> bool:
    """Whether code of one of these modules, or of one below them, is running now."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith(modules):
            return True
        frame = frame.f_back
    return False
