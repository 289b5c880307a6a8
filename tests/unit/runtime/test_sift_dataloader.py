"""`SiftingDataloader` around real loaders, models and training loops."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    get_worker_info,
)

from smart_sifting.batches import batch_size
from smart_sifting.data_model import ListBatch, SiftingBatchTransform, TensorBatch
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader, shape_of
from smart_sifting.epoch_plan import Shape
from smart_sifting.errors import (
    LossImplementationNotProvidedException,
    LossOutputException,
    SiftConfigValidationException,
    UnsupportedDataFormatException,
)
from smart_sifting.loss import Loss
from smart_sifting.sift_config.job_config import SiftConfig
from smart_sifting.sift_config.sift_configs import (
    LossConfig,
    RelativeProbabilisticSiftConfig,
    SiftingBaseConfig,
)

HALF = SiftConfig(keep=0.5)


@pytest.fixture(autouse=True)
def no_job(monkeypatch):
    """Not in a job: nothing of one test is counted in another's receipt."""
    monkeypatch.delenv("SM_OUTPUT_DATA_DIR", raising=False)
    monkeypatch.setattr("smart_sifting.job_report._report", None)


class Ids(Dataset):
    """Samples that are their own index."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> int:
        if not 0 <= index < self.samples:
            raise IndexError(index)
        return index


class Stream(IterableDataset):
    """The same as a stream, shared out among workers, with a length if asked for."""

    def __init__(self, samples: int) -> None:
        self.samples = samples

    def __iter__(self) -> Iterator[int]:
        info = get_worker_info()
        first, step = (0, 1) if info is None else (info.id, info.num_workers)
        return iter(range(first, self.samples, step))


class SizedStream(Stream):
    def __len__(self) -> int:
        return self.samples


class Batches(IterableDataset):
    """Batches that the data set makes itself."""

    def __iter__(self) -> Iterator[Tensor]:
        return iter(torch.arange(100).split(10))


class AnyLoss(Loss):
    """A loss for each sample of whatever batch."""

    def loss(self, model, transformed_batch, original_batch=None):
        return torch.rand(batch_size(transformed_batch), generator=torch.Generator().manual_seed(0))


class CrossEntropy(Loss):
    def loss(self, model, transformed_batch, original_batch=None):
        inputs, labels = original_batch
        return cross_entropy(model(inputs), labels, reduction="none")


def sifting(loader: DataLoader, config: Any = HALF, **rest: Any) -> SiftingDataloader:
    return SiftingDataloader(
        config, loader, rest.pop("loss_impl", AnyLoss()), nn.Identity(), **rest
    )


def sizes(loader: Any) -> list[int]:
    return [len(batch) for batch in loader]


# -- every kind of loader --------------------------------------------------------------------------

LOADERS = [
    pytest.param(lambda: DataLoader(Ids(105), 10), [10] * 5 + [3], id="map"),
    pytest.param(lambda: DataLoader(Ids(105), 10, drop_last=True), [10] * 5, id="map, drop_last"),
    pytest.param(lambda: DataLoader(Ids(105), 10, shuffle=True), [10] * 5 + [3], id="shuffled"),
    pytest.param(
        lambda: DataLoader(Ids(105), 10, shuffle=True, num_workers=2), [10] * 5 + [3], id="workers"
    ),
    pytest.param(
        lambda: DataLoader(Ids(105), 10, num_workers=2, persistent_workers=True, drop_last=True),
        [10] * 5,
        id="persistent workers",
    ),
    pytest.param(
        lambda: DataLoader(Ids(200), 10, sampler=SubsetRandomSampler(range(105))),
        [10] * 5 + [3],
        id="sampler of a part",
    ),
    pytest.param(
        lambda: DataLoader(Ids(105), 10, sampler=DistributedSampler(Ids(105), 2, 1)),
        [10, 10, 7],
        id="sampler of a rank",
    ),
    pytest.param(
        lambda: DataLoader(
            Ids(200), batch_sampler=BatchSampler(SubsetRandomSampler(range(105)), 10, False)
        ),
        [10] * 5 + [3],
        id="batch sampler over a part",
    ),
    pytest.param(
        lambda: DataLoader(Ids(105), batch_sampler=BatchSampler(range(105), 10, True)),
        [10] * 5,
        id="batch sampler, drop_last",
    ),
    pytest.param(lambda: DataLoader(SizedStream(105), 10), [10] * 5 + [3], id="sized stream"),
    pytest.param(
        lambda: DataLoader(SizedStream(105), 10, drop_last=True), [10] * 5, id="sized, drop_last"
    ),
    pytest.param(
        lambda: DataLoader(SizedStream(105), 10, num_workers=2), [10] * 5 + [3], id="sized, workers"
    ),
    pytest.param(lambda: DataLoader(Ids(3), 10), [2], id="less than a batch"),
    pytest.param(lambda: DataLoader(Ids(3), 10, drop_last=True), [], id="nothing at all"),
    pytest.param(lambda: DataLoader(Ids(7), 1), [1] * 4, id="one by one"),
]


@pytest.mark.parametrize(("make", "expected"), LOADERS)
def test_the_length_is_that_of_the_epochs_and_no_sample_comes_twice(make, expected):
    loader = sifting(make())
    for _ in range(2):
        assert len(loader) == len(expected)
        given = []
        for batch in loader:
            assert len(loader) == len(expected)
            given.append(batch.tolist())
        assert [len(batch) for batch in given] == expected
        ids = [each for batch in given for each in batch]
        assert len(ids) == len(set(ids))
    assert len(loader) == len(expected)
    assert loader.sifter.meter.left_over == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_without_a_length_is_sifted_and_has_no_length(workers):
    loader = sifting(DataLoader(Stream(100), 10, num_workers=workers))
    with pytest.raises(TypeError, match="has no len"):
        len(loader)
    assert sizes(loader) == [10] * 5


def test_batches_of_the_data_sets_own_are_sifted_to_the_size_of_the_first():
    loader = sifting(DataLoader(Batches(), batch_size=None))
    assert sizes(loader) == [10] * 5


class Uneven:
    """A batch sampler that does not tell how large its batches are."""

    def __len__(self) -> int:
        return 3

    def __iter__(self) -> Iterator[list[int]]:
        return iter([[0, 1, 2, 3], [4, 5], [6, 7, 8, 9, 10, 11]])


@pytest.mark.parametrize(
    "make",
    [
        lambda: DataLoader(Ids(12), batch_sampler=Uneven()),
        lambda: DataLoader(TensorDataset(torch.zeros(5, 4, 2)), batch_size=None),
    ],
    ids=["batch sampler", "batches of the data set"],
)
def test_the_plain_length_is_not_told_where_the_sifted_one_is_unknown(make):
    loader = sifting(make())
    with pytest.raises(TypeError) as unknown:
        len(loader)
    assert str(unknown.value) == (
        "the length of an epoch is not known before its end, for the loader does not tell how "
        "many samples it gives: let it make the batches (batch_size=...), or give its "
        "batch_sampler a batch_size attribute"
    )
    assert len(sifting(make(), SiftConfig(keep=1.0))) == len(make())


def test_uneven_batches_are_sifted_to_the_size_of_the_first():
    assert sizes(sifting(DataLoader(Ids(12), batch_sampler=Uneven()))) == [4, 2]


def test_the_length_is_unknown_under_the_probabilistic_rule_and_the_error_names_the_mend():
    loader = sifting(DataLoader(Ids(100), 10), SiftConfig(acceptance="probabilistic"))
    with pytest.raises(TypeError) as unknown:
        len(loader)
    assert str(unknown.value) == (
        'with acceptance="probabilistic" the length of an epoch is not known before its end: '
        'use acceptance="quota", or count the batches as they come'
    )


@pytest.mark.parametrize(("drop_last", "last"), [(False, 0), (True, 0)])
def test_the_probabilistic_rule_gives_full_batches_and_loses_nothing(drop_last, last):
    config = SiftConfig(acceptance="probabilistic")
    loader = sifting(DataLoader(Ids(1000), 16, drop_last=drop_last), config)
    given = [batch.tolist() for _ in range(3) for batch in loader]
    meter = loader.sifter.meter
    assert sum(map(len, given)) == meter.kept - meter.left_over
    if drop_last:
        assert {len(batch) for batch in given} == {16}
        assert meter.left_over == len(loader.sifter.carried[0]) < 16
    else:
        assert meter.left_over == 0
        assert sum(len(batch) < 16 for batch in given) <= 3


@pytest.mark.parametrize(
    ("delay", "repeat", "lengths"),
    [(0, False, [5, 5, 5]), (7, False, [9, 5, 5]), (15, False, [10, 8, 5]), (4, True, [7, 7, 7])],
)
def test_the_length_before_an_epoch_is_that_epochs_also_with_a_delay(delay, repeat, lengths):
    config = SiftConfig(keep=0.5, sift_delay=delay, repeat_delay_per_epoch=repeat)
    loader = sifting(DataLoader(Ids(100), 10), config)
    for expected in lengths:
        assert len(loader) == expected
        during = [len(loader) for _ in loader]
        assert during == [expected] * expected


def test_the_shape_of_a_loader_is_what_it_says_before_it_runs():
    assert shape_of(DataLoader(Ids(25), 10)) == Shape(25, 10, False)
    assert shape_of(DataLoader(Ids(25), 10, drop_last=True)) == Shape(20, 10, True)

    class Told(Uneven):
        batch_size = 4

    assert shape_of(DataLoader(Ids(200), batch_sampler=Told())) == Shape(12, 4, False)
    part = BatchSampler(SubsetRandomSampler(range(13)), 10, False)
    assert shape_of(DataLoader(Ids(25), batch_sampler=part)) == Shape(13, 10, False)
    assert shape_of(DataLoader(SizedStream(25), 10)) == Shape(25, 10, False)
    assert shape_of(DataLoader(Stream(25), 10)) == Shape(None, 10, False)
    assert shape_of(DataLoader(Batches(), None)) == Shape(None, None, False)


# -- every kind of batch ---------------------------------------------------------------------------


class Pair(NamedTuple):
    x: Any
    y: Any


@dataclass
class Record:
    x: Any
    y: Any


X = torch.arange(315.0).reshape(105, 3)
Y = torch.arange(20)
NAMES = [f"n{i}" for i in range(20)]

BATCHES = [
    pytest.param(lambda b: X[b], lambda batch: batch[:, 0] / 3, id="tensor"),
    pytest.param(lambda b: (X[b], Y[b]), lambda batch: batch[1], id="tuple"),
    pytest.param(lambda b: [X[b], [Y[b], (Y[b],)]], lambda batch: batch[1][1][0], id="nested"),
    pytest.param(lambda b: {"x": X[b], "y": Y[b]}, lambda batch: batch["y"], id="dict"),
    pytest.param(lambda b: Pair(X[b], Y[b]), lambda batch: batch.y, id="namedtuple"),
    pytest.param(lambda b: Pair(X[b].numpy(), Y[b].numpy()), lambda batch: batch.y, id="numpy"),
    pytest.param(
        lambda b: {"y": Y[b], "name": [NAMES[i] for i in b]},
        lambda batch: [int(name[1:]) for name in batch["name"]],
        id="strings",
    ),
    pytest.param(lambda b: [X[b], {"y": Y[b]}], lambda batch: batch[1]["y"], id="dict in a list"),
]


@pytest.mark.parametrize(("make", "read"), BATCHES)
def test_batches_keep_their_structure_and_their_samples_together(make, read):
    loader = sifting(DataLoader(Ids(20), 4, collate_fn=make))
    given = list(loader)
    assert {type(batch) for batch in given} == {type(make([0]))}
    ids = [int(each) for batch in given for each in read(batch)]
    assert len(set(ids)) == 10
    assert [len(read(batch)) for batch in given] == [4, 4, 2]
    for batch in given:
        again = make([int(each) for each in read(batch)])
        assert str(batch) == str(again)


def test_dataclass_batches_keep_their_structure():
    class RecordLoss(Loss):
        def loss(self, model, transformed_batch, original_batch=None):
            return transformed_batch.x.sum(1)

    plain = DataLoader(Ids(20), 4, collate_fn=lambda b: Record(X[b], Y[b]))
    given = list(sifting(plain, loss_impl=RecordLoss()))
    assert {type(batch) for batch in given} == {Record}
    assert all(torch.equal(X[batch.y], batch.x) for batch in given)
    assert [len(batch.y) for batch in given] == [4, 4, 2]


class Opaque:
    """A batch that nobody can read."""

    def __init__(self, ids: list[int]) -> None:
        self.ids = ids


class AsList(SiftingBatchTransform):
    def transform(self, batch):
        return ListBatch([f"n{each}" for each in batch.ids], batch.ids)

    def reverse_transform(self, sifting_batch):
        return Opaque(list(sifting_batch.labels))


class AsTensors(SiftingBatchTransform):
    def transform(self, batch):
        return TensorBatch(X[batch.ids], torch.tensor(batch.ids))

    def reverse_transform(self, sifting_batch):
        assert torch.equal(sifting_batch.inputs, X[sifting_batch.labels])
        return Opaque(sifting_batch.labels.tolist())


class InputsLoss(Loss):
    def loss(self, model, transformed_batch, original_batch=None):
        assert isinstance(original_batch, Opaque)
        return torch.arange(float(len(transformed_batch.inputs)))


@pytest.mark.parametrize("transform", [AsList(), AsTensors(), [AsList()]])
def test_a_transform_lets_any_batch_be_sifted_and_is_undone(transform):
    plain = DataLoader(Ids(105), 10, collate_fn=Opaque)
    loader = sifting(plain, batch_transforms=transform, loss_impl=InputsLoss())
    given = list(loader)
    assert {type(batch) for batch in given} == {Opaque}
    assert [len(batch.ids) for batch in given] == [10] * 5 + [3]
    assert len({each for batch in given for each in batch.ids}) == 53


def test_several_transforms_are_undone_in_reverse():
    class Unpack(SiftingBatchTransform):
        def transform(self, batch):
            return Opaque(batch["ids"])

        def reverse_transform(self, sifting_batch):
            return {"ids": sifting_batch.ids}

    class DictLoss(Loss):
        def loss(self, model, transformed_batch, original_batch=None):
            assert isinstance(original_batch, dict)
            return torch.zeros(len(transformed_batch.inputs))

    plain = DataLoader(Ids(20), 10, collate_fn=lambda ids: {"ids": ids})
    loader = sifting(plain, batch_transforms=[Unpack(), AsTensors()], loss_impl=DictLoss())
    (batch,) = loader
    assert len(batch["ids"]) == 10


def test_a_batch_that_nobody_can_read_is_refused_with_the_mend():
    with pytest.raises(UnsupportedDataFormatException, match="SiftingBatchTransform"):
        list(sifting(DataLoader(Ids(20), 10, collate_fn=Opaque), loss_impl=InputsLoss()))


def test_samples_may_lie_on_the_second_dimension():
    plain = DataLoader(Ids(20), 4, collate_fn=lambda b: X[b].T)

    class ColumnLoss(Loss):
        def loss(self, model, transformed_batch, original_batch=None):
            return transformed_batch.sum(0)

    given = list(sifting(plain, batch_format_index=1, loss_impl=ColumnLoss()))
    assert [tuple(batch.shape) for batch in given] == [(3, 4), (3, 4), (3, 2)]


# -- what a user hands in --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        {"beta_value": 3},
        {"keep": 0.25},
        '{"keep": 0.25}',
        SiftConfig(keep=0.25),
        {"beta_value": 3, "loss_based_sift_config": {"sift_config": {"sift_delay": 0}}},
        RelativeProbabilisticSiftConfig(
            beta_value=3,
            loss_based_sift_config=LossConfig(sift_config=SiftingBaseConfig(sift_delay=0)),
        ),
    ],
    ids=["beta", "keep", "text", "object", "nested", "AWS"],
)
def test_a_configuration_comes_in_every_form(config):
    assert len(sifting(DataLoader(Ids(400), 10), config)) == 10


def test_a_wrong_configuration_is_refused_when_it_is_handed_in():
    with pytest.raises(SiftConfigValidationException, match="keep"):
        sifting(DataLoader(Ids(10), 10), {"keep": 2})


@pytest.mark.parametrize("loss", [None, "CrossEntropy", nn.CrossEntropyLoss()])
def test_something_that_is_no_loss_is_refused_with_what_to_hand_in(loss):
    with pytest.raises(LossImplementationNotProvidedException) as refused:
        SiftingDataloader(HALF, DataLoader(Ids(10), 10), loss, nn.Identity())
    assert str(refused.value).endswith(
        ": hand in an object of a class derived from "
        "smart_sifting.loss.abstract_sift_loss_module.Loss"
    )


def test_a_loss_of_the_wrong_shape_is_refused_in_the_loop():
    class Mean(Loss):
        def loss(self, model, transformed_batch, original_batch=None):
            return transformed_batch.float().mean()

    with pytest.raises(LossOutputException, match="for instance with reduction='none'"):
        list(sifting(DataLoader(Ids(10), 5), loss_impl=Mean()))


# -- what it looks like from outside ---------------------------------------------------------------


def test_attributes_that_are_not_its_own_are_the_loaders():
    plain = DataLoader(Ids(10), 5, num_workers=0)
    loader = sifting(plain)
    assert loader.dataset is plain.dataset
    assert loader.batch_size == 5
    assert loader.sampler is plain.sampler
    assert not hasattr(loader, "no_such_thing")
    with pytest.raises(AttributeError, match="no_such_thing"):
        loader.no_such_thing  # noqa: B018


def test_an_epoch_is_told_to_whichever_sampler_wants_to_know():
    class Set:
        epoch = -1

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __iter__(self):
            return iter(range(10))

        def __len__(self) -> int:
            return 10

    class SetBatches(Set):
        batch_size = 5

        def __iter__(self):
            return iter([[0, 1, 2, 3, 4]])

    class SetStream(Stream, Set):
        __iter__ = Stream.__iter__
        __len__ = None

    for told, plain in [
        (sampler := Set(), DataLoader(Ids(10), 5, sampler=sampler)),
        (sampler := Set(), DataLoader(Ids(10), batch_sampler=BatchSampler(sampler, 5, False))),
        (batches := SetBatches(), DataLoader(Ids(10), batch_sampler=batches)),
        (stream := SetStream(10), DataLoader(stream, 5)),
        (stream := SetStream(10), DataLoader(stream, None)),
    ]:
        sifting(plain).set_epoch(7)
        assert told.epoch == 7
    sifting(DataLoader(Ids(10), 5)).set_epoch(7)


@pytest.mark.parametrize(
    "how", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))]
)
@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_can_be_copied_and_pickled_also_in_the_middle_of_an_epoch(how, workers):
    loader = sifting(DataLoader(Ids(100), 10, num_workers=workers))
    epoch = iter(loader)
    next(epoch)
    other = how(loader)
    assert type(other) is SiftingDataloader
    assert len(other) == 5
    assert sizes(other) == [10] * 5
    assert sizes(epoch) == [10] * 4


def test_a_loader_that_is_not_made_yet_has_no_attributes():
    assert not hasattr(SiftingDataloader.__new__(SiftingDataloader), "dataset")


def test_how_the_inner_loader_copies_itself_does_not_copy_it_in_our_place():
    class Copying(DataLoader):
        def __deepcopy__(self, memo):
            return Copying(self.dataset, self.batch_size)

    assert type(copy.deepcopy(sifting(Copying(Ids(10), 5)))) is SiftingDataloader


def test_leaving_the_loop_early_counts_what_is_left_over_and_loses_nothing_after():
    loader = sifting(DataLoader(Ids(1000), 10))
    for batch in loader:
        assert len(batch) == 10
        break
    assert (loader.sifter.meter.kept, loader.sifter.meter.left_over) == (35, 25)
    assert len(loader) == 50
    assert sizes(loader) == [10] * 50
    assert (loader.sifter.meter.kept, loader.sifter.meter.left_over) == (535, 25)


@pytest.mark.parametrize("log", [False, True])
def test_leaving_a_delayed_epoch_early_counts_its_steps(log):
    config = SiftConfig(keep=0.5, sift_delay=6)
    loader = sifting(DataLoader(Ids(100), 10), config, log_batch_data=log)
    assert len(loader) == 8
    for step, _ in enumerate(loader):
        if step == 3:
            break
    assert len(loader) == 6
    assert len(list(loader)) == 6


def test_a_second_epoch_ends_the_first_where_workers_persist():
    plain = DataLoader(Ids(100), 10, num_workers=2, persistent_workers=True)
    loader = sifting(plain)
    first = iter(loader)
    next(first)
    assert sizes(loader) == [10] * 5
    assert list(first) == []


def test_batch_data_is_logged_under_the_keys_that_metric_patterns_search(caplog):
    now = [0.0]

    class Slow(AnyLoss):
        def loss(self, model, transformed_batch, original_batch=None):
            now[0] = 3.5
            return super().loss(model, transformed_batch, original_batch)

    loader = sifting(DataLoader(Ids(200), 10), log_batch_data=True, loss_impl=Slow())
    loader.sifter.meter.clock = lambda: now[0]
    with caplog.at_level(logging.INFO, logger="smart_sifting"):
        iterator = iter(loader)
        next(iterator)
    (line,) = caplog.messages
    # A window of 7 batches, 35 of which are kept.
    assert line == (
        "sift: num_orig_samples_seen: 70, num_orig_samples_kept: 35, "
        "sifted_batch_creation_latency: 3.500000"
    )


def test_nothing_is_logged_unless_it_is_asked_for(caplog):
    with caplog.at_level(logging.INFO, logger="smart_sifting"):
        list(sifting(DataLoader(Ids(200), 10)))
    assert caplog.messages == []


class Stateful(DataLoader):
    """A loader with a state of its own, as torchdata's."""

    epoch = 0

    def state_dict(self):
        return {"epoch": self.epoch}

    def load_state_dict(self, state):
        self.epoch = state["epoch"]


def test_a_saved_run_goes_on_with_the_same_samples():
    def run(loader: SiftingDataloader, epochs: int) -> list[list[int]]:
        return [batch.tolist() for _ in range(epochs) for batch in loader]

    def made(seed: int) -> SiftingDataloader:
        config = SiftConfig(keep=0.5, sift_delay=15, acceptance="probabilistic", seed=seed)
        return sifting(Stateful(Ids(100), 10, drop_last=True), config)

    loader = made(1)
    run(loader, 3)
    loader.orig_dataloader.epoch = 3
    state = json.loads(json.dumps({"epoch": 3})), loader.state_dict()
    fresh = made(2)
    fresh.load_state_dict(state[1])
    assert fresh.orig_dataloader.epoch == 3
    assert run(fresh, 2) == run(loader, 2)


# -- no trace --------------------------------------------------------------------------------------


def train(config: SiftConfig | None, loss: Loss | None = None) -> dict[str, Any]:
    """Everything that a run of a small network leaves behind."""
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    x, y = torch.rand(200, 4), torch.randint(0, 3, (200,))
    frozen = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2))
    model = nn.Sequential(frozen, nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    frozen.eval()
    frozen.requires_grad_(False)
    plain = DataLoader(TensorDataset(x, y, torch.arange(200)), 32, shuffle=True)
    loader: Any = plain
    if config is not None:
        loader = SiftingDataloader(config, plain, loss or Thirds(), model)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1, 0.9)
    order = []
    for epoch in range(3):
        for step, (inputs, labels, ids) in enumerate(loader):
            with torch.autocast("cpu", torch.bfloat16, enabled=epoch == 2):
                loss_ = cross_entropy(model(inputs), labels) * (1 + random.random())
            (loss_ * float(np.random.rand())).backward()
            if step % 2:
                optimizer.step()
                optimizer.zero_grad()
            order.append(ids.tolist())
    return {
        "state": {name: value.tolist() for name, value in model.state_dict().items()},
        "gradients": [None if p.grad is None else p.grad.tolist() for p in model.parameters()],
        "flags": [module.training for module in model.modules()],
        "wanted": [p.requires_grad for p in model.parameters()],
        "order": order,
        "torch": torch.get_rng_state().tolist(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
    }


class Thirds(Loss):
    """Draws from every generator, puts the model in training and calls it."""

    calls = 0

    def loss(self, model, transformed_batch, original_batch=None):
        inputs, labels, _ = original_batch
        Thirds.calls += 1
        random.random()
        np.random.rand()
        torch.rand(3)
        return cross_entropy(model(inputs), labels, reduction="none")


@pytest.fixture(scope="module")
def plain_run() -> dict[str, Any]:
    return train(None)


@pytest.mark.parametrize(("keep", "scored"), [(1.0, False), (0.999, True)])
def test_with_everything_kept_a_run_is_bit_identical_to_a_plain_one(keep, scored, plain_run):
    Thirds.calls = 0
    sifted = train(SiftConfig(keep=keep))
    assert (Thirds.calls > 0) is scored
    for part, value in plain_run.items():
        assert sifted[part] == value, part


def test_the_comparison_with_a_plain_run_sees_a_single_sample_less(plain_run):
    sifted = train(SiftConfig(keep=0.995))
    assert sum(map(len, sifted["order"])) == 3 * 199
    assert sifted["state"] != plain_run["state"]


def test_the_model_may_move_to_another_precision_after_wrapping():
    model = nn.Linear(4, 3)
    x, y = torch.rand(40, 4), torch.randint(0, 3, (40,))
    plain = DataLoader(TensorDataset(x.double(), y), 10)
    loader = SiftingDataloader(HALF, plain, CrossEntropy(), model)
    model.double()
    assert [len(labels) for _, labels in loader] == [10, 10]


def test_samplers_draw_the_same_order_as_without_sifting():
    def seen(wrap: bool) -> list[int]:
        torch.manual_seed(5)
        plain = DataLoader(Ids(50), 10, sampler=RandomSampler(Ids(50)))
        loader = sifting(plain, SiftConfig(keep=0.999)) if wrap else plain
        return [each for _ in range(2) for batch in loader for each in batch.tolist()]

    assert seen(True) == seen(False)


def test_what_is_kept_stays_in_the_loaders_order():
    plain = DataLoader(Ids(100), 10, sampler=SequentialSampler(Ids(100)))
    ids = [each for batch in sifting(plain) for each in batch.tolist()]
    assert ids == sorted(ids)
