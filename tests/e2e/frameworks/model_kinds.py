"""One plain loop, and a model made faster or smaller in one of torch's own ways (--kind)."""

import argparse
import json

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(3)
EPOCHS = 3


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, 2 * width)
        self.dropout = nn.Dropout(0.1)
        self.second = nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.second(self.dropout(F.gelu(self.first(self.norm(x)))))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.begin = nn.Linear(12, 24)
        self.blocks = nn.ModuleList([Block(24), Block(24)])
        self.head = nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.begin(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Checkpointed(Net):
    """Activations are computed a second time in the backward, in torch's two ways."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.begin(x)
        for i, block in enumerate(self.blocks):
            x = checkpoint(block, x, use_reentrant=i == 0)
        return self.head(x)


parser = argparse.ArgumentParser()
kinds = ["compiled", "compiled_step", "checkpointed", "scripted"]
parser.add_argument("--kind", choices=kinds)
kind = parser.parse_args().kind

centers = torch.randn(5, 12)
labels = torch.randint(0, 5, (1200,))
inputs = centers[labels] + 0.8 * torch.randn(1200, 12)
loader = DataLoader(TensorDataset(inputs[:1000], labels[:1000]), batch_size=25, shuffle=True)
test_loader = DataLoader(TensorDataset(inputs[1000:], labels[1000:]), batch_size=50)

model = Checkpointed() if kind == "checkpointed" else Net()
if kind == "compiled":
    model = torch.compile(model, backend="aot_eager")
if kind == "scripted":
    model = torch.jit.script(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS * len(loader))


def training_step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    return loss.detach()


if kind == "compiled_step":
    training_step = torch.compile(training_step, backend="aot_eager")

samples, batches, evaluated, lengths = [], [], [], [len(loader)]
for _ in range(EPOCHS):
    model.train()
    samples.append(0)
    batches.append(0)
    for x, y in loader:
        optimizer.zero_grad()
        training_step(x, y)
        optimizer.step()
        scheduler.step()
        samples[-1] += len(y)
        batches[-1] += 1
    lengths.append(len(loader))

    model.eval()
    hits = []
    with torch.no_grad():
        for x, y in test_loader:
            hits.append(model(x).argmax(1) == y)
    hits = torch.cat(hits)
    evaluated.append(len(hits))

result = {
    "train_samples": samples,
    "train_batches": batches,
    "loader_len": lengths,
    "eval_samples": evaluated,
    "last_lr": scheduler.get_last_lr()[0],
    "metric_name": "accuracy",
    "metric": hits.float().mean().item(),
}
print("RESULT", json.dumps(result))
