"""A checkpoint after every epoch, and on with the last one. --die-in N dies in epoch N."""

import argparse
import json
import os
import signal
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(0)

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--die-in", type=int, default=0)
parser.add_argument("--checkpoint-dir", default=os.environ.get("SM_CHECKPOINT_DIR", "checkpoints"))
args = parser.parse_args()
path = Path(args.checkpoint_dir) / "last.pt"
path.parent.mkdir(parents=True, exist_ok=True)

centers = torch.randn(10, 20)
y = torch.randint(0, 10, (2500,))
x = centers[y] + torch.randn(2500, 20)
train_loader = DataLoader(TensorDataset(x[:2000], y[:2000]), batch_size=50, shuffle=True)
test_loader = DataLoader(TensorDataset(x[2000:], y[2000:]), batch_size=100)

model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, max_lr=0.1, total_steps=args.epochs * len(train_loader)
)

start = 0
samples, batches, lengths, evaluated = [], [], [len(train_loader)], []
if path.exists():
    saved = torch.load(path)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    torch.set_rng_state(saved["rng"])
    start, samples, batches = saved["epoch"], saved["samples"], saved["batches"]

for epoch in range(start, args.epochs):
    model.train()
    n = steps = 0
    for data, target in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(data), target).backward()
        optimizer.step()
        scheduler.step()
        n += len(data)
        steps += 1
        if epoch + 1 == args.die_in and steps == 15:
            os.kill(os.getpid(), signal.SIGKILL)
    samples.append(n)
    batches.append(steps)
    lengths.append(len(train_loader))

    model.eval()
    with torch.no_grad():
        hits = sum((model(data).argmax(1) == target).sum().item() for data, target in test_loader)
    evaluated.append(len(test_loader.dataset))

    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    state |= {"scheduler": scheduler.state_dict(), "rng": torch.get_rng_state()}
    state |= {"epoch": epoch + 1, "samples": samples, "batches": batches}
    torch.save(state, path.with_suffix(".tmp"))
    path.with_suffix(".tmp").replace(path)

result = {
    "train_samples": samples,
    "train_batches": batches,
    "loader_len": lengths,
    "eval_samples": evaluated,
    "metric_name": "accuracy",
    "metric": hits / 500,
    "last_lr": scheduler.get_last_lr()[0],
    "weights": sum(p.double().sum().item() for p in model.parameters()),
}
print("RESULT", json.dumps(result))
