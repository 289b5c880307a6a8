"""Binary classification: BCEWithLogitsLoss on a squeezed output, labels as floats."""

import json

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class Moons(Dataset):
    def __init__(self, n: int, seed: int):
        rng = np.random.default_rng(seed)
        t = rng.uniform(0, np.pi, n)
        upper = rng.integers(0, 2, n)
        x = np.where(upper, np.cos(t), 1 - np.cos(t))
        y = np.where(upper, np.sin(t), 0.5 - np.sin(t))
        self.X = (np.stack([x, y], axis=1) + rng.normal(0, 0.15, (n, 2))).astype(np.float32)
        self.y = upper.astype(np.float32)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.X[i], self.y[i]


def train_one_epoch(model, loader, loss_fn, optimizer):
    size = 0
    num_batches = 0
    model.train()
    for X, y in loader:
        y_hat = model(X).squeeze()
        loss = loss_fn(y_hat, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        size += X.shape[0]
        num_batches += 1
    return size, num_batches


@torch.inference_mode()
def test_loop(model, loader, loss_fn):
    model.eval()
    test_loss, correct, size = 0.0, 0.0, 0
    for X, y in loader:
        y_hat = model(X).squeeze()
        test_loss += loss_fn(y_hat, y).item()
        correct += ((y_hat > 0).float() == y).sum().item()
        size += len(X)
    print(f"Accuracy: {100 * correct / size:>0.1f}%, Avg loss: {test_loss / len(loader):>8f}")
    return correct / size, size


torch.manual_seed(4)
train_dataloader = DataLoader(Moons(2000, seed=0), batch_size=64, shuffle=True)
test_dataloader = DataLoader(Moons(320, seed=1), batch_size=64)
model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
pos_weight = torch.tensor(1.2)
loss_fn = nn.BCEWithLogitsLoss(pos_weight=pos_weight)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

result = {"train_samples": [], "train_batches": [], "eval_samples": []}
result["loader_len"] = [len(train_dataloader)]
for _t in range(4):
    size, num_batches = train_one_epoch(model, train_dataloader, loss_fn, optimizer)
    accuracy, tested = test_loop(model, test_dataloader, loss_fn)
    result["train_samples"].append(size)
    result["train_batches"].append(num_batches)
    result["eval_samples"].append(tested)
    result["loader_len"].append(len(train_dataloader))
result["metric_name"] = "accuracy"
result["metric"] = accuracy
print("RESULT", json.dumps(result))
