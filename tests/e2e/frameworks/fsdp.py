"""Fully sharded data parallelism over gloo. Start it with: torchrun --nproc_per_node 2 fsdp.py"""

import json

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank, ranks = dist.get_rank(), dist.get_world_size()
torch.manual_seed(5)

centers = torch.randn(5, 10)
labels = torch.randint(0, 5, (1000,))
inputs = centers[labels] + 0.7 * torch.randn(1000, 10)
train_set = TensorDataset(inputs[:800], labels[:800])
test_set = TensorDataset(inputs[800:], labels[800:])
sampler = DistributedSampler(train_set, shuffle=True)
loader = DataLoader(train_set, batch_size=20, sampler=sampler)
test_loader = DataLoader(test_set, batch_size=50)

model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 5))
mesh = init_device_mesh("cpu", (ranks,))
for layer in (model[0], model[2]):
    fully_shard(layer, mesh=mesh)
fully_shard(model, mesh=mesh)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
epochs = 3
scheduler = torch.optim.lr_scheduler.LinearLR(
    optimizer, start_factor=1.0, end_factor=0.01, total_iters=epochs * len(loader)
)

samples, batches, evaluated, lengths = [], [], [], [len(loader)]
for epoch in range(epochs):
    sampler.set_epoch(epoch)
    model.train()
    samples.append(0)
    batches.append(0)
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        scheduler.step()
        samples[-1] += len(y)
        batches[-1] += 1
    lengths.append(len(loader))

    model.eval()
    hits = []
    with torch.no_grad():
        for x, y in test_loader:
            hits.append(model(x).argmax(1) == y)
    hits = torch.cat(hits)
    evaluated.append(len(hits))

batches_of_ranks, samples_of_ranks = [None] * ranks, [None] * ranks
dist.all_gather_object(batches_of_ranks, batches)
dist.all_gather_object(samples_of_ranks, samples)
if rank == 0:
    result = {
        "train_samples": samples,
        "train_batches": batches,
        "train_samples_of_ranks": samples_of_ranks,
        "train_batches_of_ranks": batches_of_ranks,
        "loader_len": lengths,
        "eval_samples": evaluated,
        "last_lr": scheduler.get_last_lr()[0],
        "metric_name": "accuracy",
        "metric": hits.float().mean().item(),
    }
    print("RESULT", json.dumps(result))
dist.destroy_process_group()
