"""A plain loop: one loader, one model, one optimizer, a schedule stepped per batch."""

import json

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(0)
device = torch.device("cpu")

EPOCHS = 3

centers = torch.randn(10, 20)
y = torch.randint(0, 10, (2000,))
x = centers[y] + torch.randn(2000, 20)
y_test = torch.randint(0, 10, (500,))
x_test = centers[y_test] + torch.randn(500, 20)

train_loader = DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True)
test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=100)

model = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 10)).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
scheduler = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, max_lr=0.1, total_steps=EPOCHS * len(train_loader)
)

lengths = [len(train_loader)]
samples, batches, eval_samples = [], [], []
accuracy = 0.0

for epoch in range(EPOCHS):
    model.train()
    seen = steps = 0
    for data, target in train_loader:
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        output = model(data)
        loss = F.cross_entropy(output, target)
        loss.backward()
        optimizer.step()
        scheduler.step()
        seen += len(data)
        steps += 1
    samples.append(seen)
    batches.append(steps)
    lengths.append(len(train_loader))

    model.eval()
    correct = total = 0
    with torch.no_grad():
        for data, target in test_loader:
            data, target = data.to(device), target.to(device)
            correct += (model(data).argmax(dim=1) == target).sum().item()
            total += len(data)
    eval_samples.append(total)
    accuracy = correct / total
    print(f"epoch {epoch}: loss {loss.item():.4f} accuracy {accuracy:.4f}")

result = {
    "train_samples": samples,
    "train_batches": batches,
    "loader_len": lengths,
    "eval_samples": eval_samples,
    "metric_name": "accuracy",
    "metric": accuracy,
    "last_lr": scheduler.get_last_lr()[0],
}
print("RESULT", json.dumps(result))
