"""The DataLoader is built anew for every epoch, over freshly sampled data."""

import json

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(17)

NUM_EPOCHS = 5
pool_x = torch.randn(3000, 14)
pool_y = (pool_x[:, ::2].sum(1) - pool_x[:, 1::2].sum(1) > 0).long()


def get_loaders(epoch: int) -> tuple[DataLoader, DataLoader]:
    """This epoch's two thirds for training; the last 300 are never trained on."""
    chosen = torch.randperm(2700, generator=torch.Generator().manual_seed(epoch))[:1800]
    train = TensorDataset(pool_x[chosen], pool_y[chosen])
    test = TensorDataset(pool_x[2700:], pool_y[2700:])
    return DataLoader(train, batch_size=45, shuffle=True), DataLoader(test, batch_size=60)


model = nn.Sequential(nn.Linear(14, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss()

first, _ = get_loaders(0)
lengths = [len(first)]
samples, batches, eval_samples = [], [], []
for epoch in range(NUM_EPOCHS):
    train_loader, test_loader = get_loaders(epoch)
    model.train()
    epoch_samples = 0
    for i, (xb, yb) in enumerate(train_loader):
        loss = criterion(model(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        epoch_samples += yb.shape[0]
    samples.append(epoch_samples)
    batches.append(i + 1)
    lengths.append(len(train_loader))

    model.eval()
    with torch.no_grad():
        hits = [(model(xb).argmax(1) == yb) for xb, yb in test_loader]
    hits = torch.cat(hits)
    eval_samples.append(hits.numel())
    accuracy = hits.float().mean().item()

print(
    "RESULT",
    json.dumps(
        {
            "train_samples": samples,
            "train_batches": batches,
            "loader_len": lengths,
            "eval_samples": eval_samples,
            "metric_name": "accuracy",
            "metric": accuracy,
        }
    ),
)
