"""Lightning as users of Amazon's smart_sifting 1.0 wrote it: their loader, loss and recorder."""

import json
import logging
import warnings
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting.data_model.data_model_interface import SiftingBatch
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader
from smart_sifting.loss.abstract_sift_loss_module import Loss
from smart_sifting.metrics.lightning import TrainingMetricsRecorder
from smart_sifting.sift_config.sift_configs import (
    LossConfig,
    RelativeProbabilisticSiftConfig,
    SiftingBaseConfig,
)


class PointLoss(Loss):
    def loss(
        self, model: nn.Module, transformed_batch: SiftingBatch, original_batch: Any = None
    ) -> torch.Tensor:
        inputs, labels = original_batch
        return F.cross_entropy(model(inputs), labels, reduction="none")


class Classifier(L.LightningModule):
    def __init__(self, data: TensorDataset) -> None:
        super().__init__()
        self.data = data
        self.net = nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 4))
        self.given = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.net(inputs)

    def training_step(self, batch, batch_idx):
        inputs, labels = batch
        self.given += len(labels)
        return F.cross_entropy(self(inputs), labels)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        self.planned = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LinearLR(
            optimizer, start_factor=1.0, end_factor=0.0, total_iters=self.planned
        )
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def train_dataloader(self):
        return SiftingDataloader(
            sift_config=RelativeProbabilisticSiftConfig(
                beta_value=1,
                loss_history_length=500,
                loss_based_sift_config=LossConfig(sift_config=SiftingBaseConfig(sift_delay=5)),
            ),
            orig_dataloader=DataLoader(self.data, batch_size=20, shuffle=True),
            loss_impl=PointLoss(),
            model=self,
        )


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs = torch.randn(1000, 8)
    labels = inputs[:, :4].argmax(1)
    model = Classifier(TensorDataset(inputs, labels))
    recorder = TrainingMetricsRecorder()
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        callbacks=[recorder],
        log_every_n_steps=10,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model)
    with torch.no_grad():
        accuracy = (model(inputs).argmax(1) == labels).float().mean().item()
    result = {
        "train_samples": model.given,
        "global_step": trainer.global_step,
        "planned_steps": model.planned,
        "recorded": [recorder.steps, recorder.samples_seen, recorder.samples_kept],
        "last_lr": trainer.optimizers[0].param_groups[0]["lr"],
        "metric_name": "accuracy",
        "metric": accuracy,
    }
    print("RESULT", json.dumps(result))


if __name__ == "__main__":
    main()
