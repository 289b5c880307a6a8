"""Convolutions with BatchNorm and Dropout; inputs are normalised after the loader."""

import json
import random

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
random.seed(1)
torch.manual_seed(1)


class Net(nn.Module):
    def __init__(self):
        super(Net, self).__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(16)
        self.dropout = nn.Dropout(0.25)
        self.fc1 = nn.Linear(16 * 2 * 2, 32)
        self.fc2 = nn.Linear(32, 4)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = x.view(-1, 16 * 2 * 2)
        x = self.dropout(F.relu(self.fc1(x)))
        return F.log_softmax(self.fc2(x), dim=1)


def make_pictures(n):
    """Uint8 pictures, flat as in a file: a bright quadrant is the class."""
    labels = torch.randint(0, 4, (n,))
    pictures = torch.randint(0, 140, (n, 8, 8))
    for i, k in enumerate(labels.tolist()):
        r, c = 4 * (k // 2), 4 * (k % 2)
        pictures[i, r : r + 4, c : c + 4] += 60
    return pictures.to(torch.uint8).view(n, 64), labels


train_x, train_y = make_pictures(1500)
test_x, test_y = make_pictures(400)
mean = train_x.float().mean() / 255
std = train_x.float().std() / 255


def prepare(batch):
    return ((batch.float() / 255 - mean) / std).view(-1, 1, 8, 8)


train_loader = DataLoader(TensorDataset(train_x, train_y), batch_size=32, shuffle=True)
test_loader = DataLoader(TensorDataset(test_x, test_y), batch_size=100)
model = Net()
optimizer = optim.Adadelta(model.parameters(), lr=1.0)
scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)


def train(epoch):
    model.train()
    seen = 0
    for batch_idx, (data, target) in enumerate(train_loader):
        data = prepare(data)
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        seen += len(data)
        if batch_idx % 20 == 0:
            done = 100.0 * batch_idx / len(train_loader)
            print(f"Train Epoch: {epoch} ({done:.0f}%)\tLoss: {loss.item():.6f}")
    return seen, batch_idx + 1


def test():
    model.eval()
    test_loss, correct, seen = 0, 0, 0
    with torch.no_grad():
        for data, target in test_loader:
            output = model(prepare(data))
            test_loss += F.nll_loss(output, target, reduction="sum").item()
            pred = output.argmax(dim=1, keepdim=True)
            correct += pred.eq(target.view_as(pred)).sum().item()
            seen += len(data)
    print(f"Test: loss {test_loss / seen:.4f}, accuracy {correct}/{seen}")
    return correct / seen, seen


lengths, samples, batches, evaluated = [len(train_loader)], [], [], []
for epoch in range(1, 4):
    s, b = train(epoch)
    accuracy, n = test()
    scheduler.step()
    samples.append(s)
    batches.append(b)
    evaluated.append(n)
    lengths.append(len(train_loader))

print(
    "RESULT",
    json.dumps(
        {
            "train_samples": samples,
            "train_batches": batches,
            "loader_len": lengths,
            "eval_samples": evaluated,
            "metric_name": "accuracy",
            "metric": accuracy,
            "batchnorm_batches": int(model.bn1.num_batches_tracked),
        }
    ),
)
