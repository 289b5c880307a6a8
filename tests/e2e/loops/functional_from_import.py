"""The loss function is bound by name at import time."""

import json
from itertools import islice

import torch
from torch import nn, no_grad, optim
from torch.nn.functional import cross_entropy, relu
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(31)


class Perceptron(nn.Module):
    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))

    def forward(self, x):
        for layer in islice(self.layers, len(self.layers) - 1):
            x = relu(layer(x))
        return self.layers[-1](x)


def fit(model, loader, epochs):
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    for _ in range(epochs):
        samples = batches = 0
        for inputs, labels in loader:
            optimizer.zero_grad()
            cross_entropy(model(inputs), labels).backward()
            optimizer.step()
            samples += inputs.size(0)
            batches += 1
        yield samples, batches


images = torch.randn(1800, 9)
labels = images.abs().argmax(dim=1)
loader = DataLoader(TensorDataset(images, labels), batch_size=36, shuffle=True)
model = Perceptron(9, 64, 9)

lengths = [len(loader)]
epochs = []
for epoch in fit(model, loader, epochs=4):
    epochs.append(epoch)
    lengths.append(len(loader))

with no_grad():
    accuracy = (model(images).argmax(1) == labels).float().mean().item()
print(
    "RESULT",
    json.dumps(
        {
            "train_samples": [s for s, _ in epochs],
            "train_batches": [b for _, b in epochs],
            "loader_len": lengths,
            "eval_samples": [],
            "metric_name": "train_accuracy",
            "metric": accuracy,
        }
    ),
)
