"""Sifting inside the real Hugging Face Trainer, on models made from a configuration."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from smart_sifting import job_report
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader
from smart_sifting.errors import (
    LossImplementationNotProvidedException,
    SiftConfigValidationException,
)
from smart_sifting.integrations.model_loss import ModelLoss
from smart_sifting.integrations.trainer import enable_sifting
from smart_sifting.job_report import JobReport
from smart_sifting.loss import Loss
from smart_sifting.sift_config import SiftConfig

transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

TINY = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 16,
}


def classifier(**config: Any) -> Any:
    torch.manual_seed(0)
    return transformers.BertForSequenceClassification(
        transformers.BertConfig(**TINY, num_labels=3, **config)
    )


def dataset(samples: int = 100) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {"input_ids": torch.randint(0, 20, (8,), generator=generator), "labels": each % 3}
        for each in range(samples)
    ]


def trainer_in(folder: Path, data: Any = None, kind: Any = None, **arguments: Any) -> Any:
    options = {
        "num_train_epochs": 2,
        "per_device_train_batch_size": 10,
        "learning_rate": 1e-3,
        "report_to": [],
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
        "logging_steps": 1,
        "dataloader_pin_memory": False,
        **arguments,
    }
    return (kind or transformers.Trainer)(
        model=classifier(),
        args=transformers.TrainingArguments(output_dir=str(folder), **options),
        train_dataset=dataset() if data is None else data,
        eval_dataset=dataset(7),
    )


class ClassLoss(Loss):
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
        logits = model(input_ids=original_batch["input_ids"]).logits
        return cross_entropy(logits, original_batch["labels"], reduction="none")


@pytest.mark.parametrize("loss", [None, ClassLoss()])
def test_half_the_steps_are_trained_and_the_schedule_ends_with_them(
    tmp_path: Path, loss: Loss | None
) -> None:
    trainer = trainer_in(tmp_path)
    enable_sifting(trainer, SiftConfig(keep=0.5), loss=loss)
    trainer.train()
    assert trainer.state.max_steps == trainer.state.global_step == 10
    assert trainer.state.epoch == 2
    rates = [each["learning_rate"] for each in trainer.state.log_history if "loss" in each]
    assert rates == pytest.approx([1e-3 * left / 10 for left in range(10, 0, -1)])


def test_training_batches_are_sifted_and_evaluation_ones_are_not(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    enable_sifting(trainer, {"keep": 0.3})
    loader = trainer.get_train_dataloader()
    assert isinstance(loader, SiftingDataloader)
    assert len(loader) == 3
    sizes = [len(batch["labels"]) for batch in loader]
    assert sizes == [10, 10, 10]
    assert sum(len(batch["labels"]) for batch in trainer.get_eval_dataloader()) == 7
    assert not isinstance(trainer.get_eval_dataloader(), SiftingDataloader)


def test_everything_kept_is_the_plain_training_bit_for_bit(tmp_path: Path) -> None:
    weights = []
    for keep in (None, 1.0):
        trainer = trainer_in(tmp_path, seed=3)
        if keep is not None:
            enable_sifting(trainer, SiftConfig(keep=keep))
        trainer.train()
        weights.append(trainer.model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_trainer_that_resumes_in_mid_epoch_sifts_the_rest_of_it(tmp_path: Path) -> None:
    saving = {"save_strategy": "steps", "save_steps": 3, "save_only_model": False}
    trainer = trainer_in(tmp_path, **saving)
    enable_sifting(trainer, {"keep": 0.5})
    trainer.train()
    resumed = trainer_in(tmp_path, **saving)
    enable_sifting(resumed, {"keep": 0.5})
    batches: list[int] = []
    step = resumed.training_step
    resumed.training_step = lambda *args: batches.append(resumed.state.global_step) or step(*args)
    ends: list[int] = []
    resumed.add_callback(_AtEpochEnd(ends))
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    # Two of the first epoch's five steps are left, and all of the second's.
    assert batches == [3, 4, 5, 6, 7, 8, 9]
    assert ends == [5, 10]


class _AtEpochEnd(transformers.TrainerCallback):
    def __init__(self, ends: list[int]) -> None:
        self.ends = ends

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.ends.append(state.global_step)


def test_a_job_that_sifts_anyway_leaves_the_trainers_own_sifting_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accelerate's loader iterates another one inside, which nobody must sift once more."""
    report = JobReport(None, 0.5)
    monkeypatch.setattr(job_report, "_report", report)
    trainer = trainer_in(tmp_path)
    enable_sifting(trainer, {"keep": 0.5})
    loader = trainer.get_train_dataloader()
    assert loader.orig_dataloader in report.managed
    assert loader.orig_dataloader.base_dataloader in report.managed


def test_enabling_again_replaces_what_was_enabled(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    enable_sifting(trainer, {"keep": 0.2})
    enable_sifting(trainer, {"keep": 0.5})
    loader = trainer.get_train_dataloader()
    assert len(loader) == 5
    assert not isinstance(loader.orig_dataloader, SiftingDataloader)


def test_a_wrong_configuration_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(SiftConfigValidationException, match="keep is 2"):
        enable_sifting(trainer_in(tmp_path), {"keep": 2})


def test_accumulated_gradients_count_as_one_step(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, gradient_accumulation_steps=2)
    enable_sifting(trainer, SiftConfig(keep=0.4))
    trainer.train()
    assert trainer.state.global_step == trainer.state.max_steps == 4


PROBABILISTIC = SiftConfig(keep=0.5, acceptance="probabilistic", loss_history_length=50)


def test_without_a_length_the_trainer_asks_for_steps(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    enable_sifting(trainer, PROBABILISTIC)
    with pytest.raises(ValueError, match="max_steps must be set"):
        trainer.train()


def test_set_epochs_trains_by_epochs_without_a_length(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    enable_sifting(trainer, PROBABILISTIC, set_epochs=True)
    trainer.train()
    assert trainer.args.max_steps == 20
    assert 2 <= trainer.state.global_step < 20


class Stream(torch.utils.data.IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(dataset(40))


class Streaming(transformers.Trainer):  # type: ignore[misc,name-defined]
    def get_train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(Stream(), batch_size=10, collate_fn=self.data_collator)


def test_set_epochs_needs_a_loader_that_has_a_length(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, kind=Streaming)
    enable_sifting(trainer, SiftConfig(keep=0.5), set_epochs=True)
    with pytest.raises(ValueError, match="write max_steps=") as caught:
        trainer.train()
    assert str(caught.value) == (
        "set_epochs=True needs a training loader with a length; "
        "write max_steps=... in the TrainingArguments"
    )


def test_steps_that_were_asked_for_count(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path, data=Stream(), max_steps=3)
    enable_sifting(trainer, SiftConfig(keep=0.5), set_epochs=True)
    trainer.train()
    assert trainer.state.global_step == 3


def test_set_epochs_changes_nothing_where_there_is_a_length(tmp_path: Path) -> None:
    trainer = trainer_in(tmp_path)
    enable_sifting(trainer, SiftConfig(keep=0.5), set_epochs=True)
    trainer.train()
    assert trainer.args.max_steps == -1
    assert trainer.state.global_step == 10


class Own(transformers.Trainer):  # type: ignore[misc,name-defined]
    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        return super().compute_loss(*args, **kwargs) * 2


def test_a_trainer_with_its_own_loss_asks_for_one(tmp_path: Path) -> None:
    mend = (
        "hand enable_sifting(..., loss=...) an object of a class derived from "
        "smart_sifting.loss.abstract_sift_loss_module.Loss"
    )
    with pytest.raises(LossImplementationNotProvidedException) as caught:
        enable_sifting(trainer_in(tmp_path, kind=Own), {"keep": 0.5})
    assert str(caught.value) == f"Own computes its loss itself; {mend}"
    trainer = trainer_in(tmp_path)
    trainer.compute_loss_func = lambda outputs, labels, **_: outputs.logits.mean()
    with pytest.raises(LossImplementationNotProvidedException) as caught:
        enable_sifting(trainer, {"keep": 0.5})
    assert str(caught.value) == f"the trainer has a compute_loss_func; {mend}"


def scored(model: Any, batch: dict[str, Any]) -> tuple[Any, Any]:
    """What ModelLoss says of a batch, and what the model itself says of its samples alone."""
    model.eval()
    with torch.no_grad():
        together = ModelLoss().loss(model, batch, batch)
        alone = [
            model(**{key: value[at : at + 1] for key, value in batch.items()}).loss
            for at in range(len(batch["labels"]))
        ]
    return together.tolist(), [pytest.approx(float(each), rel=1e-4) for each in alone]


IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])


@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({}, torch.tensor([0, 2, 1])),
        ({"problem_type": "regression"}, torch.rand(3, 3)),
        ({"problem_type": "multi_label_classification"}, torch.eye(3)),
    ],
)
def test_each_sample_has_the_loss_the_model_gives_it_alone(
    config: dict[str, Any], labels: torch.Tensor
) -> None:
    found, expected = scored(classifier(**config), {"input_ids": IDS, "labels": labels})
    assert found == expected


def test_tokens_without_a_label_do_not_count() -> None:
    torch.manual_seed(0)
    model = transformers.BertForTokenClassification(transformers.BertConfig(**TINY, num_labels=5))
    labels = torch.tensor([[0, 1, -100, -100], [2, 3, 4, 0], [-100, 1, 2, -100]])
    found, expected = scored(model, {"input_ids": IDS, "labels": labels})
    assert found == expected


def test_a_causal_model_is_scored_on_the_next_tokens() -> None:
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=20, n_positions=8, n_embd=16, n_layer=1, n_head=2)
    )
    labels = torch.tensor([[1, 2, 3, 4], [5, 6, 7, -100], [-100, 10, 11, 12]])
    found, expected = scored(model, {"input_ids": IDS, "labels": labels})
    assert found == expected


def test_a_sample_without_any_label_scores_zero() -> None:
    torch.manual_seed(0)
    model = transformers.BertForTokenClassification(transformers.BertConfig(**TINY, num_labels=5))
    batch = {"input_ids": IDS[:2], "labels": torch.tensor([[0, 1, 2, 3], [-100] * 4])}
    assert ModelLoss().loss(model.eval(), batch, batch)[1] == 0


class Twice(transformers.BertForSequenceClassification):  # type: ignore[misc,name-defined]
    def forward(self, **arguments: Any) -> Any:
        outputs = super().forward(**arguments)
        outputs["loss"] = 2 * outputs["loss"]
        return outputs


def test_a_loss_that_no_rule_reproduces_is_refused() -> None:
    torch.manual_seed(0)
    model = Twice(transformers.BertConfig(**TINY, num_labels=3)).eval()
    batch = {"input_ids": IDS, "labels": torch.tensor([0, 1, 2])}
    with pytest.raises(LossImplementationNotProvidedException) as caught:
        ModelLoss().loss(model, batch, batch)
    assert str(caught.value) == (
        "the loss of Twice is none that is known for logits (3, 3) and labels (3,); "
        "hand enable_sifting(..., loss=...) an object of a class derived from "
        "smart_sifting.loss.abstract_sift_loss_module.Loss"
    )


def test_a_batch_or_an_output_without_names_is_refused() -> None:
    with pytest.raises(LossImplementationNotProvidedException, match="has no labels by name"):
        ModelLoss().loss(classifier(), (IDS, IDS))
    model = classifier(return_dict=False)
    batch = {"input_ids": IDS, "labels": torch.tensor([0, 1, 2])}
    with pytest.raises(LossImplementationNotProvidedException, match="no loss and logits by name"):
        ModelLoss().loss(model, batch)


def test_a_loss_that_is_not_finite_is_given_on() -> None:
    model = classifier().eval()
    torch.nn.init.constant_(model.classifier.bias, math.nan)
    batch = {"input_ids": IDS, "labels": torch.tensor([0, 1, 2])}
    assert ModelLoss().loss(model, batch, batch).isnan().all()
