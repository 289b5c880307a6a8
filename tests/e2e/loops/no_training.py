"""Only an evaluation: no backward, no optimizer."""

import json

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(0)

x = torch.randn(1000, 6)
y = (x.sum(dim=1) > 0).long()
loader = DataLoader(TensorDataset(x, y), batch_size=40)

model = nn.Linear(6, 2)
with torch.no_grad():
    model.weight.copy_(torch.stack([-torch.ones(6), torch.ones(6)]))
    model.bias.zero_()

model.eval()
criterion = nn.CrossEntropyLoss()
lengths, evaluated = [len(loader)], []
for _ in range(2):
    seen, correct, loss = 0, 0, 0.0
    for inputs, labels in loader:
        with torch.no_grad():
            outputs = model(inputs)
        loss += criterion(outputs, labels).item()
        correct += (outputs.argmax(1) == labels).sum().item()
        seen += len(labels)
    evaluated.append(seen)
    lengths.append(len(loader))

result = {
    "train_samples": [],
    "train_batches": [],
    "loader_len": lengths,
    "eval_samples": evaluated,
    "metric_name": "accuracy",
    "metric": correct / seen,
    "loss": loss / len(loader),
}
print("RESULT", json.dumps(result))
