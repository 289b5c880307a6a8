"""Train a residual network on small pictures: CIFAR-10 with a ResNet-18, Fashion-MNIST with less.

The data folder (--data-dir, or the channel SM_CHANNEL_TRAIN) holds {train,test}_images.npy, bytes
of shape (samples, height, width, channels), and {train,test}_labels.npy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from training import Counted, cross_entropy, fit, parser, random_share, report_accuracy, start

CLASSES = 10
PADDING = 4


class Block(nn.Module):
    """Two 3x3 convolutions and the way around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    """As many stages as `depths` has numbers of blocks; each halves the picture and doubles the
    channels. Width 64 and depths 2, 2, 2, 2 are the ResNet-18 that is usual on CIFAR-10."""

    def __init__(self, channels: int, width: int, depths: list[int], stem_stride: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        inputs = width
        for stage, depth in enumerate(depths):
            outputs = width * 2**stage
            for number in range(depth):
                blocks.append(Block(inputs, outputs, 2 if stage and not number else 1))
                inputs = outputs
        self.stem = nn.Conv2d(channels, width, 3, stem_stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.bn(self.stem(x))))
        return self.fc(x.mean(dim=(2, 3)))


class Augmented(Counted):
    """Pictures that are shifted by up to four pixels and mirrored each time they are loaded."""

    def transform(self, each: Tensor) -> Tensor:
        """A crop of the picture with a margin of zeros, in half of the cases mirrored."""
        height, width = each.shape[1:]
        down, right, mirrored = torch.randint(0, 2 * PADDING + 1, (3,)).tolist()
        padded = F.pad(each, (PADDING,) * 4)[:, down : down + height, right : right + width]
        return padded.flip(2) if mirrored % 2 else padded


def read(folder: Path, split: str, limit: int | None) -> tuple[Tensor, Tensor]:
    """Bytes (samples, channels, height, width) and integer labels."""
    images = torch.from_numpy(np.load(folder / f"{split}_images.npy", mmap_mode="r")[:limit].copy())
    labels = torch.from_numpy(np.load(folder / f"{split}_labels.npy")[:limit])
    return images.permute(0, 3, 1, 2), labels.long()


def flip_labels(labels: Tensor, share: float) -> Tensor:
    """The same labels with a share of them wrong, the same ones in every run."""
    generator = torch.Generator().manual_seed(1)
    wrong = torch.randperm(len(labels), generator=generator)[: round(share * len(labels))]
    moved = torch.randint(1, CLASSES, (len(wrong),), generator=generator)
    flipped = labels.clone()
    flipped[wrong] = (labels[wrong] + moved) % CLASSES
    return flipped


def long_tail(labels: Tensor, imbalance: float) -> Tensor:
    """Indices by which class k has imbalance**(-k/9) of class 0's samples (Cui et al., 2019)."""
    largest = int(labels.bincount().min())
    kept = [
        (labels == label).nonzero().flatten()[: round(largest * imbalance ** (-label / 9))]
        for label in range(CLASSES)
    ]
    return torch.cat(kept).sort().values


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--width", type=int, default=64, help="channels of the first stage")
    options.add_argument("--depths", type=int, nargs="+", default=[2, 2, 2, 2])
    options.add_argument("--stem-stride", type=int, default=1)
    options.add_argument("--augment", action="store_true", help="shift and mirror")
    options.add_argument("--flipped", type=float, default=0.0, help="share of wrong labels")
    options.add_argument("--imbalance", type=float, default=1.0, help="largest to smallest class")
    args = options.parse_args()
    device = start(args)

    images, labels = read(args.data_dir, "train", args.limit)
    some = images[:10_000].float() / 255
    mean, std = some.mean((0, 2, 3), keepdim=True), some.std((0, 2, 3), keepdim=True)
    if args.flipped:
        labels = flip_labels(labels, args.flipped)
    chosen = long_tail(labels, args.imbalance) if args.imbalance > 1 else torch.arange(len(labels))
    chosen = chosen[random_share(len(chosen), args.share)]
    inputs = (images[chosen].float() / 255 - mean) / std
    dataset = (Augmented if args.augment else Counted)(inputs.contiguous(), labels[chosen])

    model = ResNet(images.shape[1], args.width, args.depths, args.stem_stride)
    model.to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), args.lr, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    fit(model, dataset, cross_entropy, optimizer, args, device)
    images, labels = read(args.data_dir, "test", args.test_limit)
    report_accuracy(model, (images.float() / 255 - mean) / std, labels, device)


if __name__ == "__main__":
    main()
