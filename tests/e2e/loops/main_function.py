"""A command-line program: main(), argparse, required options, a saved model."""

import argparse
import json
import logging
import os
from pathlib import Path

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
log = logging.getLogger("train")


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description="Train a small classifier.")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--batch-size", type=int, default=50)
    parser.add_argument("--note", default="", help="Any text; printed back as it came.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model-dir", type=Path, default=os.environ.get("SM_MODEL_DIR"))
    return parser.parse_args(argv)


def build_loaders(batch_size):
    generator = torch.Generator().manual_seed(99)
    x = torch.randn(2200, 15, generator=generator)
    y = (x[:, :3] ** 2).argmax(dim=1)
    train = TensorDataset(x[:2000], y[:2000])
    test = TensorDataset(x[2000:], y[2000:])
    return (
        DataLoader(train, batch_size=batch_size, shuffle=True),
        DataLoader(test, batch_size=batch_size),
    )


def train(model, device, loader, optimizer, criterion):
    model.train()
    samples = batches = 0
    for inputs, targets in loader:
        inputs = inputs.to(device, non_blocking=True)
        targets = targets.to(device, non_blocking=True)
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        samples += targets.numel()
        batches += 1
    return samples, batches


def evaluate(model, device, loader):
    model.eval()
    correct = samples = 0
    with torch.no_grad():
        for inputs, targets in loader:
            predictions = model(inputs.to(device)).argmax(dim=1)
            correct += (predictions == targets.to(device)).sum().item()
            samples += targets.numel()
    return correct / samples, samples


def main():
    args = parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_loader, test_loader = build_loaders(args.batch_size)
    model = nn.Sequential(nn.Linear(15, 64), nn.ReLU(), nn.Linear(64, 3)).to(device)
    criterion = nn.CrossEntropyLoss().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)

    samples, batches, evaluated = [], [], []
    lengths = [len(train_loader)]
    accuracy = 0.0
    for epoch in range(args.epochs):
        s, b = train(model, device, train_loader, optimizer, criterion)
        accuracy, n = evaluate(model, device, test_loader)
        samples.append(s)
        batches.append(b)
        evaluated.append(n)
        lengths.append(len(train_loader))
        log.info("epoch %d accuracy %.4f", epoch, accuracy)

    if args.model_dir:
        args.model_dir = Path(args.model_dir)
        args.model_dir.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), args.model_dir / "model.pt")

    result = {
        "train_samples": samples,
        "train_batches": batches,
        "loader_len": lengths,
        "eval_samples": evaluated,
        "metric_name": "accuracy",
        "metric": accuracy,
        "note": args.note,
    }
    print("RESULT", json.dumps(result))


if __name__ == "__main__":
    main()
