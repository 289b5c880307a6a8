"""Train a small transformer to predict the next byte of English text.

The data folder (--data-dir, or the channel SM_CHANNEL_TRAIN) holds {train,test}_bytes.npy, text as
one row of bytes. A sample is --length bytes of it, each with the byte that follows.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from training import Counted, cross_entropy, fit, outputs_of, parser, random_share, start


class Layer(nn.Module):
    """Attention to what came before, and two linear maps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // 32
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        parts = self.attend(self.norm1(x)).chunk(3, dim=2)
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.mix(seen.transpose(1, 2).flatten(2))
        return x + self.narrow(F.gelu(self.widen(self.norm2(x))))


class Transformer(nn.Module):
    def __init__(self, length: int, width: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, width)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.layers = nn.Sequential(*(Layer(width) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, 256)

    def forward(self, text: Tensor) -> Tensor:
        return self.fc(self.norm(self.layers(self.embed(text) + self.place)))


def read(folder: Path, split: str, limit: int | None, length: int) -> tuple[Tensor, Tensor]:
    """Inputs and what follows them, both (samples, length)."""
    text = np.load(folder / f"{split}_bytes.npy", mmap_mode="r")
    count = min((len(text) - 1) // length, limit or len(text))
    text = torch.from_numpy(text[: count * length + 1].astype(np.int64))
    return text[:-1].view(count, length), text[1:].view(count, length)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--width", type=int, default=384, help="a multiple of 32")
    options.add_argument("--layers", type=int, default=6)
    options.add_argument("--length", type=int, default=256)
    args = options.parse_args()
    device = start(args)

    inputs, targets = read(args.data_dir, "train", args.limit, args.length)
    chosen = random_share(len(inputs), args.share)
    model = Transformer(args.length, args.width, args.layers).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, betas=(0.9, 0.95), weight_decay=0.1)
    fit(model, Counted(inputs[chosen], targets[chosen]), cross_entropy, optimizer, args, device)

    inputs, targets = read(args.data_dir, "test", args.test_limit, args.length)
    losses = [
        cross_entropy(outputs, rows.to(device)).item() * len(rows)
        for outputs, rows in zip(
            outputs_of(model, inputs, device, 100), targets.split(100), strict=True
        )
    ]
    print(f"test bits per byte: {sum(losses) / len(inputs) / math.log(2):.4f}")


if __name__ == "__main__":
    main()
