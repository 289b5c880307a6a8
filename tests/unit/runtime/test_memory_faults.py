"""Bad input, odd scripts and faults: what is given stays exact, and the script goes on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from script_loops import BATCH, CLASSES, FEATURES, SAMPLES, net
from test_memory_loops import READ, Counting
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset, WeightedRandomSampler

from smart_sifting.job_report import JobReport

Start = Callable[..., JobReport]
Loss = Callable[[nn.Module, Any], Tensor]

TIERS = ("memory", "batch", "forward")
EVEN = "every sample equally often"
REPLAYED = "the script's own loss, replayed on other batches, agrees with it"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost tiny models more than they give."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def tiers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines in the job's log that name a tier."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("smart_sifting")
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "level", logging.INFO)
    logger.manager._clear_cache()  # type: ignore[attr-defined]
    return lines


def cross_entropy(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


class Script:
    """A model with its optimizer, and the loop that trains it."""

    def __init__(self, model: nn.Module | None = None, loss: Loss = cross_entropy) -> None:
        self.model = net() if model is None else model
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        self.loss = loss

    def step(self, batch: Any) -> list[int]:
        """One training step; gives the batch's samples."""
        self.optimizer.zero_grad()
        self.loss(self.model, batch).backward()
        self.optimizer.step()
        samples: list[int] = batch[2].tolist()
        return samples

    def epoch(self, batches: Any) -> list[int]:
        """The samples of an epoch, in order."""
        return [sample for batch in batches for sample in self.step(batch)]


def shuffled(data: Dataset[Any] | None = None, **options: Any) -> DataLoader[Any]:
    data = Counting() if data is None else data
    return DataLoader(data, **{"batch_size": BATCH, "shuffle": True, **options})


def sizes(epochs: list[list[int]]) -> list[int]:
    return [len(each) for each in epochs]


def even(epochs: list[list[int]], samples: int = SAMPLES) -> bool:
    """Whether each two epochs visit every sample once."""
    pairs = zip(epochs[::2], epochs[1::2], strict=True)
    return all(sorted(first + second) == list(range(samples)) for first, second in pairs)


# -- much, little, nothing -------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["memory", "batch"])
@pytest.mark.parametrize("workers", [0, 2])
def test_keeping_everything_changes_no_bit(source: str, workers: int, discover: Start) -> None:
    def trained() -> tuple[list[int], list[Tensor]]:
        torch.manual_seed(1)
        model = nn.Sequential(
            nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, CLASSES)
        )
        loader = shuffled(Counting(500), num_workers=workers, persistent_workers=workers > 0)
        order = list(chain(*(Script(model).epoch(loader) for _ in range(3))))
        return order, [*model.state_dict().values(), torch.get_rng_state()]

    order, state = trained()
    report = discover(keep=1.0, source=source)
    sifted_order, sifted_state = trained()

    assert report.tier == source
    assert sifted_order == order
    assert all(torch.equal(a, b) for a, b in zip(state, sifted_state, strict=True))


@pytest.mark.parametrize("source", TIERS)
def test_one_sample_an_epoch_is_left_when_hardly_anything_is_kept(
    source: str, discover: Start
) -> None:
    report = discover(keep=1e-6, source=source)
    loader, script = shuffled(), Script()

    length = len(loader)
    epochs = [script.epoch(loader) for _ in range(4)]

    # The first has the four whole batches that discovery needs.
    assert (length, sizes(epochs), len(loader)) == (1, [64, 1, 1, 1], 1)
    assert (report.tier, report.meter.seen, report.meter.kept) == (source, 3840, 67)


@pytest.mark.parametrize("source", TIERS)
def test_one_batch_an_epoch_is_left_where_short_ones_are_dropped(
    source: str, discover: Start
) -> None:
    discover(keep=1e-6, source=source)
    loader, script = shuffled(drop_last=True), Script()

    epochs = [script.epoch(loader) for _ in range(4)]

    assert (sizes(epochs), len(loader)) == ([64, 16, 16, 16], 1)


@pytest.mark.parametrize("source", TIERS)
def test_a_data_set_smaller_than_a_batch(source: str, discover: Start) -> None:
    report = discover(source=source)
    loader, script = shuffled(Counting(10)), Script()

    length = len(loader)
    epochs = [script.epoch(loader) for _ in range(8)]

    # Four batches, which are four epochs here, until its role is known.
    assert (length, sizes(epochs)) == (1, [10, 10, 10, 10, 5, 5, 5, 5])
    assert (report.tier, report.meter.epochs) == (source, 8)
    assert source != "batch" or even(epochs[4:], 10)


@pytest.mark.parametrize("source", TIERS)
def test_batches_of_one_sample(source: str, discover: Start) -> None:
    report = discover(source=source)
    loader, script = shuffled(Counting(96), batch_size=1), Script()

    length = len(loader)
    epochs = [script.epoch(loader) for _ in range(4)]

    assert (length, sizes(epochs), len(loader)) == (48, [48, 48, 48, 48], 48)
    assert (report.tier, report.meter.batches_given) == (source, 192)
    assert source != "batch" or even(epochs, 96)


@pytest.mark.parametrize("source", TIERS)
def test_nine_tenths(source: str, discover: Start) -> None:
    report = discover(keep=0.9, source=source)
    loader, script = shuffled(), Script()

    epochs = [script.epoch(loader) for _ in range(4)]

    assert (sizes(epochs), len(loader)) == ([864, 864, 864, 864], 54)
    assert all(len(set(epoch)) == 864 for epoch in epochs)
    assert (report.tier, report.meter.seen, report.meter.kept) == (source, 3840, 3456)


# -- losses that say nothing -----------------------------------------------------------------------


class Scaled(nn.Module):
    """A model whose answers are all multiplied by one number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, CLASSES)
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear(x) * self.factor
        return out


def test_where_all_losses_are_equal_every_sample_is_visited_equally_often(
    discover: Start, tiers: list[str]
) -> None:
    discover(source="auto")
    loader, script = shuffled(), Script(Scaled(0.0))

    epochs = [script.epoch(loader) for _ in range(4)]

    assert tiers == [f"sift: tier memory: {READ}"]
    assert Counter(Counter(chain(*epochs)).values()) == {2: SAMPLES}


@pytest.mark.parametrize(
    ("source", "tier", "given"),
    [("auto", "batch", 480), ("memory", "batch", 480), ("forward", "pass-through", 960)],
)
def test_a_loss_that_is_never_finite(
    source: str, tier: str, given: int, discover: Start, tiers: list[str]
) -> None:
    report = discover(source=source)
    loader, script = shuffled(), Script(Scaled(float("nan")))

    epochs = [script.epoch(loader) for _ in range(4)]

    assert (report.tier, sizes(epochs)) == (tier, [given] * 4)
    why = "losses are not finite in the first steps"
    assert tiers == [f"sift: tier {tier}: {why if tier != 'batch' else f'{EVEN}: {why}'}"]
    assert tier != "batch" or even(epochs)


def test_samples_whose_loss_is_not_finite_come_first_in_the_next_epoch(discover: Start) -> None:
    report = discover(source="memory")
    broken = set(range(0, SAMPLES, 16))
    loader, script = shuffled(), Script()
    epochs = [script.epoch(loader), []]
    for x, y, samples in loader:
        nan = torch.tensor([sample in broken for sample in samples.tolist()])
        loss = F.cross_entropy(script.model(x.masked_fill(nan[:, None], float("nan"))), y)
        script.optimizer.zero_grad()
        loss.backward()
        if loss.isfinite():  # as many scripts skip such a step
            script.optimizer.step()
        epochs[1] += samples.tolist()
    seen_broken = broken & set(epochs[1])
    epochs += [script.epoch(loader) for _ in range(3)]

    assert len(seen_broken) > 20
    assert seen_broken <= set(epochs[2])
    assert sizes(epochs) == [480] * 5
    assert report.meter.non_finite == report.receipt().samples.non_finite == len(seen_broken)


# -- data that changes -----------------------------------------------------------------------------


@pytest.mark.parametrize("source", TIERS)
@pytest.mark.parametrize("samples", [1600, 320])
def test_a_data_set_that_grows_or_shrinks_between_epochs(
    source: str, samples: int, discover: Start
) -> None:
    report = discover(source=source)
    data = Counting()
    loader, script = shuffled(data), Script()
    epochs = [script.epoch(loader) for _ in range(2)]

    data.x = torch.randn(samples, FEATURES)
    length = len(loader)
    epochs += [script.epoch(loader) for _ in range(4)]

    assert (length, len(loader)) == (samples // 32, samples // 32)
    assert sizes(epochs) == [480, 480, *[samples // 2] * 4]
    assert max(chain(*epochs[2:])) < samples
    assert report.tier == source
    assert report.meter.seen == 2 * 960 + 4 * samples
    assert source != "batch" or even(epochs[:2])
    # Those that were there before are owed as much as the new ones: two epochs after the change.
    assert source != "batch" or even(epochs[2:], samples)


def test_a_new_loader_over_data_of_another_length(discover: Start) -> None:
    report = discover(source="memory")
    script, epochs, lengths = Script(), [], []
    for samples in (960, 1600, 320, 960):
        loader = shuffled(Counting(samples))
        epochs.append(script.epoch(loader))
        lengths.append(len(loader))

    assert (sizes(epochs), lengths) == ([480, 800, 160, 480], [30, 50, 10, 30])
    assert (report.tier, report.meter.epochs) == ("memory", 4)


@pytest.mark.parametrize("source", TIERS)
def test_a_loader_made_anew_for_every_epoch(source: str, discover: Start) -> None:
    report = discover(source=source)
    data, script = Counting(), Script()

    epochs = [script.epoch(shuffled(data)) for _ in range(6)]

    assert sizes(epochs) == [480] * 6
    assert report.tier == source
    assert source == "forward" or report.meter.loaded == 6 * 480
    assert source != "batch" or even(epochs)


@pytest.mark.parametrize("source", ["memory", "batch"])
def test_a_data_set_made_anew_for_every_epoch_is_the_same_data(
    source: str, discover: Start
) -> None:
    discover(source=source)
    script = Script()

    epochs = [script.epoch(shuffled(Counting())) for _ in range(6)]

    assert sizes(epochs) == [480] * 6
    assert len(set(chain(*epochs[:3]))) > 900
    assert source != "batch" or even(epochs)


@pytest.mark.parametrize("source", ["memory", "batch"])
def test_a_samplers_weights_survive(source: str, discover: Start) -> None:
    report = discover(source=source)
    weights = torch.ones(SAMPLES)
    weights[:240] = 3.0  # a quarter of the samples, half of the draws
    draws = WeightedRandomSampler(weights, SAMPLES, generator=torch.Generator().manual_seed(1))
    loader, script = shuffled(shuffle=None, sampler=draws), Script()

    epochs = [script.epoch(loader) for _ in range(8)]

    heavy = sum(sample < 240 for sample in chain(*epochs)) / (8 * 480)
    assert (report.tier, sizes(epochs)) == (source, [480] * 8)
    assert heavy == pytest.approx(0.5, abs=0.01 if source == "batch" else 0.08)


class Labelled(Counting):
    """Samples with labels of some kind."""

    def __init__(self, labels: str) -> None:
        super().__init__()
        self.labels = labels

    def __getitem__(self, index: int) -> Any:
        x, y, _ = super().__getitem__(index)
        if self.labels == "floats":
            return x, 2 * x[0], index
        if self.labels == "one hot":
            return x, F.one_hot(y, CLASSES).float(), index
        if self.labels == "bools":
            return x, y == 0, index
        if self.labels == "classes as doubles":
            return x, y.double(), index
        return x, y, index, f"sample {index}", {"path": f"{index}.png"}


LABELLED: dict[str, Loss] = {
    "floats": lambda m, b: F.mse_loss(m(b[0])[:, 0], b[1]),
    "one hot": cross_entropy,
    "bools": lambda m, b: F.binary_cross_entropy_with_logits(m(b[0])[:, 0], b[1].float()),
    "classes as doubles": lambda m, b: F.cross_entropy(m(b[0]), b[1].long()),
    "strings beside": cross_entropy,
}


@pytest.mark.parametrize("labels", LABELLED)
def test_labels_that_are_no_integers(labels: str, discover: Start, tiers: list[str]) -> None:
    report = discover(source="memory")
    loader, script = shuffled(Labelled(labels)), Script(loss=LABELLED[labels])

    epochs = [script.epoch(loader) for _ in range(3)]

    assert (sizes(epochs), tiers) == ([480] * 3, [f"sift: tier memory: {READ}"])
    assert (report.meter.seen, report.meter.loaded) == (2880, 1440)


# -- several loaders at once -----------------------------------------------------------------------


@pytest.mark.parametrize("source", TIERS)
def test_steps_on_two_loaders_in_turn(source: str, discover: Start) -> None:
    report = discover(source=source)
    long, short = shuffled(), shuffled(Counting(640))
    script = Script()
    given: list[list[list[int]]] = [[], []]
    for _ in range(4):
        others = iter(short)
        given[0].append([])
        given[1].append([])
        for batch in long:
            given[0][-1] += script.step(batch)
            if (other := next(others, None)) is not None:
                given[1][-1] += script.step(other)

    assert [sizes(each) for each in given] == [[480] * 4, [320] * 4]
    assert (report.tier, len(long), len(short)) == (source, 30, 20)
    assert source != "batch" or (even(given[0]) and even(given[1], 640))


ZIPPED = [
    ("auto", "forward", f"{REPLAYED}; it is not plain which loader's batch a training step is on"),
    ("memory", "batch", f"{EVEN}: it is not plain which loader's batch a training step is on"),
    ("batch", "batch", f"{EVEN}, as asked"),
    ("forward", "forward", REPLAYED),
]


@pytest.mark.parametrize("anew", [False, True], ids=["kept", "made anew"])
@pytest.mark.parametrize(("source", "tier", "reason"), ZIPPED)
def test_two_loaders_over_the_same_data_zipped(
    source: str, tier: str, reason: str, anew: bool, discover: Start
) -> None:
    report = discover(source=source)
    data, script = Counting(), Script()
    loaders = shuffled(data), shuffled(data)
    given: list[list[list[int]]] = [[], []]
    for _ in range(4):
        if anew:
            loaders = shuffled(data), shuffled(data)
        given[0].append([])
        given[1].append([])
        for batches in zip(*loaders, strict=True):
            for seen, batch in zip(given, batches, strict=True):
                seen[-1] += script.step(batch)

    assert [sizes(each) for each in given] == [[480] * 4, [480] * 4]
    assert (report.tier, report.reason) == (tier, reason)
    assert (report.meter.seen, report.meter.kept, report.meter.epochs) == (7680, 3840, 8)
    # Each of them, also the one whose batch is not the latest when an optimizer steps.
    assert tier != "batch" or (even(given[0]) and even(given[1]))


@pytest.mark.parametrize("source", ["memory", "batch"])
def test_an_epoch_within_an_epoch_over_the_same_data(source: str, discover: Start) -> None:
    report = discover(source=source)
    data, script = Counting(), Script()
    outer: list[list[int]] = []
    inner: list[list[int]] = []
    for _ in range(4):
        outer.append([])
        for number, batch in enumerate(shuffled(data)):
            outer[-1] += script.step(batch)
            if number == 20:
                inner.append(script.epoch(shuffled(data)))

    assert (report.tier, sizes(outer), sizes(inner)) == (source, [480] * 4, [480] * 4)
    assert source != "batch" or (even(outer) and even(inner))


@pytest.mark.parametrize(
    ("source", "tier"), [("forward", "forward"), ("auto", "batch"), ("memory", "batch")]
)
def test_a_second_loader_that_joins_a_sifted_one_is_sifted_too(
    source: str, tier: str, discover: Start
) -> None:
    report = discover(source=source)
    first, second, script = shuffled(), shuffled(), Script()
    script.epoch(first)

    epochs: list[list[int]] = []
    for _ in range(3):
        epochs.append([])
        for batch, other in zip(first, second, strict=True):
            script.step(batch)
            epochs[-1] += script.step(other)

    assert (report.tier, sizes(epochs)) == (tier, [480] * 3)


def test_one_loss_of_two_loaders_batches_sifts_one_of_them_evenly(discover: Start) -> None:
    report = discover(source="auto")
    long, short, script = shuffled(), shuffled(Counting(640)), Script()
    script.loss = lambda m, b: cross_entropy(m, b[0]) + cross_entropy(m, b[1])
    given = []
    for _ in range(4):
        given.append([])
        for first, second in zip(long, short, strict=False):
            script.step((first, second, first[2]))
            given[-1] += second[2].tolist()

    assert report.tier == "batch"
    assert (sizes(given), len(short), len(long)) == ([320] * 4, 20, 60)
    assert even(given, 640)


@pytest.mark.parametrize("source", TIERS)
def test_two_data_sets_of_one_class_and_length_are_two(source: str, discover: Start) -> None:
    report = discover(source=source)
    loaders, script = [shuffled(), shuffled()], Script()

    epochs = [script.epoch(loader) for _ in range(4) for loader in loaders]

    assert (report.tier, sizes(epochs)) == (source, [480] * 8)
    assert source != "batch" or (even(epochs[::2]) and even(epochs[1::2]))


@pytest.mark.parametrize("source", ["memory", "batch"])
def test_folds_of_one_data_set_are_sifted_each(source: str, discover: Start) -> None:
    discover(source=source)
    data = Counting(1280)
    folds = [Subset(data, [i for i in range(1280) if i % 4 != k]) for k in range(4)]
    given = []
    for fold in folds:
        loader, script = shuffled(fold), Script()
        given.append([script.epoch(loader) for _ in range(2)])

    assert [sizes(each) for each in given] == [[480, 480]] * 4
    for fold, epochs in zip(folds, given, strict=True):
        assert source != "batch" or sorted(chain(*epochs)) == fold.indices


def test_one_loader_zipped_with_itself(discover: Start) -> None:
    discover(source="memory")
    loader, script = shuffled(), Script()
    given = [
        sum(len(script.step(batch)) for pair in zip(loader, loader, strict=False) for batch in pair)
        for _ in range(3)
    ]

    assert given == [960] * 3


# -- loops that are not straight -------------------------------------------------------------------


@pytest.mark.parametrize("source", TIERS)
def test_every_epoch_is_left_early(source: str, discover: Start) -> None:
    report = discover(source=source)
    loader, script = shuffled(), Script()
    epochs: list[list[int]] = []
    for _ in range(6):
        epochs.append([])
        for number, batch in enumerate(loader):
            if number == 20:
                break
            epochs[-1] += script.step(batch)

    assert (sizes(epochs), len(loader)) == ([320] * 6, 30)
    # The batch on which the loop is left has been given, too.
    assert (report.tier, report.meter.epochs, report.meter.batches_given) == (source, 6, 126)
    assert source != "batch" or max(Counter(chain(*epochs)).values()) <= 3


@pytest.mark.parametrize("source", TIERS)
def test_a_look_at_a_batch_is_no_epoch(source: str, discover: Start) -> None:
    report = discover(source=source)
    loader, script, epochs = shuffled(), Script(), []
    for _ in range(4):
        next(iter(loader))
        assert len(loader) == 30
        next(iter(loader))
        epochs.append(script.epoch(loader))

    assert (report.tier, sizes(epochs), report.meter.epochs) == (source, [480] * 4, 4)
    assert source != "batch" or even(epochs)


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("source", TIERS)
def test_an_evaluation_over_the_training_loader_sees_every_sample(
    source: str, gradients: bool, discover: Start
) -> None:
    report = discover(source=source)
    loader, script, epochs = shuffled(), Script(), []
    for _ in range(4):
        script.model.train()
        epochs.append(script.epoch(loader))
        script.model.eval()
        with torch.set_grad_enabled(gradients):
            seen = [sample for x, _, samples in loader for sample in samples.tolist()]
        assert sorted(seen) == list(range(SAMPLES))

    assert (report.tier, sizes(epochs), report.meter.epochs) == (source, [480] * 4, 4)
    assert source != "batch" or even(epochs)


@pytest.mark.parametrize("source", TIERS)
def test_a_script_that_turns_to_training_only_inside_of_its_loop(
    source: str, discover: Start
) -> None:
    report = discover(source=source)
    loader, script, epochs = shuffled(), Script(), []
    for _ in range(6):
        epochs.append([])
        for batch in loader:
            script.model.train()
            epochs[-1] += script.step(batch)
        script.model.eval()

    assert (report.tier, sizes(epochs), report.meter.epochs) == (source, [480] * 6, 6)
    # The first batch of each epoch is not chosen: the loop looks like evaluation until its step.
    visits = Counter(chain(*epochs)).values()
    assert source != "batch" or (min(visits) >= 2 and max(visits) <= 4)


def distance(model: nn.Module, batch: Any) -> Tensor:
    """A mean over samples of square roots, which is read off no graph."""
    off = model(batch[0]) - F.one_hot(batch[1], CLASSES).float()
    return off.pow(2).sum(1).sqrt().sum() / len(off)


def test_a_loss_computed_in_another_way_later_is_read_no_more(
    discover: Start, tiers: list[str]
) -> None:
    report = discover(source="memory")
    loader, script = shuffled(), Script()
    epochs = [script.epoch(loader) for _ in range(2)]

    script.loss = distance
    epochs += [script.epoch(loader) for _ in range(7)]

    assert sizes(epochs) == [480] * 9
    note = (
        "every sample equally often from now on: the script's steps have changed, and their "
        "losses cannot be read any longer"
    )
    assert report.notes == [note]
    assert tiers[0] == f"sift: tier memory: {READ}"
    assert tiers[1:] == [f"sift: {note}", f"sift: tier batch: {note}"]
    assert even(epochs[3:])


@pytest.mark.parametrize("source", ["memory", "batch"])
def test_workers_that_stay_and_a_short_batch_that_is_dropped(source: str, discover: Start) -> None:
    report = discover(source=source)
    loader = shuffled(Counting(950), drop_last=True, num_workers=2, persistent_workers=True)
    script = Script()

    length = len(loader)
    epochs = [script.epoch(loader) for _ in range(3)]

    assert (length, sizes(epochs), len(loader)) == (29, [464] * 3, 29)
    assert all(len(set(epoch)) == 464 for epoch in epochs)
    assert (report.tier, report.meter.seen, report.meter.loaded) == (source, 3 * 944, 3 * 464)


@pytest.mark.parametrize("source", TIERS)
def test_a_sampler_with_a_generator_of_its_own(source: str, discover: Start) -> None:
    report = discover(source=source)
    loader, script = shuffled(generator=torch.Generator().manual_seed(5)), Script()

    before = torch.get_rng_state()
    epochs = [script.epoch(loader) for _ in range(4)]

    assert (report.tier, sizes(epochs)) == (source, [480] * 4)
    assert torch.equal(torch.get_rng_state(), before)
    assert source != "batch" or even(epochs)


# -- steps that are not plain ----------------------------------------------------------------------


class Scaling(Script):
    """In bfloat16 with a scaled loss, whose first steps find infinite gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)

    def step(self, batch: Any) -> list[int]:
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = self.loss(self.model, batch)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        samples: list[int] = batch[2].tolist()
        return samples


class Searching(Script):
    """L-BFGS, which computes the loss several times a step."""

    def __init__(self) -> None:
        super().__init__()
        self.search = torch.optim.LBFGS(self.model.parameters(), lr=0.05, max_iter=2)

    def step(self, batch: Any) -> list[int]:
        def closure() -> Tensor:
            self.search.zero_grad()
            loss = self.loss(self.model, batch)
            loss.backward()
            return loss

        self.search.step(closure)
        samples: list[int] = batch[2].tolist()
        return samples


class SharpnessAware(Script):
    """Two backwards on each batch, the second from where the loss is higher."""

    def step(self, batch: Any) -> list[int]:
        self.optimizer.zero_grad()
        self.loss(self.model, batch).backward()
        weights = list(self.model.parameters())
        ascent = [0.05 * weight.grad for weight in weights if weight.grad is not None]
        with torch.no_grad():
            torch._foreach_add_(weights, ascent)
        self.optimizer.zero_grad()
        self.loss(self.model, batch).backward()
        with torch.no_grad():
            torch._foreach_sub_(weights, ascent)
        self.optimizer.step()
        samples: list[int] = batch[2].tolist()
        return samples


@pytest.mark.parametrize("source", TIERS)
@pytest.mark.parametrize("kind", [Scaling, Searching, SharpnessAware])
def test_steps_of_other_kinds(kind: type[Script], source: str, discover: Start) -> None:
    report = discover(source=source)
    loader, script = shuffled(), kind()

    epochs = [script.epoch(loader) for _ in range(4)]

    assert (report.tier, sizes(epochs), len(loader)) == (source, [480] * 4, 30)
    assert (report.meter.seen, report.meter.kept, report.meter.epochs) == (3840, 1920, 4)
    assert source != "batch" or even(epochs)
