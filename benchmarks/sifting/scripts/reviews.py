"""Train a transformer encoder to tell good film reviews from bad ones (IMDB).

The data folder (--data-dir, or the channel SM_CHANNEL_TRAIN) holds {train,test}_words.npy, numbers
of words of shape (samples, words) with 0 after the end, and {train,test}_labels.npy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from training import Counted, cross_entropy, fit, parser, random_share, report_accuracy, start


class Encoder(nn.Module):
    """Embeddings, transformer layers, the mean over the words that are there, two classes."""

    def __init__(self, words: int, length: int, width: int, layers: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width, padding_idx=0)
        self.place = nn.Parameter(0.02 * torch.randn(length, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, width // 32, 4 * width, dropout=0.1, batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Linear(width, 2)

    def forward(self, words: Tensor) -> Tensor:
        absent = words == 0
        x = self.embed(words) + self.place
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=absent)
        there = (~absent).unsqueeze(2).float()
        return self.fc((self.norm(x) * there).sum(1) / there.sum(1))


def read(folder: Path, split: str, limit: int | None, length: int) -> tuple[Tensor, Tensor]:
    words = np.load(folder / f"{split}_words.npy")[:limit, :length]
    labels = np.load(folder / f"{split}_labels.npy")[:limit]
    return torch.from_numpy(words.astype(np.int64)), torch.from_numpy(labels).long()


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--words", type=int, default=10_000, help="of the vocabulary")
    options.add_argument("--width", type=int, default=256, help="a multiple of 32")
    options.add_argument("--layers", type=int, default=4)
    options.add_argument("--length", type=int, default=256, help="words of a review at most")
    args = options.parse_args()
    device = start(args)

    words, labels = read(args.data_dir, "train", args.limit, args.length)
    chosen = random_share(len(labels), args.share)
    model = Encoder(args.words, args.length, args.width, args.layers).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, weight_decay=0.05)
    dataset = Counted(words[chosen], labels[chosen])
    fit(model, dataset, cross_entropy, optimizer, args, device)
    words, labels = read(args.data_dir, "test", args.test_limit, args.length)
    report_accuracy(model, words, labels, device)


if __name__ == "__main__":
    main()
