"""Batches are dicts, the model takes them as keywords and computes its own loss."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


@dataclass
class ClassifierOutput:
    logits: Tensor
    loss: Tensor | None = None


class Documents(Dataset):
    """Token ids whose class is the vocabulary range most of them come from."""

    def __init__(self, size: int, seed: int) -> None:
        g = torch.Generator().manual_seed(seed)
        self.labels = torch.randint(0, 4, (size,), generator=g)
        topic = self.labels[:, None] * 25 + torch.randint(0, 25, (size, 16), generator=g)
        noise = torch.randint(0, 100, (size, 16), generator=g)
        self.ids = torch.where(torch.rand(size, 16, generator=g) < 0.4, topic, noise)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> dict[str, Tensor]:
        mask = torch.ones(16, dtype=torch.long)
        return {"input_ids": self.ids[i], "attention_mask": mask, "labels": self.labels[i]}


class BagOfWordsForClassification(nn.Module):
    def __init__(self, vocab: int = 100, hidden: int = 32, num_labels: int = 4) -> None:
        super().__init__()
        self.num_labels = num_labels
        self.embeddings = nn.Embedding(vocab, hidden)
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(hidden, num_labels)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> ClassifierOutput:
        hidden = self.embeddings(input_ids)
        if attention_mask is not None:
            hidden = hidden * attention_mask.unsqueeze(-1)
        logits = self.classifier(self.dropout(hidden.mean(dim=1)))
        loss = None
        if labels is not None:
            loss_fct = nn.CrossEntropyLoss()
            loss = loss_fct(logits.view(-1, self.num_labels), labels.view(-1))
        return ClassifierOutput(logits=logits, loss=loss)


def to_device(loader: DataLoader, device: str) -> Iterator[dict[str, Tensor]]:
    for batch in loader:
        yield {k: v.to(device) for k, v in batch.items()}


def evaluate(model: nn.Module, loader: DataLoader, device: str) -> tuple[float, int]:
    model.eval()
    hits = total = 0
    with torch.no_grad():
        for batch in to_device(loader, device):
            outputs = model(**batch)
            hits += (outputs.logits.argmax(-1) == batch["labels"]).sum().item()
            total += len(batch["labels"])
    model.train()
    return hits / total, total


def main() -> None:
    torch.manual_seed(42)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    train_dataloader = DataLoader(Documents(1600, seed=1), batch_size=32, shuffle=True)
    eval_dataloader = DataLoader(Documents(400, seed=2), batch_size=64)
    model = BagOfWordsForClassification().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    num_epochs = 3
    num_training_steps = num_epochs * len(train_dataloader)
    lr_scheduler = torch.optim.lr_scheduler.LinearLR(
        optimizer, start_factor=1.0, end_factor=0.0, total_iters=num_training_steps
    )

    stats: dict = {
        "train_samples": [],
        "train_batches": [],
        "loader_len": [len(train_dataloader)],
        "eval_samples": [],
    }
    model.train()
    for _ in range(num_epochs):
        samples = batches = 0
        for batch in to_device(train_dataloader, device):
            outputs = model(**batch)
            loss = outputs.loss
            loss.backward()
            optimizer.step()
            lr_scheduler.step()
            optimizer.zero_grad()
            samples += len(batch["labels"])
            batches += 1
        stats["train_samples"].append(samples)
        stats["train_batches"].append(batches)
        stats["loader_len"].append(len(train_dataloader))
        accuracy, total = evaluate(model, eval_dataloader, device)
        stats["eval_samples"].append(total)
        print({"accuracy": accuracy, "loss": loss.item()})

    stats |= {"metric_name": "accuracy", "metric": accuracy}
    stats["last_lr"] = lr_scheduler.get_last_lr()[0]
    print("RESULT", json.dumps(stats))


if __name__ == "__main__":
    main()
