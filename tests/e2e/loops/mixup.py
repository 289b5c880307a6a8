"""Mixup: every input is blended with another one of its batch."""

import json

import torch
import torch.nn as nn
from torch.distributions import Beta
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(6)

ALPHA = 0.4


def mixup_data(x, y, alpha):
    lam = Beta(alpha, alpha).sample().item() if alpha > 0 else 1.0
    index = torch.randperm(x.size(0))
    mixed_x = lam * x + (1 - lam) * x[index]
    return mixed_x, y, y[index], lam


def mixup_criterion(criterion, pred, y_a, y_b, lam):
    return lam * criterion(pred, y_a) + (1 - lam) * criterion(pred, y_b)


means = torch.randn(5, 18)
targets_all = torch.randint(5, (2000,))
inputs_all = means[targets_all] + torch.randn(2000, 18)
trainloader = DataLoader(TensorDataset(inputs_all, targets_all), batch_size=50, shuffle=True)

net = nn.Sequential(nn.Linear(18, 64), nn.ReLU(), nn.Linear(64, 5))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)

lengths, samples, batches = [len(trainloader)], [], []
for epoch in range(3):
    net.train()
    train_loss, total = 0.0, 0
    for batch_idx, (inputs, targets) in enumerate(trainloader):
        inputs, targets_a, targets_b, lam = mixup_data(inputs, targets, ALPHA)
        outputs = net(inputs)
        loss = mixup_criterion(criterion, outputs, targets_a, targets_b, lam)
        train_loss += loss.item()
        total += targets.size(0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"Epoch: {epoch} Loss: {train_loss / (batch_idx + 1):.3f}")
    samples.append(total)
    batches.append(batch_idx + 1)
    lengths.append(len(trainloader))

net.eval()
with torch.no_grad():
    accuracy = (net(inputs_all).argmax(1) == targets_all).float().mean().item()
print(
    "RESULT",
    json.dumps(
        {
            "train_samples": samples,
            "train_batches": batches,
            "loader_len": lengths,
            "eval_samples": [],
            "metric_name": "train_accuracy",
            "metric": accuracy,
        }
    ),
)
