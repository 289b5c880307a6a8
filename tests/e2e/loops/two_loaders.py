"""Validation runs every few steps, in the middle of the training epoch."""

import json

import torch
from torch import nn, optim
from torch.utils.data import DataLoader, TensorDataset, random_split

torch.set_num_threads(1)
torch.manual_seed(3)

BATCH_SIZE = 50
EVAL_EVERY = 16

inputs = torch.rand(2500, 8) * 2 - 1
targets = (inputs[:, 0] * inputs[:, 1] > 0).long() + 2 * (inputs[:, 2] > 0.3).long()
dataset = TensorDataset(inputs, targets)
train_set, val_set = random_split(dataset, [2000, 500])

train_loader = DataLoader(train_set, batch_size=BATCH_SIZE, shuffle=True)
val_loader = DataLoader(val_set, batch_size=BATCH_SIZE, shuffle=False)

net = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 4))
criterion = nn.CrossEntropyLoss()
opt = optim.Adam(net.parameters(), lr=0.01)


def validate():
    """Mean validation loss and accuracy, and how many samples they stand on."""
    net.eval()
    total_loss, correct, count = 0.0, 0, 0
    with torch.no_grad():
        for xb, yb in val_loader:
            logits = net(xb)
            total_loss += criterion(logits, yb).item()
            correct += int((logits.argmax(1) == yb).sum())
            count += yb.size(0)
    net.train()
    return total_loss / len(val_loader), correct / count, count


initial_len = len(train_loader)
lens, samples, batches, evals, val_losses = [initial_len], [], [], [], []
global_step = 0
for epoch in range(3):
    epoch_samples = epoch_batches = 0
    for xb, yb in train_loader:
        opt.zero_grad()
        loss = criterion(net(xb), yb)
        loss.backward()
        opt.step()
        global_step += 1
        epoch_samples += xb.size(0)
        epoch_batches += 1
        if global_step % EVAL_EVERY == 0:
            val_loss, val_acc, n = validate()
            evals.append(n)
            val_losses.append(val_loss)
            print(f"[{epoch}:{global_step}] val_loss={val_loss:.3f} val_acc={val_acc:.3f}")
    samples.append(epoch_samples)
    batches.append(epoch_batches)
    lens.append(len(train_loader))

val_loss, val_acc, n = validate()
evals.append(n)
val_losses.append(val_loss)

print(
    "RESULT",
    json.dumps(
        dict(
            train_samples=samples,
            train_batches=batches,
            loader_len=lens,
            eval_samples=evals,
            val_batches=len(val_loader),
            val_losses=val_losses,
            metric_name="accuracy",
            metric=val_acc,
        )
    ),
)
