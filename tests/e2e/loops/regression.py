"""Regression with the mean squared error written out by hand."""

import json

import torch
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
torch.manual_seed(0)


class Curve(Dataset):
    def __init__(self, n):
        self.x = torch.linspace(-3.14159, 3.14159, n)
        self.y = torch.sin(self.x) + 0.1 * torch.randn(n)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, idx):
        return self.x[idx : idx + 1], self.y[idx]


class MLP(torch.nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.hidden = torch.nn.Linear(1, width)
        self.out = torch.nn.Linear(width, 1)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x))).squeeze(-1)


train = DataLoader(Curve(2000), batch_size=40, shuffle=True)
test = DataLoader(Curve(200), batch_size=200)
model = MLP()
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)

seen_per_epoch, batches_per_epoch, test_seen = [], [], []
lengths = [len(train)]
for epoch in range(4):
    seen, running = 0, 0.0
    for k, (x, y) in enumerate(train, 1):
        pred = model(x)
        loss = ((pred - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running += loss.item()
        seen += x.shape[0]
    seen_per_epoch.append(seen)
    batches_per_epoch.append(k)
    lengths.append(len(train))
    print(f"epoch {epoch} mean loss {running / k:.5f}")

with torch.no_grad():
    for x, y in test:
        error = ((model(x) - y) ** 2).mean().item()
        test_seen.append(len(x))

print(
    "RESULT "
    + json.dumps(
        {
            "train_samples": seen_per_epoch,
            "train_batches": batches_per_epoch,
            "loader_len": lengths,
            "eval_samples": test_seen,
            "metric_name": "mse",
            "metric": error,
        }
    )
)
