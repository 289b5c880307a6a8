"""A class holds the model and says what a training step is; a small trainer runs it."""

import json

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)


class LitModule(nn.Module):
    def configure_optimizers(self):
        raise NotImplementedError

    def training_step(self, batch, batch_idx):
        raise NotImplementedError

    def validation_step(self, batch, batch_idx):
        raise NotImplementedError

    def log(self, name, value):
        self.trainer.logged.setdefault(name, []).append(float(value))


class Classifier(LitModule):
    def __init__(self, backbone: nn.Module, lr: float = 1e-2):
        super().__init__()
        self.backbone = backbone
        self.criterion = nn.CrossEntropyLoss()
        self.lr = lr

    def forward(self, x):
        return self.backbone(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        loss = self.criterion(logits, y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_acc", (self(x).argmax(1) == y).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr)
        steps = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
        return {"optimizer": optimizer, "lr_scheduler": scheduler}


class Trainer:
    def __init__(self, max_epochs):
        self.max_epochs = max_epochs
        self.logged = {}
        self.samples, self.batches, self.lengths, self.eval_samples = [], [], [], []

    def fit(self, module, train_dataloaders, val_dataloaders):
        module.trainer = self
        self.train_loader, self.val_loader = train_dataloaders, val_dataloaders
        self.estimated_stepping_batches = self.max_epochs * len(train_dataloaders)
        self.lengths.append(len(train_dataloaders))
        configured = module.configure_optimizers()
        self.optimizer, self.scheduler = configured["optimizer"], configured["lr_scheduler"]
        for _ in range(self.max_epochs):
            self._train_epoch(module)
            self.lengths.append(len(train_dataloaders))
            self._validate(module)

    def _train_epoch(self, module):
        module.train()
        samples = batches = 0
        iterator = iter(self.train_loader)
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                break

            def closure(batch=batch, batch_idx=batches):
                self.optimizer.zero_grad()
                loss = module.training_step(batch, batch_idx)
                loss.backward()
                return loss

            self.optimizer.step(closure)
            self.scheduler.step()
            samples += batch[0].shape[0]
            batches += 1
        self.samples.append(samples)
        self.batches.append(batches)

    @torch.no_grad()
    def _validate(self, module):
        module.eval()
        seen = 0
        for batch_idx, batch in enumerate(self.val_loader):
            module.validation_step(batch, batch_idx)
            seen += len(batch[0])
        self.eval_samples.append(seen)


class Blobs:
    """Train and validation loaders over the same random teacher."""

    def __init__(self):
        teacher = torch.randn(12, 5)
        inputs = torch.randn(2400, 12)
        labels = (inputs @ teacher).argmax(dim=1)
        self.train_set = TensorDataset(inputs[:2000], labels[:2000])
        self.val_set = TensorDataset(inputs[2000:], labels[2000:])

    def train_dataloader(self):
        return DataLoader(self.train_set, batch_size=40, shuffle=True, drop_last=True)

    def val_dataloader(self):
        return DataLoader(self.val_set, batch_size=80)


if __name__ == "__main__":
    torch.manual_seed(7)
    data = Blobs()
    model = Classifier(nn.Sequential(nn.Linear(12, 48), nn.GELU(), nn.Linear(48, 5)))
    trainer = Trainer(max_epochs=3)
    trainer.fit(model, data.train_dataloader(), data.val_dataloader())
    last_epoch = trainer.logged["val_acc"][-5:]
    print(
        "RESULT "
        + json.dumps(
            {
                "train_samples": trainer.samples,
                "train_batches": trainer.batches,
                "loader_len": trainer.lengths,
                "eval_samples": trainer.eval_samples,
                "metric_name": "accuracy",
                "metric": sum(last_epoch) / len(last_epoch),
                "last_lr": trainer.scheduler.get_last_lr()[0],
            }
        )
    )
