#!/usr/bin/env python
"""Loader workers, a collate function of one's own and a random transform."""

import argparse
import json

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class RandomShift:
    def __init__(self, strength):
        self.strength = strength

    def __call__(self, image):
        shift = int(torch.randint(-2, 3, ()))
        return image.roll(shift, dims=-1) + self.strength * torch.randn_like(image)


class Bars(Dataset):
    """8x8 pictures of a horizontal, a vertical or a diagonal bar."""

    def __init__(self, size, transform=None, seed=0):
        rng = torch.Generator().manual_seed(seed)
        self.kind = torch.randint(0, 3, (size,), generator=rng).tolist()
        self.place = torch.randint(0, 8, (size,), generator=rng).tolist()
        self.transform = transform

    def __len__(self):
        return len(self.kind)

    def __getitem__(self, index):
        image = torch.zeros(1, 8, 8)
        kind, place = self.kind[index], self.place[index]
        if kind == 0:
            image[0, place] = 1
        elif kind == 1:
            image[0, :, place] = 1
        else:
            image[0] = torch.eye(8).roll(place, dims=1)
        if self.transform is not None:
            image = self.transform(image)
        return {"image": image, "kind": kind, "name": f"bar-{index}"}


def collate(items):
    images = torch.stack([item["image"] for item in items])
    kinds = torch.tensor([item["kind"] for item in items])
    return images, kinds, [item["name"] for item in items]


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--persistent", action="store_true")
    parser.add_argument("--epochs", type=int, default=3)
    return parser.parse_args()


def main():
    args = parse_args()
    torch.manual_seed(1)
    train_loader = DataLoader(
        Bars(1500, RandomShift(0.6)),
        batch_size=30,
        shuffle=True,
        num_workers=args.workers,
        persistent_workers=args.persistent and args.workers > 0,
        collate_fn=collate,
        drop_last=True,
    )
    test_loader = DataLoader(
        Bars(300, RandomShift(0.6), seed=1),
        batch_size=60,
        num_workers=args.workers,
        collate_fn=collate,
    )
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 3)
    )
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

    result = {
        "train_samples": [],
        "train_batches": [],
        "loader_len": [len(train_loader)],
        "eval_samples": [],
    }
    for _ in range(args.epochs):
        model.train()
        names = []
        for step, (images, kinds, batch_names) in enumerate(train_loader):
            optimizer.zero_grad()
            loss = criterion(model(images), kinds)
            loss.backward()
            optimizer.step()
            assert len(batch_names) == len(images)
            names.extend(batch_names)
        result["train_samples"].append(len(names))
        result["train_batches"].append(step + 1)
        result["loader_len"].append(len(train_loader))
        # No picture may come twice in an epoch.
        assert len(set(names)) == len(names)

        model.eval()
        good = total = 0
        with torch.no_grad():
            for images, kinds, _ in test_loader:
                good += (model(images).argmax(1) == kinds).sum().item()
                total += len(kinds)
        result["eval_samples"].append(total)

    result["metric_name"] = "accuracy"
    result["metric"] = good / total
    print("RESULT", json.dumps(result))


if __name__ == "__main__":
    main()
