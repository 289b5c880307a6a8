"""A Trainer as users of Amazon's smart_sifting 1.0 sifted it: enable_sifting, with a loss."""

import json
import tempfile
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

from smart_sifting.data_model.data_model_interface import SiftingBatch
from smart_sifting.integrations.trainer import enable_sifting
from smart_sifting.loss.abstract_sift_loss_module import Loss
from smart_sifting.sift_config.sift_configs import (
    LossConfig,
    RelativeProbabilisticSiftConfig,
    SiftingBaseConfig,
)


class Sentences(Dataset):
    def __init__(self, size, seed):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, 3, (size,), generator=generator)
        self.tokens = torch.randint(3, 24, (size, 10), generator=generator)
        self.tokens[:, 1:4] = self.labels[:, None]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"input_ids": self.tokens[index], "labels": self.labels[index]}


class SiftingLoss(Loss):
    def loss(
        self, model: nn.Module, transformed_batch: SiftingBatch, original_batch: Any = None
    ) -> torch.Tensor:
        labels = original_batch["labels"]
        logits = model(input_ids=original_batch["input_ids"]).logits
        return nn.functional.cross_entropy(logits, labels, reduction="none")


class CountingTrainer(Trainer):
    given = 0

    def training_step(self, model, inputs, *args, **kwargs):
        self.given += len(inputs["labels"])
        return super().training_step(model, inputs, *args, **kwargs)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    trainer = CountingTrainer(
        model=BertForSequenceClassification(
            BertConfig(
                vocab_size=24,
                hidden_size=24,
                num_hidden_layers=1,
                num_attention_heads=2,
                intermediate_size=48,
                max_position_embeddings=10,
                num_labels=3,
            )
        ),
        args=TrainingArguments(
            output_dir=tempfile.mkdtemp(),
            num_train_epochs=2,
            per_device_train_batch_size=20,
            learning_rate=5e-3,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
        ),
        train_dataset=Sentences(1000, seed=1),
        eval_dataset=Sentences(200, seed=2),
        compute_metrics=lambda out: {
            "accuracy": float((out.predictions.argmax(-1) == out.label_ids).mean())
        },
    )
    sift_config = RelativeProbabilisticSiftConfig(
        beta_value=3,
        loss_history_length=500,
        loss_based_sift_config=LossConfig(sift_config=SiftingBaseConfig(sift_delay=10)),
    )
    enable_sifting(trainer, sift_config, loss=SiftingLoss())
    trainer.train()
    accuracy = trainer.evaluate()["eval_accuracy"]
    result = {
        "train_samples": trainer.given,
        "global_step": trainer.state.global_step,
        "max_steps": trainer.state.max_steps,
        "epochs": trainer.state.epoch,
        "last_lr": trainer.lr_scheduler.get_last_lr()[0],
        "metric_name": "accuracy",
        "metric": accuracy,
    }
    print("RESULT", json.dumps(result))


if __name__ == "__main__":
    main()
