"""Lightning: a module whose OneCycleLR is built from what the trainer estimates.

Alone, or started once for each rank (torchrun): then the trainer makes it data-parallel.
"""

import json
import os
import warnings

import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

FEATURES, CLASSES = 16, 6


def points(size, seed):
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(CLASSES, FEATURES, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, CLASSES, (size,), generator=generator)
    noise = torch.randn(size, FEATURES, generator=generator)
    return TensorDataset(centers[labels] + noise, labels, torch.arange(size))


class Data(L.LightningDataModule):
    def train_dataloader(self):
        return DataLoader(points(1200, 1), batch_size=20, shuffle=True)

    def val_dataloader(self):
        return DataLoader(points(240, 2), batch_size=40)


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(FEATURES, 32), nn.ReLU(), nn.Linear(32, CLASSES))
        self.samples, self.batches, self.evaluated, self.seen = [], [], [], set()
        self.hits = []

    def forward(self, x):
        return self.net(x)

    def on_train_epoch_start(self):
        self.samples.append(0)
        self.batches.append(0)

    def training_step(self, batch, batch_idx):
        x, y, index = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss, prog_bar=True)
        self.samples[-1] += len(y)
        self.batches[-1] += 1
        if self.current_epoch == 0:
            self.seen.update(index.tolist())
        return loss

    def on_validation_epoch_start(self):
        self.evaluated.append(0)
        self.hits = []

    def validation_step(self, batch, batch_idx):
        x, y, _ = batch
        self.hits.append(self(x).argmax(1) == y)
        self.evaluated[-1] += len(y)

    def on_validation_epoch_end(self):
        self.log("accuracy", torch.cat(self.hits).float().mean(), sync_dist=True)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.02, momentum=0.9)
        self.planned = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=0.1, total_steps=self.planned, final_div_factor=1e4
        )
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


def main():
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    torch.set_num_threads(1)
    L.seed_everything(0, verbose=False)
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    trainer = L.Trainer(
        max_epochs=3,
        accelerator="cpu",
        devices=ranks,
        strategy="ddp" if ranks > 1 else "auto",
        num_sanity_val_steps=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    model = Classifier()
    trainer.fit(model, datamodule=Data())

    own = {
        "samples": model.samples,
        "batches": model.batches,
        "seen": sorted(model.seen),
        "weights": sum(p.detach().double().sum().item() for p in model.parameters()),
    }
    of_ranks = [own]
    if ranks > 1:
        of_ranks = [None] * ranks
        torch.distributed.all_gather_object(of_ranks, own)
    seen = [set(each["seen"]) for each in of_ranks]
    result = {
        "train_samples_of_ranks": [each["samples"] for each in of_ranks],
        "train_batches_of_ranks": [each["batches"] for each in of_ranks],
        "same_weights": len({each["weights"] for each in of_ranks}) == 1,
        "seen_by_two_ranks": len(seen[0] & seen[-1]) if ranks > 1 else 0,
        "train_samples": model.samples,
        "train_batches": model.batches,
        "eval_samples": model.evaluated,
        "global_step": trainer.global_step,
        "planned_steps": model.planned,
        "progress_bar_batches": trainer.num_training_batches,
        "last_lr": trainer.optimizers[0].param_groups[0]["lr"],
        "metric_name": "accuracy",
        "metric": trainer.callback_metrics["accuracy"].item(),
    }
    if trainer.is_global_zero:
        print("RESULT", json.dumps(result))


if __name__ == "__main__":
    main()
