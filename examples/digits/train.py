"""Train a small convolutional network on the handwritten digits inside scikit-learn.

Seconds on a CPU. With --data-dir (or SM_CHANNEL_TRAIN) the digits come from a file digits.csv
in that folder instead: 64 pixels from 0 to 16 and the label on every line.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(8 * width, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--width", type=int, default=32, help="channels of the first layer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", default=os.environ.get("SM_CHANNEL_TRAIN"))
    parser.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR"))
    return parser.parse_args()


def load_data(data_dir: str | None) -> tuple[TensorDataset, TensorDataset]:
    """Four fifths to train on, one fifth to test; the same split in every run."""
    if data_dir is None:
        images, labels = load_digits(return_X_y=True)
    else:
        table = np.loadtxt(Path(data_dir) / "digits.csv", delimiter=",")
        images, labels = table[:, :64], table[:, 64]
    split = train_test_split(images, labels, test_size=0.2, random_state=0, stratify=labels)
    train_x, test_x = (
        torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8) for x in split[:2]
    )
    train_y, test_y = (torch.tensor(y, dtype=torch.long) for y in split[2:])
    return TensorDataset(train_x, train_y), TensorDataset(test_x, test_y)


def evaluate(model: nn.Module, loader: DataLoader, device: torch.device) -> float:
    model.eval()
    correct = total = 0
    with torch.no_grad():
        for images, labels in loader:
            predicted = model(images.to(device)).argmax(dim=1)
            correct += int((predicted == labels.to(device)).sum())
            total += len(labels)
    return correct / total


def main() -> None:
    args = parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)  # on pictures of 8x8 pixels, more threads only wait for each other
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    train_set, test_set = load_data(args.data_dir)
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=256)

    model = Net(args.width).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, T_max=args.epochs * len(train_loader)
    )

    start = time.perf_counter()
    samples = steps = 0
    for epoch in range(args.epochs):
        model.train()
        for images, labels in train_loader:
            images, labels = images.to(device), labels.to(device)
            loss = F.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            samples += len(labels)
            steps += 1
        accuracy = evaluate(model, test_loader, device)
        print(f"epoch {epoch + 1}/{args.epochs} loss {loss.item():.4f} accuracy {accuracy:.4f}")

    seconds = time.perf_counter() - start
    print(f"trained on {samples} samples in {steps} steps, {seconds:.1f} s")
    print(f"test accuracy: {accuracy:.4f}")

    if args.model_dir:
        Path(args.model_dir).mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), Path(args.model_dir) / "model.pt")


if __name__ == "__main__":
    main()
