"""torchdata's StatefulDataLoader: its state is saved in mid-epoch, and a new loader goes on."""

import argparse
import json

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import TensorDataset
from torchdata.stateful_dataloader import StatefulDataLoader

parser = argparse.ArgumentParser()
parser.add_argument("--workers", type=int, default=0)
parser.add_argument("--stop-at", type=int, default=0, help="batch of the second epoch, 0: never")
options = parser.parse_args()

torch.set_num_threads(1)
torch.manual_seed(1)
EPOCHS = 3

centers = torch.randn(5, 12)
labels = torch.randint(0, 5, (1200,))
inputs = centers[labels] + 0.8 * torch.randn(1200, 12)
train_set = TensorDataset(inputs[:1000], labels[:1000])
test_loader = StatefulDataLoader(TensorDataset(inputs[1000:], labels[1000:]), batch_size=50)


def loader_of_training():
    return StatefulDataLoader(train_set, batch_size=25, shuffle=True, num_workers=options.workers)


loader = loader_of_training()
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 5))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.OneCycleLR(
    optimizer, max_lr=0.1, total_steps=EPOCHS * len(loader)
)

samples, batches, evaluated, lengths, seen = [], [], [], [len(loader)], []
for epoch in range(EPOCHS):
    model.train()
    samples.append(0)
    batches.append(0)
    parts = 2 if options.stop_at and epoch == 1 else 1
    for part in range(parts):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            scheduler.step()
            samples[-1] += len(y)
            batches[-1] += 1
            if parts == 2 and part == 0 and batches[-1] == options.stop_at:
                state = loader.state_dict()
                loader = loader_of_training()
                loader.load_state_dict(state)
                break
    lengths.append(len(loader))

    model.eval()
    hits = []
    with torch.no_grad():
        for x, y in test_loader:
            hits.append(model(x).argmax(1) == y)
    hits = torch.cat(hits)
    evaluated.append(len(hits))

result = {
    "train_samples": samples,
    "train_batches": batches,
    "loader_len": lengths,
    "eval_samples": evaluated,
    "last_lr": scheduler.get_last_lr()[0],
    "metric_name": "accuracy",
    "metric": hits.float().mean().item(),
}
print("RESULT", json.dumps(result))
