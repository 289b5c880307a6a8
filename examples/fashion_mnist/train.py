"""Train a small residual network on Fashion-MNIST.

The data folder (--data-dir, or the channel SM_CHANNEL_TRAIN) holds the four IDX files, plain or
gzipped: {train,t10k}-images-idx3-ubyte and {train,t10k}-labels-idx1-ubyte.

With a checkpoint folder (--checkpoint-dir, or SM_CHECKPOINT_DIR) every epoch is saved there, and a
run that was interrupted goes on after the last one as if it had not been.
"""

import argparse
import gzip
import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

MEAN, STD = 0.2860, 0.3530


class Block(nn.Module):
    """Two 3x3 convolutions and the way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, width: int, num_classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
        )
        self.blocks = nn.Sequential(
            Block(width, width, 1), Block(width, 2 * width, 2), Block(2 * width, 4 * width, 2)
        )
        self.fc = nn.Linear(4 * width, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.blocks(self.stem(x)).mean(dim=(2, 3)))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--lr", type=float, default=0.2, help="the schedule's highest")
    parser.add_argument("--width", type=int, default=16, help="channels of the first layer")
    parser.add_argument("--limit", type=int, default=None, help="train on the first N images only")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--checkpoint-dir", type=Path, default=os.environ.get("SM_CHECKPOINT_DIR"))
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    args = parser.parse_args()
    if args.data_dir is None:
        parser.error("no data: give --data-dir, or a channel named train")
    return args


def read_idx(folder: Path, name: str) -> torch.Tensor:
    """The array in an IDX file of bytes: two zeros, a type, the dimensions, the values."""
    path = folder / name
    if path.exists():
        content = path.read_bytes()
    else:
        with gzip.open(folder / f"{name}.gz") as file:
            content = file.read()
    dimensions = content[3]
    header = 4 + 4 * dimensions
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, header, 4)]
    return torch.frombuffer(bytearray(content[header:]), dtype=torch.uint8).view(shape)


def load_split(folder: Path, split: str, limit: int | None = None) -> TensorDataset:
    images = read_idx(folder, f"{split}-images-idx3-ubyte")[:limit]
    labels = read_idx(folder, f"{split}-labels-idx1-ubyte")[:limit]
    normalized = ((images.float() / 255 - MEAN) / STD).unsqueeze(1)
    return TensorDataset(normalized, labels.long())


def train_epoch(
    model: nn.Module,
    loader: DataLoader,
    criterion: nn.Module,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    device: torch.device,
) -> tuple[int, int]:
    """One epoch; returns how many samples and optimizer steps it took."""
    model.train()
    samples = steps = 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        scheduler.step()
        samples += len(labels)
        steps += 1
    return samples, steps


@torch.no_grad()
def evaluate(model: nn.Module, loader: DataLoader, device: torch.device) -> float:
    model.eval()
    correct = total = 0
    for images, labels in loader:
        correct += int((model(images.to(device)).argmax(dim=1) == labels.to(device)).sum())
        total += len(labels)
    return correct / total


def save_checkpoint(path: Path, parts: dict, done: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {name: part.state_dict() for name, part in parts.items()}
    unfinished = path.with_suffix(".part")  # a run may be killed while it writes
    torch.save(state | {"done": done, "rng": torch.get_rng_state()}, unfinished)
    unfinished.replace(path)


def load_checkpoint(path: Path, parts: dict, device: torch.device) -> dict:
    state = torch.load(path, map_location=device)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    torch.set_rng_state(state["rng"].cpu())
    return state["done"]


def main() -> None:
    args = parse_args()
    torch.manual_seed(args.seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    data_dir = Path(args.data_dir)
    train_set = load_split(data_dir, "train", args.limit)
    train_loader = DataLoader(train_set, args.batch_size, shuffle=True, drop_last=True)
    test_loader = DataLoader(load_split(data_dir, "t10k"), batch_size=500)

    model = ResNet(args.width).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(
        model.parameters(), lr=args.lr, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=args.lr, total_steps=args.epochs * len(train_loader)
    )

    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    done = {"epochs": 0, "samples": 0, "steps": 0, "seconds": 0.0, "accuracy": 0.0}
    checkpoint = Path(args.checkpoint_dir) / "last.pt" if args.checkpoint_dir else None
    if checkpoint and checkpoint.exists():
        done = load_checkpoint(checkpoint, parts, device)
        print(f"going on after epoch {done['epochs']}/{args.epochs}")

    for epoch in range(done["epochs"], args.epochs):
        start = time.perf_counter()
        epoch_samples, epoch_steps = train_epoch(
            model, train_loader, criterion, optimizer, scheduler, device
        )
        done["seconds"] += time.perf_counter() - start
        done["samples"] += epoch_samples
        done["steps"] += epoch_steps
        done["epochs"] += 1
        done["accuracy"] = evaluate(model, test_loader, device)
        if checkpoint:
            save_checkpoint(checkpoint, parts, done)
        seconds, accuracy = done["seconds"], done["accuracy"]
        print(f"epoch {epoch + 1}/{args.epochs} {seconds:.1f} s accuracy {accuracy:.4f}")

    print(f"trained on {done['samples']} samples in {done['steps']} steps, {done['seconds']:.1f} s")
    print(f"learning rate at the end: {scheduler.get_last_lr()[0]:.6f}")
    print(f"test accuracy: {done['accuracy']:.4f}")

    if args.model_dir:
        model_dir = Path(args.model_dir)
        model_dir.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), model_dir / "model.pt")


if __name__ == "__main__":
    main()
