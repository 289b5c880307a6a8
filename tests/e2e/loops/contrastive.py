"""A contrastive loss: every sample's loss depends on the rest of its batch (SimCLR)."""

import json

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)


class TwoViews(Dataset):
    def __init__(self, base: torch.Tensor) -> None:
        self.base = base

    def __len__(self) -> int:
        return self.base.shape[0]

    def augment(self, x: torch.Tensor) -> torch.Tensor:
        return x * (torch.rand_like(x) > 0.2) + 0.1 * torch.randn_like(x)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.augment(self.base[i]), self.augment(self.base[i])


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(32, 64), nn.ReLU())
        self.head = nn.Linear(64, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.head(self.body(x)), dim=1)


def info_nce(features: torch.Tensor, temperature: float = 0.2) -> torch.Tensor:
    """Both views stacked, [2n, d]: the positive of row i is row i + n (modulo 2n)."""
    n = features.shape[0] // 2
    similarity = features @ features.T / temperature
    similarity.fill_diagonal_(float("-inf"))
    positives = torch.cat([torch.arange(n, 2 * n), torch.arange(n)])
    return F.cross_entropy(similarity, positives)


def main() -> None:
    torch.manual_seed(2)
    loader = DataLoader(
        TwoViews(torch.randn(1600, 32)), batch_size=64, shuffle=True, drop_last=True
    )
    encoder = Encoder()
    optimizer = torch.optim.Adam(encoder.parameters(), lr=1e-3)
    samples, batches, lengths = [], [], [len(loader)]
    for _ in range(3):
        seen = steps = 0
        losses = []
        for first, second in loader:
            features = encoder(torch.cat([first, second], dim=0))
            loss = info_nce(features)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            seen += first.shape[0]
            steps += 1
        samples.append(seen)
        batches.append(steps)
        lengths.append(len(loader))
    result = {"train_samples": samples, "train_batches": batches, "loader_len": lengths}
    result |= {"eval_samples": [], "metric_name": "loss", "metric": sum(losses) / len(losses)}
    print("RESULT", json.dumps(result))


if __name__ == "__main__":
    main()
