"""Two heads and a weighted sum of two losses."""

import json

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(8)


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(10, 64), nn.SiLU())
        self.kind = nn.Linear(64, 3)
        self.size = nn.Linear(64, 1)

    def forward(self, x):
        h = self.trunk(x)
        return {"kind": self.kind(h), "size": self.size(h)}


x = torch.randn(2000, 10)
kind = x[:, :3].argmax(dim=1)
size = (x[:, 3:6] ** 2).sum(dim=1, keepdim=True) / 3
train_loader = DataLoader(TensorDataset(x, kind, size), batch_size=50, shuffle=True)

model = TwoHeads()
ce = nn.CrossEntropyLoss()
mse = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

samples, batches, lengths = [], [], [len(train_loader)]
for epoch in range(3):
    total = steps = 0
    for inputs, kinds, sizes in train_loader:
        optimizer.zero_grad()
        out = model(inputs)
        loss = 1.0 * ce(out["kind"], kinds) + 0.5 * mse(out["size"], sizes)
        loss.backward()
        optimizer.step()
        total += inputs.shape[0]
        steps += 1
    samples.append(total)
    batches.append(steps)
    lengths.append(len(train_loader))
    print(f"{epoch=} loss={loss.item():.4f}")

with torch.no_grad():
    accuracy = (model(x)["kind"].argmax(1) == kind).float().mean().item()
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
