"""The loader that AWS's `smart_sifting` users know: a plain DataLoader, a model and a loss in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from typing import Any
from weakref import ref

from torch import nn
from torch.utils.data import DataLoader, IterableDataset

from smart_sifting import job_report
from smart_sifting.data_model.data_model_interface import SiftingBatchTransform
from smart_sifting.epoch_plan import DataName, Shape
from smart_sifting.errors import LossImplementationNotProvidedException
from smart_sifting.loss.abstract_sift_loss_module import Loss
from smart_sifting.memory.samplers import declared_size
from smart_sifting.ranks import world_size
from smart_sifting.scoring import ForwardScorer
from smart_sifting.sift_config.job_config import SiftConfig
from smart_sifting.sift_config.sift_configs import RelativeProbabilisticSiftConfig
from smart_sifting.sifted_epoch import SiftedEpoch
from smart_sifting.sifter import Sifter

logger = logging.getLogger("smart_sifting")


class SiftingDataloader:
    """Iterates over `orig_dataloader` and gives full batches of the samples that still teach.

    The interface is that of AWS's withdrawn library (Amazon SageMaker developer guide, "SageMaker
    smart sifting Python SDK reference"). Beyond it: `len()` is the exact number of batches of the
    coming epoch, the state can be saved, and attributes that are not its own are the loader's.

    Args:
        sift_config: a `RelativeProbabilisticSiftConfig`, a `SiftConfig`, a dict or JSON text.
        orig_dataloader: any `DataLoader`, over map-style or iterable data.
        loss_impl: gives each sample of a batch its loss.
        model: scored in eval mode, without a trace; a data-parallel wrapper is looked into.
        batch_transforms: one `SiftingBatchTransform`, or a sequence of them, applied in order.
            Needed only for batches that are not nested lists, tuples, dicts, arrays or tensors.
        batch_format_index: what the items of a batch are: 0, samples; 1, features, with the
            samples on their next dimension. None finds out.
        log_batch_data: log counters and latency for every batch given.

    Raises:
        LossImplementationNotProvidedException: no `Loss` was given.
        SiftConfigValidationException: the configuration is not valid.
    """

    def __init__(
        self,
        sift_config: RelativeProbabilisticSiftConfig | SiftConfig | Mapping[str, Any] | str,
        orig_dataloader: DataLoader[Any],
        loss_impl: Loss,
        model: nn.Module,
        batch_transforms: SiftingBatchTransform | Sequence[SiftingBatchTransform] | None = None,
        batch_format_index: int | None = None,
        log_batch_data: bool = False,
    ) -> None:
        if not callable(getattr(loss_impl, "loss", None)):
            raise LossImplementationNotProvidedException(
                f"loss_impl is {loss_impl!r}: hand in an object of a class derived from "
                "smart_sifting.loss.abstract_sift_loss_module.Loss"
            )
        config = SiftConfig.parse(sift_config)
        self.orig_dataloader = orig_dataloader
        self.sifter = Sifter(
            config,
            ForwardScorer(loss_impl, model),
            transform=_chained(batch_transforms),
            dim=batch_format_index,
            meter=job_report.adopt(orig_dataloader, config.keep, config.acceptance),
        )
        self._log_batch_data = log_batch_data
        self._settled = False
        keeper = job_report.keeper()
        if keeper is not None:
            keeper.register(self.sifter, data_of(orig_dataloader))
        self._running: Callable[[], SiftedEpoch | None] = _none

    def __len__(self) -> int:
        """Batches of the epoch that runs, or of the coming one, exactly.

        Raises:
            TypeError: the loader itself has no length or no batch size, or the acceptance rule is
                "probabilistic", under which nobody knows it.
        """
        plain = len(self.orig_dataloader)
        if world_size() == 1:
            self._resume()
        if self.sifter.config.keep == 1:
            return plain
        plan = self.sifter.plan(self._shape())
        if plan is not None:
            return plan.batches
        if self.sifter.config.acceptance == "probabilistic":
            raise TypeError(
                'with acceptance="probabilistic" the length of an epoch is not known before its '
                'end: use acceptance="quota", or count the batches as they come'
            )
        raise TypeError(
            "the length of an epoch is not known before its end, for the loader does not tell how "
            "many samples it gives: let it make the batches (batch_size=...), or give its "
            "batch_sampler a batch_size attribute"
        )

    def __iter__(self) -> Iterator[Any]:
        running = self._running()
        if running is not None:
            running.close()
        self._resume()
        self.sifter.meter.epochs += 1
        shape = self._shape()
        epoch = SiftedEpoch(self.sifter, iter(self.orig_dataloader), self.sifter.plan(shape), shape)
        # Weakly, so that an epoch which the script drops is over at once.
        self._running = ref(epoch)
        job_report.follow(epoch)
        return self._logged(epoch) if self._log_batch_data else epoch

    def __getattr__(self, name: str) -> Any:
        # Only called for what is not found on this object: dataset, batch_size, sampler, ...
        # How to copy or pickle the loader says nothing about this object.
        if name == "orig_dataloader" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.orig_dataloader, name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_running": _none}

    def set_epoch(self, epoch: int) -> None:
        """Tell the part of the loader that asks for it, mostly its sampler, which epoch begins."""
        loader = self.orig_dataloader
        batches = getattr(loader, "batch_sampler", None)
        sampler = getattr(batches, "sampler", loader.sampler)
        for part in (loader, sampler, batches, loader.dataset):
            if callable(getattr(part, "set_epoch", None)):
                part.set_epoch(epoch)  # type: ignore[union-attr]
                return

    def over(self, orig_dataloader: DataLoader[Any]) -> SiftingDataloader:
        """The same sifting over another loader of the same data, such as the rest of an epoch."""
        other = copy(self)
        other.orig_dataloader = orig_dataloader
        job_report.manage(orig_dataloader)
        return other

    def state_dict(self) -> dict[str, Any]:
        """History, generator, delay and carried samples; the loader's own state if it has one."""
        state = {"sifter": self.sifter.state_dict()}
        if callable(getattr(self.orig_dataloader, "state_dict", None)):
            state["orig_dataloader"] = self.orig_dataloader.state_dict()  # type: ignore[attr-defined]
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave: the same draws follow."""
        keeper = job_report.keeper()
        if keeper is not None and keeper.resumes:
            self.sifter.resume(state["sifter"])  # its samples are in the job's counts already
        else:
            self.sifter.load_state_dict(state["sifter"])
        self._settled = True
        if "orig_dataloader" in state:
            self.orig_dataloader.load_state_dict(state["orig_dataloader"])  # type: ignore[attr-defined]

    def _resume(self) -> None:
        """Go on, once, from the state with the checkpoint that the script has loaded."""
        keeper = job_report.keeper()
        if self._settled or keeper is None:
            return
        self._settled = True
        # Only a delay makes epochs of ranks differ in length.
        agree = world_size() > 1 and self.sifter.config.sift_delay > 0 and keeper.can_resume
        keeper.take_up(self.sifter, agree=agree)

    def _shape(self) -> Shape:
        return shape_of(self.orig_dataloader)

    def _logged(self, epoch: SiftedEpoch) -> Iterator[Any]:
        meter = self.sifter.meter
        spent = meter.scoring_seconds
        for batch in epoch:
            logger.info(
                "sift: num_orig_samples_seen: %d, num_orig_samples_kept: %d, "
                "sifted_batch_creation_latency: %.6f",
                meter.seen,
                meter.kept,
                meter.scoring_seconds - spent,
            )
            spent = meter.scoring_seconds
            yield batch


def shape_of(loader: DataLoader[Any], length: Callable[[Any], int] = len) -> Shape:
    """What a plain loader says of its epochs: samples, batch size, drop_last.

    `length` is how long the loader itself is, for callers under whom `len` says something else.
    """
    batch_size, drop_last = loader.batch_size, loader.drop_last
    batch_sampler = getattr(loader, "batch_sampler", None)
    # Accelerate's way of going on in the middle of an epoch.
    skipped = getattr(batch_sampler, "skip_batches", 0)
    if skipped:
        batch_sampler = getattr(batch_sampler, "batch_sampler", None)
    if batch_size is None and batch_sampler is not None:
        batch_size = declared_size(batch_sampler)
        drop_last = bool(getattr(batch_sampler, "drop_last", False))
    if batch_size is None:
        return Shape(None, None, drop_last)
    try:
        whole = length(loader) * batch_size
        if drop_last:
            return Shape(whole, batch_size, drop_last, skipped)
        samples = len(_samples_of(loader, batch_sampler)) - skipped * batch_size
    except TypeError:
        return Shape(None, batch_size, drop_last)
    # A sampler that does not know its length well enough is overruled by the batches it makes.
    known = samples if whole - batch_size < samples <= whole else whole
    return Shape(known, batch_size, drop_last, skipped)


def data_of(loader: DataLoader[Any]) -> DataName:
    """What tells that two loaders are over the same data, also from one process to the next."""
    dataset: Any = loader.dataset
    return [type(dataset).__qualname__, len(dataset) if hasattr(dataset, "__len__") else None]


def _samples_of(loader: DataLoader[Any], batch_sampler: Any) -> Any:
    """What is as long as the loader's epochs have samples, if it has a length at all."""
    if isinstance(loader.dataset, IterableDataset):
        return loader.dataset
    return getattr(batch_sampler, "sampler", loader.sampler)


def _none() -> None:
    """A reference to nothing."""


class _Chain(SiftingBatchTransform):
    """Several transforms as one: forwards in order, backwards in reverse."""

    def __init__(self, transforms: Sequence[SiftingBatchTransform]) -> None:
        self._transforms = transforms

    def transform(self, batch: Any) -> Any:
        for each in self._transforms:
            batch = each.transform(batch)
        return batch

    def reverse_transform(self, batch: Any) -> Any:
        for each in reversed(self._transforms):
            batch = each.reverse_transform(batch)
        return batch


def _chained(
    transforms: SiftingBatchTransform | Sequence[SiftingBatchTransform] | None,
) -> SiftingBatchTransform | None:
    if transforms is None or isinstance(transforms, SiftingBatchTransform):
        return transforms
    return _Chain(list(transforms)) if transforms else None
