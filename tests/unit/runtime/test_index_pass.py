"""Passes over real loaders, followed and chosen from by their indices."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator, skip_first_batches
from accelerate.data_loader import BatchSamplerShard, DataLoaderShard, SkipBatchSampler
from lightning.pytorch.overrides.distributed import _IndexBatchSamplerWrapper
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities.data import _update_dataloader
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from torchdata.stateful_dataloader import StatefulDataLoader
from torchdata.stateful_dataloader.sampler import StatefulDistributedSampler

from smart_sifting.errors import UnsupportedDataFormatException
from smart_sifting.memory.index_pass import IndexPass, Indices, indexable, pass_of, patch

# torchdata 0.11 calls what torch 2.13 has done away with.
pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")

SAMPLES = 22


class Numbers(Dataset):
    """Sample i is the number i; how often each was loaded is known, also from workers."""

    def __init__(self, samples: int = SAMPLES) -> None:
        self.loads = torch.zeros(samples, dtype=torch.int64).share_memory_()

    def __len__(self) -> int:
        return len(self.loads)

    def __getitem__(self, index: Any) -> int:
        self.loads[int(index)] += 1
        return int(index)

    @property
    def loaded(self) -> list[int]:
        return self.loads.nonzero().flatten().tolist()


class Listener:
    """Answers each pass with what `choose` is at that time."""

    def __init__(self) -> None:
        self.choose: Callable[[np.ndarray], np.ndarray] | None = None
        self.got: list[list[int]] = []

    def __call__(self, loader: DataLoader) -> Callable[[np.ndarray], np.ndarray] | None:
        return self.choose

    def evens(self, indices: np.ndarray) -> np.ndarray:
        assert indices.dtype == np.int64
        self.got.append(indices.tolist())
        return indices[indices % 2 == 0]


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    unpatch = patch(listener)
    yield listener
    unpatch()


class Chunks(Sampler):
    """A batch sampler of a script's own, without any attribute."""

    def __init__(self, sizes: list[int], make: Callable[[list[int]], Any] = list) -> None:
        self.sizes = sizes
        self.make = make

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Any]:
        shuffled = torch.randperm(sum(self.sizes)).tolist()
        for size in self.sizes:
            yield self.make(shuffled[:size])
            del shuffled[:size]


def weighted(data: Dataset) -> WeightedRandomSampler:
    return WeightedRandomSampler([1.0 + i % 3 for i in range(SAMPLES)], 17)


LOADERS: dict[str, Callable[..., DataLoader]] = {
    "sequential": lambda data, **kw: DataLoader(data, batch_size=4, **kw),
    "shuffled": lambda data, **kw: DataLoader(data, batch_size=4, shuffle=True, **kw),
    "drop_last": lambda data, **kw: DataLoader(data, 4, shuffle=True, drop_last=True, **kw),
    "one by one": lambda data, **kw: DataLoader(data, shuffle=True, **kw),
    "generator": lambda data, **kw: DataLoader(
        data, 4, shuffle=True, generator=torch.Generator().manual_seed(3), **kw
    ),
    "replacement": lambda data, **kw: DataLoader(
        data, 4, sampler=RandomSampler(data, replacement=True, num_samples=40), **kw
    ),
    "weighted": lambda data, **kw: DataLoader(data, 4, sampler=weighted(data), **kw),
    "subset": lambda data, **kw: DataLoader(
        data, 4, sampler=SubsetRandomSampler([3, 1, 4, 15, 9, 2, 6, 5]), **kw
    ),
    "distributed": lambda data, **kw: DataLoader(
        data, 4, sampler=DistributedSampler(data, num_replicas=2, rank=1), **kw
    ),
    "own batches": lambda data, **kw: DataLoader(
        data, batch_sampler=Chunks([4, 4, 4, 4, 4, 2]), **kw
    ),
    "stateful": lambda data, **kw: StatefulDataLoader(data, 4, shuffle=True, **kw),
}
every_loader = pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS.keys())


def batches(loader: Any) -> list[list[int]]:
    return [batch.tolist() for batch in loader]


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


def history(make: Callable[..., DataLoader], epochs: int = 2, **kw: Any) -> list[Any]:
    """Every batch of some epochs, with the state of torch's generator when it came."""
    torch.manual_seed(0)
    loader = make(Numbers(), **kw)
    return [
        (epoch, batch.tolist(), torch.get_rng_state().tolist())
        for epoch in range(epochs)
        for batch in loader
    ]


def followed(source: Iterator[Any], index_pass: IndexPass) -> Iterator[list[int]]:
    """The batches that come, each compared with what the pass says of it."""
    for batch in source:
        assert list(index_pass.returned()) == batch.tolist()
        yield batch.tolist()


def begin(loader: DataLoader) -> tuple[Iterator[Any], IndexPass]:
    source = iter(loader)
    index_pass = pass_of(source)
    assert index_pass is not None
    return source, index_pass


# -- nobody chooses --------------------------------------------------------------------------------


@every_loader
def test_unchosen_passes_are_those_of_torch_to_the_last_random_number(make):
    plain = history(make)
    assert with_patch(history, make) == plain


@pytest.mark.parametrize("name", ["generator", "stateful"])
def test_unchosen_passes_with_workers_are_those_of_torch(name):
    kw = {"num_workers": 2, "prefetch_factor": 4, "persistent_workers": True}
    plain = history(LOADERS[name], epochs=3, **kw)
    assert len(plain) == 18
    assert with_patch(history, LOADERS[name], epochs=3, **kw) == plain


def with_patch(function: Callable[..., Any], *args: Any, **kw: Any) -> Any:
    unpatch = patch(lambda loader: None)
    try:
        return function(*args, **kw)
    finally:
        unpatch()


def test_the_property_keeps_length_and_attributes_of_the_batch_sampler(listener):
    loader = DataLoader(Numbers(), batch_size=4, drop_last=True)
    indices = loader._index_sampler
    assert isinstance(indices, Indices)
    assert (len(indices), len(loader), indices.drop_last) == (5, 5, True)
    with pytest.raises(AttributeError, match="no attribute 'colour'"):
        indices.colour  # noqa: B018


def test_undoing_the_patch_gives_torch_its_property_back():
    before = DataLoader._index_sampler
    with_patch(lambda: None)
    assert DataLoader._index_sampler is before


def test_a_pass_that_nobody_follows_remembers_no_more_than_what_is_in_flight(listener):
    source, index_pass = begin(DataLoader(Numbers(), batch_size=4))
    assert len(list(islice(source, 5))) == 5
    assert sum(map(len, index_pass.on_the_way)) == 4


def test_a_pass_keeps_no_loader_alive(listener):
    loader = DataLoader(Numbers(), batch_size=4)
    source, gone = iter(loader), weakref.ref(loader)
    del loader
    gc.collect()
    assert gone() is None
    assert next(source).tolist() == [0, 1, 2, 3]


# -- chosen from the beginning ---------------------------------------------------------------------


@every_loader
def test_a_whole_epoch_is_chosen_in_the_samplers_order(make, listener):
    torch.manual_seed(0)
    sequence = flat(batches(make(Numbers())))
    listener.choose = listener.evens
    torch.manual_seed(0)
    data = Numbers()
    loader = make(data)
    given = batches(loader)
    assert listener.got == [sequence]
    evens = [index for index in sequence if index % 2 == 0]
    assert flat(given) == evens
    size = 1 if loader.batch_size == 1 else 4
    assert [len(batch) for batch in given[:-1]] == [size] * (len(given) - 1)
    assert data.loaded == sorted(set(evens))


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_load_what_is_chosen_in_every_epoch(persistent, listener):
    data = Numbers()
    loader = DataLoader(
        data, 4, shuffle=True, num_workers=2, prefetch_factor=4, persistent_workers=persistent
    )
    listener.choose = listener.evens
    for _ in range(3):
        source, index_pass = begin(loader)
        given = list(followed(source, index_pass))
        assert [len(batch) for batch in given] == [4, 4, 3]
        assert flat(given) == [index for index in listener.got.pop() if index % 2 == 0]
        assert sum(map(len, index_pass.on_the_way)) == 0
    assert data.loaded == list(range(0, 22, 2))
    assert data.loads[0] == 3


def test_samples_are_given_in_the_order_chosen_and_as_often(listener):
    listener.choose = lambda indices: indices[::-1].repeat(2)[:6]
    assert batches(DataLoader(Numbers(), 4)) == [[21, 21, 20, 20], [19, 19]]


def test_nothing_chosen_is_an_empty_epoch(listener):
    listener.choose = lambda indices: indices[:0]
    assert batches(DataLoader(Numbers(), 4)) == []


def test_an_empty_epoch_is_not_chosen_from(listener):
    listener.choose = listener.evens
    assert batches(DataLoader(Numbers(), 30, drop_last=True)) == []
    assert listener.got == []


@pytest.mark.parametrize("workers", [0, 2])
def test_after_an_early_break_the_next_epoch_is_aligned_again(workers, listener):
    kw = {"num_workers": workers, "persistent_workers": workers > 0}
    loader = DataLoader(Numbers(), 2, shuffle=True, **kw)
    listener.choose = listener.evens
    source, index_pass = begin(loader)
    assert len(list(islice(followed(source, index_pass), 2))) == 2
    source, index_pass = begin(loader)
    assert len(list(followed(source, index_pass))) == 6


# -- chosen in the middle --------------------------------------------------------------------------


def test_a_switch_lets_prefetched_batches_come_first(listener):
    data = Numbers()
    source, index_pass = begin(DataLoader(data, 2, num_workers=2))
    batches = followed(source, index_pass)
    assert list(islice(batches, 3)) == [[0, 1], [2, 3], [4, 5]]
    assert (index_pass.dispatched, sum(map(len, index_pass.on_the_way))) == (7, 8)
    assert index_pass.on_the_way == [[6, 7], [8, 9], [10, 11], [12, 13]]
    assert not index_pass.chosen
    index_pass.choose(listener.evens)
    assert index_pass.chosen
    assert listener.got == [list(range(14, 22))]
    assert list(batches) == [[6, 7], [8, 9], [10, 11], [12, 13], [14, 16], [18, 20]]
    assert data.loaded == [*range(14), 14, 16, 18, 20]


def test_without_workers_a_switch_holds_from_the_next_batch_on(listener):
    data = Numbers()
    source, index_pass = begin(DataLoader(data, 4))
    batches = followed(source, index_pass)
    assert list(islice(batches, 3)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert (index_pass.dispatched, sum(map(len, index_pass.on_the_way))) == (3, 0)
    index_pass.choose(listener.evens)
    assert list(batches) == [[12, 14, 16, 18], [20]]
    assert data.loaded == [*range(12), 12, 14, 16, 18, 20]


def test_a_switch_before_a_short_last_batch_is_one_of_any_other(listener):
    source, index_pass = begin(DataLoader(Numbers(), 4))
    list(islice(source, 5))
    index_pass.choose(listener.evens)
    assert [batch.tolist() for batch in source] == [[20]]


def test_a_pass_is_chosen_from_once(listener):
    source, index_pass = begin(DataLoader(Numbers(), 4))
    index_pass.choose(listener.evens)
    with pytest.raises(RuntimeError, match="only once"):
        index_pass.choose(listener.evens)
    assert len(list(source)) == 3


def test_a_choice_that_fails_costs_no_batch(listener):
    def broken(indices: np.ndarray) -> np.ndarray:
        raise ValueError("no idea")

    source, index_pass = begin(DataLoader(Numbers(), 4))
    batches = followed(source, index_pass)
    next(batches)
    with pytest.raises(ValueError, match="no idea"):
        index_pass.choose(broken)
    assert not index_pass.chosen
    assert flat(list(batches)) == list(range(4, 22))


def test_a_batch_that_fails_to_load_is_reported_like_another(listener):
    class Torn(Numbers):
        def __getitem__(self, index: int) -> int:
            if index == 5:
                raise OSError("unreadable")
            return index

    source, index_pass = begin(DataLoader(Torn(), 4, num_workers=2))
    assert next(source).tolist() == index_pass.returned() == [0, 1, 2, 3]
    with pytest.raises(OSError, match="unreadable"):
        next(source)
    assert index_pass.returned() == [4, 5, 6, 7]
    assert next(source).tolist() == index_pass.returned() == [8, 9, 10, 11]


# -- what can be chosen from -----------------------------------------------------------------------


class Stream(IterableDataset):
    def __iter__(self) -> Iterator[int]:
        return iter(range(6))


class Forever(Sampler):
    """Begins again at its end, as samplers for loops that count steps do."""

    def __iter__(self) -> Iterator[list[int]]:
        for start in count(step=2):
            yield [start % 10, start % 10 + 1]


class ForeverOfLength(Forever):
    def __len__(self) -> int:
        return 5


class Resumable(BatchSampler):
    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to load."""


@pytest.mark.parametrize(
    ("loader", "reason"),
    [
        (partial(DataLoader, Stream(), 4), "its data is iterable"),
        (partial(DataLoader, Numbers(), batch_size=None), "it makes no batches"),
        (
            partial(DataLoader, Numbers(), 4, num_workers=2, in_order=False),
            "its workers give batches out of order",
        ),
        (
            lambda: DataLoader(Numbers(), 4, sampler=StatefulDistributedSampler(Numbers(), 2, 0)),
            "its sampler has a state of its own",
        ),
        (
            lambda: StatefulDataLoader(
                Numbers(), batch_sampler=Resumable(SequentialSampler(Numbers()), 4, False)
            ),
            "its sampler has a state of its own",
        ),
    ],
)
def test_what_cannot_be_followed_is_left_to_torch(loader, reason, listener):
    listener.choose = listener.evens
    made = loader()
    assert indexable(made) == reason
    source = iter(made)
    assert pass_of(source) is None
    assert len(list(source)) > 1
    assert listener.got == []


@every_loader
def test_passes_of_these_loaders_can_be_chosen_from(make, listener):
    assert indexable(make(Numbers())) is None


def test_a_single_worker_keeps_its_order_in_any_case(listener):
    assert indexable(DataLoader(Numbers(), 4, num_workers=1, in_order=False)) is None


def test_uneven_batches_are_given_as_they_are_and_known_from_then_on(listener):
    listener.choose = listener.evens
    loader = DataLoader(Numbers(), batch_sampler=Chunks([4, 3, 5, 4]))
    torch.manual_seed(0)
    plain = batches(DataLoader(Numbers(), batch_sampler=Chunks([4, 3, 5, 4]), num_workers=0))
    assert [len(batch) for batch in plain] == [4, 3, 5, 4]
    assert indexable(loader) is None
    torch.manual_seed(0)
    source, index_pass = begin(loader)
    assert [batch.tolist() for batch in source] == plain
    assert (index_pass.batch_size, index_pass.chosen) == (None, False)
    assert indexable(loader) == "its batches differ in size"
    assert listener.got == []
    source, index_pass = begin(loader)
    next(source)
    with pytest.raises(UnsupportedDataFormatException, match="differ in size"):
        index_pass.choose(listener.evens)
    assert len(list(source)) == 3


def test_uneven_batches_are_noticed_while_nobody_chooses(listener):
    loader = DataLoader(Numbers(), batch_sampler=Chunks([4, 3, 5, 4]))
    source = iter(loader)
    next(source), next(source)
    assert indexable(loader) is None
    next(source)
    assert indexable(loader) == "its batches differ in size"


def test_a_sampler_without_a_length_is_not_drained(listener):
    listener.choose = listener.evens
    loader = DataLoader(Numbers(), batch_sampler=Forever())
    assert indexable(loader) == "its sampler has no length"
    source, index_pass = begin(loader)
    assert next(source).tolist() == [0, 1]
    with pytest.raises(UnsupportedDataFormatException, match="has no length"):
        index_pass.choose(listener.evens)
    assert next(source).tolist() == [2, 3]


def test_an_endless_sampler_gives_all_and_says_so(listener):
    listener.choose = listener.evens
    loader = DataLoader(Numbers(), batch_sampler=ForeverOfLength())
    given = [batch.tolist() for batch in islice(iter(loader), 7)]
    assert given == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9], [0, 1], [2, 3]]
    assert listener.got == []
    assert indexable(loader) == "its sampler goes on beyond its length"


def test_an_endless_sampler_that_has_begun_goes_on_as_it_was(listener):
    source, index_pass = begin(DataLoader(Numbers(), batch_sampler=ForeverOfLength()))
    list(islice(source, 7))
    with pytest.raises(UnsupportedDataFormatException, match="goes on beyond its length"):
        index_pass.choose(listener.evens)
    assert [batch.tolist() for batch in islice(source, 4)] == [[4, 5], [6, 7], [8, 9], [0, 1]]


class AsGiven(Numbers):
    """Shows the form of what it is asked for."""

    def __getitems__(self, indices: Any) -> list[str]:
        return [f"{type(indices).__name__} of {type(index).__name__}" for index in indices]


@pytest.mark.parametrize(
    ("make", "form"),
    [
        (list, "list of int"),
        (tuple, "tuple of int"),
        (np.array, "ndarray of int64"),
        (partial(np.array, dtype=np.int32), "ndarray of int32"),
        (torch.tensor, "Tensor of Tensor"),
        (lambda batch: list(np.array(batch)), "list of int64"),
        (lambda batch: list(torch.tensor(batch)), "list of Tensor"),
    ],
)
def test_chosen_indices_have_the_form_of_the_plain_ones(make, form, listener):
    sampler = Chunks([4, 4, 3], make)
    loader = DataLoader(AsGiven(11), batch_sampler=sampler, collate_fn=list)
    assert flat(list(loader)) == [form] * 11
    listener.choose = listener.evens
    assert flat(list(loader)) == [form] * 6
    assert sorted(listener.got[0]) == list(range(11))


@pytest.mark.parametrize(
    "make",
    [
        lambda batch: [(index, "crop") for index in batch],
        lambda batch: [str(i) for i in batch],
        set,
    ],
)
def test_batches_of_something_else_than_indices_are_given_as_they_are(make, listener):
    class Named(Numbers):
        def __getitem__(self, index: Any) -> str:
            return str(index)

    def given() -> list[list[str]]:
        torch.manual_seed(0)
        loader = DataLoader(Named(), batch_sampler=Chunks([3, 3], make), collate_fn=list)
        found = list(loader)
        reasons.append(indexable(loader))
        return found

    reasons: list[str | None] = []
    plain = given()
    listener.choose = listener.evens
    assert given() == plain
    assert reasons == ["its batches are not made of indices"] * 2
    assert listener.got == []


class Nested(Numbers):
    """Has a loader of its own in each worker."""

    def __getitem__(self, index: int) -> str:
        return type(DataLoader(Numbers(), 4)._index_sampler).__name__


def test_loaders_within_workers_are_left_alone(listener):
    loader = DataLoader(Nested(2), 2, num_workers=1, collate_fn=list)
    assert list(loader) == [["BatchSampler", "BatchSampler"]]


def test_the_size_of_batches_is_known_before_the_first(listener):
    _, shuffled = begin(LOADERS["shuffled"](Numbers()))
    source, own = begin(LOADERS["own batches"](Numbers()))
    assert (shuffled.batch_size, own.batch_size) == (4, None)
    next(source)
    assert own.batch_size == 4


# -- going on in the middle of an epoch ------------------------------------------------------------


STATEFUL: dict[str, Callable[..., StatefulDataLoader]] = {
    "shuffled": lambda data, **kw: StatefulDataLoader(data, 2, shuffle=True, **kw),
    "drop_last": lambda data, **kw: StatefulDataLoader(data, 4, shuffle=True, drop_last=True, **kw),
    "distributed": lambda data, **kw: StatefulDataLoader(
        data, 2, sampler=StatefulDistributedSampler(data, num_replicas=2, rank=1), **kw
    ),
    "no state of its own": lambda data, **kw: StatefulDataLoader(
        data, 2, sampler=DistributedSampler(data, num_replicas=2, rank=1), **kw
    ),
    "torch's batches": lambda data, **kw: StatefulDataLoader(
        data, batch_sampler=BatchSampler(SequentialSampler(data), 2, False), **kw
    ),
}
stateful = pytest.mark.parametrize("make", STATEFUL.values(), ids=STATEFUL.keys())
ALL_WORKERS: list[dict[str, Any]] = [
    {},
    {"num_workers": 2, "snapshot_every_n_steps": 2, "persistent_workers": True},
]
without_and_with_workers = pytest.mark.parametrize("kw", ALL_WORKERS, ids=["alone", "workers"])


@without_and_with_workers
@stateful
@pytest.mark.parametrize("chosen", [False, True], ids=["plain", "chosen"])
def test_a_stateful_loader_goes_on_in_the_middle_of_an_epoch(make, kw, chosen, listener):
    listener.choose = listener.evens if chosen else None
    loader = make(Numbers(60), **kw)
    batches(loader)
    source, index_pass = begin(loader)
    begun = list(islice(followed(source, index_pass), 3))
    state = loader.state_dict()
    rest = list(followed(source, index_pass))
    sequence = listener.got[1] if chosen else flat(begun + rest)
    assert flat(begun + rest) == [i for i in sequence if i % 2 == 0 or not chosen]

    data = Numbers(60)
    again = make(data, **kw)
    again.load_state_dict(state)
    source, index_pass = begin(again)
    assert list(followed(source, index_pass)) == rest
    if not kw:
        assert data.loaded == sorted(flat(rest))


def test_what_a_restored_loader_loads_and_drops_is_not_taken_for_what_comes_back(listener):
    kw = {"num_workers": 2, "snapshot_every_n_steps": 100}
    loader = STATEFUL["torch's batches"](Numbers(), **kw)
    source = iter(loader)
    assert len(list(islice(source, 9))) == 9
    again = STATEFUL["torch's batches"](Numbers(), **kw)
    again.load_state_dict(loader.state_dict())
    source, index_pass = begin(again)
    assert list(followed(source, index_pass)) == [[18, 19], [20, 21]]


@without_and_with_workers
def test_a_stateful_loader_goes_on_in_an_epoch_chosen_from_its_middle_on(kw, listener):
    loader = STATEFUL["shuffled"](Numbers(60), **kw)
    source, index_pass = begin(loader)
    given = followed(source, index_pass)
    next(given), next(given)
    index_pass.choose(listener.evens)
    list(islice(given, 7))
    state, rest = loader.state_dict(), list(given)
    assert len(rest) > 2
    assert all(index % 2 == 0 for index in flat(rest))

    listener.choose = listener.evens
    for _ in range(2):
        again = STATEFUL["shuffled"](Numbers(60), **kw)
        again.load_state_dict(state)
        source, index_pass = begin(again)
        given = followed(source, index_pass)
        assert next(given) == rest.pop(0)
        state = again.state_dict()
    assert list(given) == rest


def test_a_chosen_epoch_that_goes_on_unchosen_gives_what_follows_as_many_batches(listener):
    listener.choose = listener.evens
    loader = STATEFUL["torch's batches"](Numbers(20))
    shuffled = STATEFUL["shuffled"](Numbers(20))
    for made in (loader, shuffled):
        source = iter(made)
        next(source), next(source)
    states = loader.state_dict(), shuffled.state_dict()
    listener.choose = None
    again = STATEFUL["torch's batches"](Numbers(20))
    again.load_state_dict(states[0])
    assert flat(batches(again)) == list(range(4, 20))
    again = STATEFUL["shuffled"](Numbers(20))
    again.load_state_dict(states[1])
    assert flat(batches(again)) == listener.got[1][4:]


def test_a_chosen_epoch_that_goes_on_unchosen_can_be_chosen_from_later(listener):
    listener.choose = listener.evens
    loader = STATEFUL["shuffled"](Numbers())
    next(iter(loader))
    state, sequence = loader.state_dict(), listener.got[0]

    listener.choose = None
    again = STATEFUL["shuffled"](Numbers())
    again.load_state_dict(state)
    source, index_pass = begin(again)
    assert next(source).tolist() == sequence[2:4]
    index_pass.choose(listener.evens)
    assert listener.got[1] == sequence[4:]
    first = next(source).tolist()
    state, rest = again.state_dict(), flat([batch.tolist() for batch in source])
    assert first + rest == [index for index in sequence[4:] if index % 2 == 0]

    listener.choose = listener.evens
    last = STATEFUL["shuffled"](Numbers())
    last.load_state_dict(state)
    assert flat(batches(last)) == rest
    assert listener.got[2] == sequence[4:]


def test_a_pass_that_nobody_chose_saves_what_torchdata_saves():
    def state() -> Any:
        torch.manual_seed(0)
        loader = STATEFUL["shuffled"](Numbers())
        next(iter(loader))
        found = loader.state_dict()
        generator = found["_sampler_iter_state"]["sampler_iter_state"].pop("generator")
        return found, generator.tolist()

    plain = state()
    assert plain[0]["_sampler_iter_state"]["samples_yielded"] == 2
    assert with_patch(state) == plain


# -- Accelerate and Lightning ----------------------------------------------------------------------


def test_a_prepared_loader_is_chosen_from(listener):
    listener.choose = listener.evens
    data = Numbers()
    loader = Accelerator(cpu=True).prepare(DataLoader(data, 4, shuffle=True))
    assert isinstance(loader, DataLoaderShard)
    assert indexable(loader) is None
    for epoch in range(2):
        given = flat(batches(loader))
        assert given == [index for index in listener.got[epoch] if index % 2 == 0]
    assert sorted(listener.got[1]) == list(range(22)) != listener.got[1] != listener.got[0]
    assert data.loaded == list(range(0, 22, 2))


@pytest.mark.parametrize(
    ("split", "sequence", "given"),
    [
        (False, [*range(4, 8), *range(12, 16), *range(20, 24)], [[4, 6, 12, 14], [20, 22]]),
        (True, [2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23], [[2, 6], [10, 14], [18, 22]]),
    ],
    ids=["whole batches", "split batches"],
)
def test_each_process_chooses_from_its_share(split, sequence, given, listener):
    listener.choose = listener.evens
    shard = BatchSamplerShard(
        BatchSampler(range(24), 4, False), num_processes=2, process_index=1, split_batches=split
    )
    loader = DataLoader(Numbers(24), batch_sampler=shard)
    _, index_pass = begin(loader)
    assert index_pass.batch_size == (2 if split else 4)
    assert batches(loader) == given
    assert listener.got == [sequence]


@pytest.mark.parametrize("prepared", [False, True])
def test_skipped_batches_are_the_first_of_those_chosen(prepared, listener):
    listener.choose = listener.evens
    data = Numbers()
    loader = DataLoader(data, 2)
    if prepared:
        loader = Accelerator(cpu=True).prepare(loader)
    resumed = skip_first_batches(loader, 4)
    assert indexable(resumed) is None
    assert batches(resumed) == [[16, 18], [20]]
    assert listener.got == [list(range(22))]
    assert data.loaded == [16, 18, 20]


def test_skipped_batches_are_skipped_as_torch_does_where_nobody_chooses(listener):
    loader = skip_first_batches(DataLoader(Numbers(), 2), 9)
    assert batches(loader) == [[18, 19], [20, 21]]
    source, index_pass = begin(loader)
    assert next(source).tolist() == index_pass.returned() == [18, 19]
    index_pass.choose(listener.evens)
    assert [batch.tolist() for batch in source] == [[20]]


def test_skipping_twice_skips_the_sum(listener):
    listener.choose = listener.evens
    inner = SkipBatchSampler(BatchSampler(range(22), 2, False), 1)
    loader = DataLoader(Numbers(), batch_sampler=SkipBatchSampler(inner, 3))
    assert batches(loader) == [[16, 18], [20]]


def test_a_skipped_epoch_that_cannot_be_chosen_from_goes_on_plainly(listener):
    listener.choose = listener.evens
    sampler = SkipBatchSampler([[0, 1, 2], [3], [4, 5], [6, 7]], 2)
    assert batches(DataLoader(Numbers(), batch_sampler=sampler)) == [[4, 5], [6, 7]]


def test_the_loader_that_lightning_makes_anew_is_chosen_from(listener):
    listener.choose = listener.evens
    data = Numbers()
    ours = DataLoader(data, 2, sampler=SubsetRandomSampler(range(12)))
    sampler = DistributedSampler(data, num_replicas=2, rank=0, shuffle=False)
    loader = _update_dataloader(ours, sampler, mode=RunningStage.TRAINING)
    assert batches(loader) == [[0, 2], [4, 6], [8, 10], [12, 14], [16, 18], [20]]
    assert listener.got == [list(range(0, 22, 2))]


def test_lightnings_sampler_for_predictions_sees_the_plain_batches(listener):
    sampler = _IndexBatchSamplerWrapper(BatchSampler(range(5), 2, False))
    loader = DataLoader(Numbers(), batch_sampler=sampler)
    assert batches(loader) == sampler.seen_batch_indices == [[0, 1], [2, 3], [4]]
