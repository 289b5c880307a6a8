"""DistributedDataParallel over gloo. Start it with: torchrun --nproc_per_node 2 ddp.py"""

import json
import os

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel as DDP
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

torch.set_num_threads(1)


def make_data() -> tuple[TensorDataset, TensorDataset]:
    generator = torch.Generator().manual_seed(0)
    centers = 0.6 * torch.randn(8, 16, generator=generator)
    labels = torch.randint(0, 8, (2400,), generator=generator)
    inputs = centers[labels] + torch.randn(2400, 16, generator=generator)
    return TensorDataset(inputs[:2000], labels[:2000]), TensorDataset(inputs[2000:], labels[2000:])


def main() -> None:
    # Alone, without torchrun, it is a world of one.
    if "RANK" not in os.environ:
        os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    dist.init_process_group("gloo")
    rank, world_size = dist.get_rank(), dist.get_world_size()
    torch.manual_seed(123)

    train_set, test_set = make_data()
    sampler = DistributedSampler(train_set, num_replicas=world_size, rank=rank, shuffle=True)
    loader = DataLoader(train_set, batch_size=25, sampler=sampler)
    test_loader = DataLoader(test_set, batch_size=100)

    model = DDP(nn.Sequential(nn.Linear(16, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 8)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    epochs = 3
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.1, epochs=epochs, steps_per_epoch=len(loader)
    )

    samples, batches, lengths, evaluated = [], [], [len(loader)], []
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        model.train()
        n = steps = 0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            scheduler.step()
            n += len(x)
            steps += 1
        samples.append(n)
        batches.append(steps)
        lengths.append(len(loader))

        model.eval()
        hits = total = 0
        with torch.no_grad():
            for x, y in test_loader:
                hits += (model.module(x).argmax(1) == y).sum().item()
                total += len(x)
        evaluated.append(total)

    # All ranks must hold the same weights, and must have taken the same steps.
    weight = next(model.parameters()).detach().double().sum().reshape(1)
    weights = [torch.zeros_like(weight) for _ in range(world_size)]
    dist.all_gather(weights, weight)
    steps_of_ranks: list = [None] * world_size
    dist.all_gather_object(steps_of_ranks, batches)
    samples_of_ranks: list = [None] * world_size
    dist.all_gather_object(samples_of_ranks, samples)

    if rank == 0:
        result = {
            "train_samples": samples,
            "train_batches": batches,
            "loader_len": lengths,
            "eval_samples": evaluated,
            "metric_name": "accuracy",
            "metric": hits / total,
            "last_lr": scheduler.get_last_lr()[0],
            "world_size": world_size,
            "same_weights": all(torch.equal(w, weights[0]) for w in weights),
            "train_batches_of_ranks": steps_of_ranks,
            "train_samples_of_ranks": samples_of_ranks,
        }
        print("RESULT", json.dumps(result))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
