"""The training scripts: what they count, the controls they offer, and the peers' own loops."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn

from benchmarks.sifting.workloads import SCRIPTS

# Stands in for the peer's package, which is no part of this project: its sampler, too, chooses
# anew whenever it is iterated. Two in four are chosen the first times, and all in the last epoch.
INFOBATCH = """
class Sampler:
    def __init__(self, dataset):
        self.dataset = dataset
        self.sample_indices = []

    def __iter__(self):
        self.dataset.choices += 1
        whole = self.dataset.choices >= self.dataset.epochs
        self.sample_indices = list(range(0, len(self.dataset), 1 if whole else 2))
        return iter(self.sample_indices)


class InfoBatch:
    def __init__(self, dataset, epochs):
        self.dataset, self.epochs, self.choices = dataset, epochs, 0
        self.sampler = Sampler(self)

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        return self.dataset[index]

    def update(self, losses):
        assert losses.shape == (10,)
        return losses.mean()
"""


@pytest.fixture
def scripts(monkeypatch):
    """The folder of the scripts as a job has it: first on the path."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    for name in ("training", "peers", "images", "infobatch"):
        sys.modules.pop(name, None)


@pytest.fixture
def training(scripts) -> ModuleType:
    return import_module("training")


def train(training: ModuleType, **options: object) -> tuple[object, object]:
    """Forty samples in batches of ten; what it cost, and the dataset with its count."""
    torch.manual_seed(0)
    args = argparse.Namespace(
        **{"epochs": 2.0, "batch_size": 10, "lr": 0.1, "workers": 0, "peer": None} | options
    )
    dataset = training.Counted(torch.randn(40, 3), torch.randint(0, 2, (40,)))
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), args.lr)
    cpu = torch.device("cpu")
    tally = training.fit(model, dataset, training.cross_entropy, optimizer, args, cpu)
    return tally, dataset


def test_plain_training_counts_its_samples_and_ends_its_schedule(training):
    tally, dataset = train(training)
    assert (tally.samples, tally.steps, tally.scored, dataset.loads) == (80, 8, 0, 80)
    assert tally.last_lr < 1e-5


def test_part_of_an_epoch_is_trained_with_a_schedule_of_its_length(training):
    tally, dataset = train(training, epochs=1.5)
    assert (tally.samples, tally.steps, dataset.loads) == (60, 6, 60)
    assert tally.last_lr < 1e-5


def test_samples_are_counted_in_workers_too(training):
    assert train(training, workers=2)[1].loads == 80


def test_selective_backprop_drops_half_of_every_other_batch_in_its_stretch(training):
    tally, dataset = train(training, epochs=5.0, peer="selective-backprop")
    # Of 20 steps, those from the 10th to before the 18th whose batch has an even number.
    assert (tally.steps, tally.scored) == (20, 4 * 10)
    assert tally.samples == 200 - 4 * 5
    assert dataset.loads == 200
    assert tally.last_lr < 1e-5


def test_infobatch_chooses_once_an_epoch_and_ends_its_schedule(training, tmp_path: Path):
    (tmp_path / "infobatch.py").write_text(INFOBATCH)
    tally, dataset = train(training, epochs=3.0, peer="infobatch", peer_code=tmp_path)
    assert (tally.samples, tally.steps, dataset.loads) == (20 + 20 + 40, 2 + 2 + 4, 80)
    assert tally.last_lr < 1e-5


def test_rows_are_drawn_by_the_rank_of_their_loss(training):
    peers = import_module("peers")
    losses = torch.tensor([5.0, 0.1, 3.0, 0.2])
    drawn = torch.stack([peers.chosen_by_rank(losses, 0.5).sort().values for _ in range(300)])
    assert drawn.shape == (300, 2)
    times = drawn.flatten().bincount(minlength=4).tolist()
    assert times[0] > times[2] > times[3] > times[1]


def test_a_text_s_loss_is_the_mean_over_its_bytes(training):
    peers = import_module("peers")
    outputs, targets = torch.randn(2, 3, 5), torch.randint(0, 5, (2, 3))
    expected = [nn.functional.cross_entropy(outputs[row], targets[row]) for row in (0, 1)]
    assert peers.row_losses(outputs, targets).tolist() == pytest.approx(
        [each.item() for each in expected]
    )


def test_flipped_labels_are_wrong_and_the_same_in_every_run(training):
    images = import_module("images")
    labels = torch.arange(1000) % 10
    flipped = images.flip_labels(labels, 0.2)
    assert int((flipped != labels).sum()) == 200
    assert set(flipped.tolist()) == set(range(10))
    torch.manual_seed(7)
    assert images.flip_labels(labels, 0.2).equal(flipped)


def test_a_long_tail_falls_off_from_class_to_class(training):
    images = import_module("images")
    labels = torch.arange(5000) % 10
    kept = images.long_tail(labels, 50)
    assert labels[kept].bincount().tolist() == [500, 324, 210, 136, 88, 57, 37, 24, 15, 10]


def test_a_random_share_is_drawn_without_repeats(training):
    torch.manual_seed(0)
    chosen = training.random_share(100, 0.3).tolist()
    assert len(set(chosen)) == len(chosen) == 30
    assert training.random_share(3, 1).tolist() == [0, 1, 2]


def test_augmented_pictures_keep_their_size_and_differ_from_load_to_load(training):
    images = import_module("images")
    torch.manual_seed(0)
    pictures = images.Augmented(torch.rand(1, 3, 32, 32), torch.zeros(1))
    first, second = pictures[0][0], pictures[0][0]
    assert first.shape == (3, 32, 32)
    assert not first.equal(second)
