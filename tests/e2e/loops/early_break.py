"""An "epoch" is a fixed number of steps: the loop breaks out of the loader early."""

import json

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
torch.manual_seed(21)

MAX_STEPS_PER_EPOCH = 12
EPOCHS = 6

teacher = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Linear(16, 4)).requires_grad_(False)
x = torch.randn(4000, 10)
y = teacher(x).argmax(-1)

train_dl = DataLoader(TensorDataset(x[:3500], y[:3500]), batch_size=50, shuffle=True)
valid_dl = DataLoader(TensorDataset(x[3500:], y[3500:]), batch_size=125)

student = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 4))
optim = torch.optim.RMSprop(student.parameters(), lr=0.005)
loss_func = nn.functional.cross_entropy

log = {"train_samples": [], "train_batches": [], "loader_len": [len(train_dl)], "eval_samples": []}
for _epoch in range(EPOCHS):
    student.train()
    used = steps = 0
    for step, (xb, yb) in enumerate(train_dl):
        if step >= MAX_STEPS_PER_EPOCH:
            break
        loss = loss_func(student(xb), yb)
        loss.backward()
        optim.step()
        optim.zero_grad()
        used += len(xb)
        steps += 1
    log["train_samples"].append(used)
    log["train_batches"].append(steps)
    log["loader_len"].append(len(train_dl))

    student.eval()
    with torch.no_grad():
        right, count = 0, 0
        for xb, yb in valid_dl:
            right += (student(xb).argmax(-1) == yb).sum().item()
            count += len(yb)
            if count >= 250:  # half of it is enough for a look
                break
    log["eval_samples"].append(count)

log["metric_name"] = "accuracy"
log["metric"] = right / count
print("RESULT", json.dumps(log))
