"""Sifting for the Hugging Face ``Trainer``.

trainer = Trainer(model=model, args=args, train_dataset=dataset)
enable_sifting(trainer, RelativeProbabilisticSiftConfig(beta_value=1))
trainer.train()
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from smart_sifting.dataloader.sift_dataloader import SiftingDataloader
from smart_sifting.errors import LossImplementationNotProvidedException
from smart_sifting.integrations.model_loss import MEND, ModelLoss
from smart_sifting.loss.abstract_sift_loss_module import Loss
from smart_sifting.sift_config.job_config import SiftConfig
from smart_sifting.sift_config.sift_configs import RelativeProbabilisticSiftConfig


def enable_sifting(
    trainer: Any,
    sift_config: RelativeProbabilisticSiftConfig | SiftConfig | Mapping[str, Any] | str,
    loss: Loss | None = None,
    set_epochs: bool = False,
) -> None:
    """Let ``trainer`` train on sifted batches. Evaluation and prediction stay as they are.

    Without a ``loss`` the model's own is taken apart (``ModelLoss``). Called again, the last
    configuration counts.

    A sifted loader has a length, so epochs, schedules and progress are right by themselves.
    ``set_epochs`` is for acceptance "probabilistic", which has none: train for
    ``num_train_epochs``, where the Trainer would ask for ``max_steps``. A ``max_steps`` that was
    set stays and counts.

    Raises ``SiftConfigValidationException``; and ``LossImplementationNotProvidedException`` if no
    loss is given and the trainer does not leave the loss to its model.
    """
    config = SiftConfig.parse(sift_config)
    loss_impl = _loss_of_the_model(trainer) if loss is None else loss
    current = trainer.get_train_dataloader
    plain = getattr(current, "plain", current)

    def get_train_dataloader() -> Any:
        # The model is asked for late: a trainer with model_init makes it when training begins.
        loader = SiftingDataloader(config, plain(), loss_impl, trainer.model)
        if set_epochs:
            _train_by_epochs(trainer, loader)
        return loader

    _sift_the_rest_of_an_epoch()
    get_train_dataloader.plain = plain  # type: ignore[attr-defined]
    trainer.get_train_dataloader = get_train_dataloader


def _sift_the_rest_of_an_epoch() -> None:
    """A Trainer that resumes in the middle of an epoch makes a loader of its own for the rest."""
    module: Any = import_module("transformers.trainer")
    current = module.skip_first_batches
    if hasattr(current, "plain"):
        return

    def skip_first_batches(dataloader: Any, num_batches: int = 0) -> Any:
        if isinstance(dataloader, SiftingDataloader):
            return dataloader.over(current(dataloader.orig_dataloader, num_batches))
        return current(dataloader, num_batches)

    skip_first_batches.plain = current  # type: ignore[attr-defined]
    module.skip_first_batches = skip_first_batches


def _loss_of_the_model(trainer: Any) -> Loss:
    own = getattr(type(trainer), "compute_loss", None)
    if getattr(trainer, "compute_loss_func", None) is not None:
        raise LossImplementationNotProvidedException(f"the trainer has a compute_loss_func; {MEND}")
    if own is not import_module("transformers").Trainer.compute_loss:
        raise LossImplementationNotProvidedException(
            f"{type(trainer).__name__} computes its loss itself; {MEND}"
        )
    return ModelLoss()


def _train_by_epochs(trainer: Any, loader: SiftingDataloader) -> None:
    if trainer.args.max_steps > 0 or _length(loader) is not None:
        return
    batches = _length(loader.orig_dataloader)
    if batches is None:
        raise ValueError(
            "set_epochs=True needs a training loader with a length; "
            "write max_steps=... in the TrainingArguments"
        )
    # Sifting never gives more batches than the loader has. The Trainer goes on asking up to
    # max_steps in every epoch, and a schedule over the largest integer would never decay.
    epochs = math.ceil(trainer.args.num_train_epochs)
    updates = math.ceil(batches / trainer.args.gradient_accumulation_steps)
    trainer.args.max_steps = epochs * updates
    trainer.add_callback(_stop_after(epochs))


def _length(loader: Any) -> int | None:
    try:
        return len(loader)
    except TypeError:
        return None


def _stop_after(epochs: int) -> Any:
    transformers = import_module("transformers")

    class StopAfterEpochs(transformers.TrainerCallback):  # type: ignore[misc,name-defined]
        """Ends the training once ``epochs`` epochs are over."""

        done = 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.done = 0

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.done += 1
            if self.done >= epochs:
                control.should_training_stop = True

    return StopAfterEpochs()
