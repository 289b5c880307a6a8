"""Accelerate: prepare, accumulate, clip, a schedule it steps, metrics gathered at the end.

With --ragged every batch is as long as its longest text, as tokenizers' collators pad it.
"""

import argparse
import json
import math

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch import nn
from torch.utils.data import DataLoader, Dataset

EPOCHS, ACCUMULATE, WORDS, CLASSES = 3, 2, 40, 5


class Texts(Dataset):
    def __init__(self, size, seed):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, CLASSES, (size,), generator=generator)
        self.tokens = torch.randint(CLASSES, WORDS, (size, 16), generator=generator)
        place = torch.randint(0, 16, (size,), generator=generator)
        self.tokens[torch.arange(size), place] = self.labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"tokens": self.tokens[index], "label": self.labels[index]}


def padded(samples):
    """Every text ends after its class's word; the rest of it is padding up to the longest."""
    longest = max(int((each["tokens"] < CLASSES).nonzero()[0]) for each in samples) + 1
    return {
        "tokens": torch.stack([each["tokens"][:longest] for each in samples]),
        "label": torch.stack([each["label"] for each in samples]),
    }


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 24)
        self.norm = nn.LayerNorm(24)
        self.head = nn.Linear(24, CLASSES)

    def forward(self, tokens):
        return self.head(self.norm(self.embedding(tokens).sum(1)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ragged", action="store_true")
    collate = padded if parser.parse_args().ragged else None
    torch.set_num_threads(1)
    set_seed(7)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATE)
    train_loader = DataLoader(Texts(1600, 1), batch_size=20, shuffle=True, collate_fn=collate)
    eval_loader = DataLoader(Texts(300, 2), batch_size=64, collate_fn=collate)
    model = Bag()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2)
    model, optimizer, train_loader, eval_loader = accelerator.prepare(
        model, optimizer, train_loader, eval_loader
    )
    updates = EPOCHS * math.ceil(len(train_loader) / ACCUMULATE)
    scheduler = accelerator.prepare(
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / updates)
    )

    samples, batches, evaluated = [], [], []
    lengths = [len(train_loader)]
    completed = 0
    for _ in range(EPOCHS):
        model.train()
        samples.append(0)
        batches.append(0)
        for batch in train_loader:
            with accelerator.accumulate(model):
                loss = F.cross_entropy(model(batch["tokens"]), batch["label"])
                accelerator.backward(loss)
                if accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), 1.0)
                    completed += 1
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
            samples[-1] += len(batch["label"])
            batches[-1] += 1
        lengths.append(len(train_loader))

        model.eval()
        hits = []
        for batch in eval_loader:
            with torch.no_grad():
                predicted = model(batch["tokens"]).argmax(-1)
            predicted, label = accelerator.gather_for_metrics((predicted, batch["label"]))
            hits.append(predicted == label)
        hits = torch.cat(hits)
        evaluated.append(len(hits))

    result = {
        "train_samples": samples,
        "train_batches": batches,
        "loader_len": lengths,
        "eval_samples": evaluated,
        "steps": completed,
        "planned_steps": updates,
        "last_lr": scheduler.get_last_lr()[0],
        "metric_name": "accuracy",
        "metric": hits.float().mean().item(),
    }
    print("RESULT", json.dumps(result))


if __name__ == "__main__":
    main()
