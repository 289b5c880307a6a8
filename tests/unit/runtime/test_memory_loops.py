"""Scripts sifted by the losses of their own training steps, each loop in this process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from script_loops import (
    BATCH,
    CLASSES,
    FEATURES,
    SAMPLES,
    VERIFIED,
    fit,
    loader,
    net,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from smart_sifting.job_report import JobReport

READ = "the losses of the script's own training steps, checked against a replay of them"


class Counting(Dataset[tuple[Tensor, Tensor, int]]):
    """Samples that say their index, and remember how often they were loaded."""

    def __init__(self, samples: int = SAMPLES) -> None:
        generator = torch.Generator().manual_seed(0)
        self.x = torch.randn(samples, FEATURES, generator=generator)
        self.loaded: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        self.loaded[index] += 1
        return self.x[index], self.x[index][:CLASSES].argmax(), index


def train(batches: Any, epochs: int, model: nn.Module | None = None) -> list[list[int]]:
    """The usual loop; gives the indices of each epoch."""
    model = net() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen: list[list[int]] = []
    for _ in range(epochs):
        seen.append([])
        for x, y, index in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            seen[-1] += index.tolist()
    return seen


@pytest.mark.parametrize("name", VERIFIED)
def test_losses_of_this_kind_are_read_off_the_training_steps(
    name: str, discover: Callable[..., JobReport]
) -> None:
    report = discover(source="auto")

    seen = fit(loader(), VERIFIED[name], epochs=2)

    assert (report.tier, report.reason) == ("memory", READ)
    assert (seen.batches, seen.samples) == (60, 960)
    assert (report.meter.seen, report.meter.kept, report.meter.loaded) == (1920, 960, 960)


def test_what_is_dropped_is_never_loaded(discover: Callable[..., JobReport]) -> None:
    report = discover(source="memory")
    data = Counting()

    seen = train(DataLoader(data, batch_size=BATCH, shuffle=True), epochs=4)

    assert [len(each) for each in seen] == [480, 480, 480, 480]
    assert sum(data.loaded.values()) == 1920
    assert report.tier == "memory"


def test_evenly_means_that_two_epochs_of_a_half_visit_every_sample_once(
    discover: Callable[..., JobReport],
) -> None:
    report = discover(source="batch")

    seen = train(DataLoader(Counting(), batch_size=BATCH, shuffle=True), epochs=6)

    assert (report.tier, report.reason) == ("batch", "every sample equally often, as asked")
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert sorted(first + second) == list(range(SAMPLES))


def test_a_job_that_chooses_its_share_goes_down_and_ends_its_schedule(
    discover: Callable[..., JobReport],
) -> None:
    report = discover(keep=0.3, auto=True, source="auto")
    batches, model = loader(), net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    told = len(batches)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=8 * told)

    given, ends = [], []
    for _ in range(8):
        given.append(0)
        for x, y in batches:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()
            given[-1] += 1
        ends.append(schedule.last_epoch)

    assert told == 60
    assert given[:4] == [60] * 4
    assert given[4] < 60
    assert given[4:] == sorted(given[4:], reverse=True)
    assert 18 <= given[-1] < 40  # never less than was asked for
    assert len(batches) == given[-1]
    # Fewer steps take the schedule as far: every epoch by as much as it was built for.
    assert ends == [60 * epoch for epoch in range(1, 9)]
    assert report.keep == pytest.approx(given[-1] / 60, abs=0.02)


def test_a_share_that_cannot_be_chosen_is_a_half(discover: Callable[..., JobReport]) -> None:
    report = discover(keep=0.3, auto=True, source="batch")

    seen = train(DataLoader(Counting(), batch_size=BATCH, shuffle=True), epochs=2)

    assert [len(each) for each in seen] == [480, 480]
    assert "keep auto: 50%, for the losses of samples are not known" in report.notes


def test_the_classes_seen_and_kept_are_counted_once_all_are_known(
    discover: Callable[..., JobReport],
) -> None:
    report = discover(source="memory")
    data = Counting()
    labels = [int(row[:CLASSES].argmax()) for row in data.x]

    train(DataLoader(data, batch_size=BATCH, shuffle=True), epochs=12)

    counted = {label: seen for label, (seen, _) in report.meter.classes.items()}
    epochs = counted[0] // labels.count(0)
    assert epochs >= 1
    assert counted == {label: epochs * labels.count(label) for label in range(CLASSES)}
    assert sum(kept for _, kept in report.meter.classes.values()) == epochs * 480


@pytest.mark.parametrize("kind", ["label smoothing", "own mean", "class weights"])
def test_classes_are_known_however_a_loss_is_put_together(
    kind: str, discover: Callable[..., JobReport]
) -> None:
    report = discover(source="memory")
    fit(loader(), VERIFIED[kind], epochs=12)
    assert sorted(report.meter.classes) == [0, 1, 2, 3]


def test_a_fold_does_not_inherit_the_classes_of_the_fold_before(
    discover: Callable[..., JobReport],
) -> None:
    report = discover(source="memory")
    model = net()

    def fold(turned: int) -> dict[int, list[int]]:
        """Of classes that are all others; made anew in the place of the one before."""
        whole = Counting()
        whole.x = whole.x.roll(turned, dims=1)
        report.meter.classes.clear()
        train(DataLoader(whole, batch_size=BATCH, shuffle=True), epochs=12, model=model)
        counts = Counter(int(row[:CLASSES].argmax()) for row in whole.x)
        epochs = report.meter.classes[0][0] // counts[0]
        seen = {label: seen for label, (seen, _) in report.meter.classes.items()}
        assert seen == {label: epochs * counts[label] for label in range(CLASSES)}
        return seen

    assert fold(0) != fold(1)


def test_under_lightning_a_job_that_chooses_its_share_keeps_all(
    discover: Callable[..., JobReport],
) -> None:
    """Its epochs would end before it validates."""
    report = discover(keep=0.3, auto=True, source="auto")
    loops = {"__name__": "pytorch_lightning.loops.fit_loop", "train": train}
    exec("def run(batches): return train(batches, epochs=7)", loops)

    seen = loops["run"](DataLoader(Counting(), batch_size=BATCH, shuffle=True))

    assert [len(each) for each in seen] == [SAMPLES] * 7
    assert "keep auto: 100%, for Lightning counts on epochs of one length" in report.notes


class Uneven(Counting):
    """One sample in 40 is of the class 3, which is easy to tell."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, int]:
        x, _, index = super().__getitem__(index)
        rare = index % 40 == 0
        return x + 3 * rare, torch.tensor(3) if rare else x[:3].argmax(), index


@pytest.mark.parametrize(("class_floor", "visits"), [(0.5, [6, 6]), (0.0, [3, 3])])
def test_a_rare_class_is_visited_whole_in_every_epoch_once_it_is_known(
    discover: Callable[..., JobReport], class_floor: float, visits: list[int]
) -> None:
    discover(source="memory", class_floor=class_floor)

    seen = train(DataLoader(Uneven(), batch_size=BATCH, shuffle=True), epochs=22)

    rare = Counter(index for each in seen[-6:] for index in each if index % 40 == 0)
    assert [min(rare.values()), max(rare.values())] == visits
    assert [len(each) for each in seen[-6:]] == [480] * 6


class Rounds(Sampler[int]):
    """Goes on for ever, and says how long a round is, as samplers for iterations do."""

    def __len__(self) -> int:
        return SAMPLES

    def __iter__(self) -> Iterator[int]:
        while True:
            yield from torch.randperm(SAMPLES).tolist()


def test_a_loop_by_iterations_is_scored_and_never_ends(discover: Callable[..., JobReport]) -> None:
    report = discover(source="auto")
    batches = iter(DataLoader(Counting(), batch_size=BATCH, sampler=Rounds()))
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    for _ in range(150):
        x, y, _ = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    assert (report.tier, report.reason) == (
        "forward",
        "the script's own loss, replayed on other batches, agrees with it; "
        "its sampler goes on beyond its length",
    )
    assert report.meter.seen >= 2 * (150 - 30) * BATCH
