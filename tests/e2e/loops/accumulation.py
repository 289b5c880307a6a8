"""Gradients of four batches are accumulated before every optimizer step."""

import json
import math

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(11)

ACCUMULATE = 4
NUM_EPOCHS = 4

features = torch.randn(1920, 16)
labels = (features[:, :4].sum(1) > 0).long() + (features[:, 4:8].sum(1) > 1).long()

loader = DataLoader(TensorDataset(features, labels), batch_size=24, shuffle=True)
model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=1e-4)
updates = NUM_EPOCHS * math.ceil(len(loader) / ACCUMULATE)
scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: max(0.0, 1 - s / updates))
loss_fn = nn.CrossEntropyLoss()

stats = {"train_samples": [], "train_batches": [], "loader_len": [len(loader)], "eval_samples": []}
steps = 0
optimizer.zero_grad(set_to_none=True)
for _epoch in range(NUM_EPOCHS):
    n = 0
    for i, (inputs, target) in enumerate(loader, start=1):
        loss = loss_fn(model(inputs), target) / ACCUMULATE
        loss.backward()
        n += inputs.shape[0]
        if i % ACCUMULATE == 0 or i == len(loader):
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            optimizer.zero_grad(set_to_none=True)
            steps += 1
    stats["train_samples"].append(n)
    stats["train_batches"].append(i)
    stats["loader_len"].append(len(loader))

with torch.no_grad():
    accuracy = (model(features).argmax(1) == labels).float().mean().item()
stats["optimizer_steps"] = steps
stats["last_lr"] = scheduler.get_last_lr()[0]
stats["metric_name"], stats["metric"] = "train_accuracy", accuracy
print("RESULT", json.dumps(stats))
