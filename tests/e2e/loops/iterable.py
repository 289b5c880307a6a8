"""The data is a stream: an IterableDataset, with no length."""

import json

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

torch.set_num_threads(1)


class Stream(IterableDataset):
    """Noisy points on three rings, `size` of them a pass, another pass every epoch."""

    def __init__(self, size, seed):
        self.size = size
        self.seed = seed
        self.epoch = 0

    def __iter__(self):
        rng = torch.Generator().manual_seed(self.seed + self.epoch)
        self.epoch += 1
        for _ in range(self.size):
            ring = int(torch.randint(3, (1,), generator=rng))
            point = torch.randn(2, generator=rng)
            radius = ring + 1 + 0.25 * torch.randn(1, generator=rng)
            yield point / point.norm() * radius, ring


def length(loader):
    try:
        return len(loader)
    except TypeError:
        return None


torch.manual_seed(5)
train = DataLoader(Stream(2000, seed=100), batch_size=50)
valid = DataLoader(Stream(300, seed=900), batch_size=50)
model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

samples, batches, evaluated, lengths = [], [], [], [length(train)]
for _ in range(3):
    samples.append(0)
    batches.append(0)
    model.train()
    for points, rings in train:
        optimizer.zero_grad()
        log_probs = F.log_softmax(model(points), dim=-1)
        F.nll_loss(log_probs, rings).backward()
        optimizer.step()
        samples[-1] += rings.numel()
        batches[-1] += 1
    lengths.append(length(train))

    model.eval()
    correct = count = 0
    with torch.no_grad():
        for points, rings in valid:
            correct += (model(points).argmax(-1) == rings).sum().item()
            count += rings.numel()
    evaluated.append(count)

print(
    "RESULT",
    json.dumps(
        {
            "train_samples": samples,
            "train_batches": batches,
            "loader_len": lengths,
            "eval_samples": evaluated,
            "metric_name": "accuracy",
            "metric": correct / count,
        }
    ),
)
