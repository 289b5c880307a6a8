"""Which batch a backward belongs to, in hand-written loops and in the frameworks' own."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from smart_sifting.memory.trained_batches import LookAhead, TrainedBatches

BATCHES = 10

Event = tuple[str, int]
"""A pass began; the n-th batch was handed out; a backward began on the n-th batch."""


def learned(events: list[Event], backwards: int) -> LookAhead:
    """What is known after so many backwards."""
    look, handed = LookAhead(), 0
    for what, number in events:
        if what == "handed":
            handed = number
        elif what == "backward" and backwards:
            look.observe(number, handed)
            backwards -= 1
    return look


def followed(events: list[Event], trained: TrainedBatches) -> list[tuple[int | None, int]]:
    """For each backward the batch that was told, and the batch that it was on."""
    told = []
    for what, number in events:
        if what == "pass":
            trained.begin_pass()
        elif what == "handed":
            trained.handed(number)
        else:
            told.append((trained.backward(), number))
    return told


def assert_followed(events: list[Event], rule: str, *, after: int = 3) -> None:
    look = learned(events, after)
    assert look.rule() == rule
    trained = look.trained_batches()
    assert trained is not None
    told = followed(events, trained)
    assert len(told) > 0
    assert [ours for ours, _ in told] == [truth for _, truth in told]


# -- loops as people write them --------------------------------------------------------------------


def test_a_plain_loop_trains_on_the_latest() -> None:
    events = [("pass", 0)] + [(what, n) for n in range(1, 6) for what in ("handed", "backward")]
    assert_followed(events, "latest")


def test_batches_may_be_left_out_where_the_latest_is_trained() -> None:
    events = [("handed", 1), ("backward", 1), ("handed", 2), ("handed", 3), ("backward", 3)]
    assert_followed(events, "latest", after=1)


def test_several_backwards_of_one_batch_are_all_its_own() -> None:
    events = [e for n in (1, 2, 3) for e in [("handed", n), ("backward", n), ("backward", n)]]
    assert_followed(events, "latest")


def looking_ahead(backwards: int, batches: int = 5) -> list[Event]:
    """One batch is fetched before the one in hand is trained; at the end none is."""
    events: list[Event] = [("pass", 0), ("handed", 1)]
    for n in range(1, batches + 1):
        events += [("handed", n + 1)] if n < batches else []
        events += [("backward", n)] * backwards
    return events


@pytest.mark.parametrize("backwards", [1, 2, 3])
def test_with_a_look_ahead_a_batch_has_all_its_backwards(backwards: int) -> None:
    assert_followed(looking_ahead(backwards) * 2, "oldest", after=2 * backwards + 1)


def test_all_batches_of_an_accumulated_step_may_be_fetched_before_it() -> None:
    events: list[Event] = [("pass", 0), ("handed", 1)]
    for n in (1, 4, 7):
        events += [("handed", i + 1) for i in range(n, n + 3)]
        events += [("backward", i) for i in range(n, n + 3)]
    assert_followed(events, "oldest", after=4)


def test_a_look_ahead_is_learned_from_the_middle_of_a_batch_on() -> None:
    look = LookAhead()
    for trained, latest in [(7, 8), (8, 9), (8, 9), (9, 10)]:
        look.observe(trained, latest)
    trained_batches = look.trained_batches()
    assert trained_batches is not None
    assert (trained_batches.rule, trained_batches.backwards, trained_batches.ahead) == (
        "oldest",
        2,
        1,
    )
    assert look.waiting == 1


def test_a_batch_left_out_where_the_script_looks_ahead_makes_the_rest_unknown() -> None:
    trained = TrainedBatches("oldest", ahead=1)
    events: list[Event] = [("handed", 1), ("handed", 2), ("backward", 1), ("handed", 3)]
    events += [("handed", 4), ("backward", 3), ("backward", 4)]  # the script left 2 out
    assert followed(events, trained) == [(1, 1), (None, 3), (None, 4)]
    trained.begin_pass()
    assert followed(events[:3], trained) == [(1, 1)]


def test_what_was_not_trained_is_forgotten_with_the_next_pass() -> None:
    for rule in ("latest", "oldest"):
        trained = TrainedBatches(rule)
        trained.handed("of the last pass")
        trained.begin_pass()
        assert trained.backward() is None
        trained.handed("of this pass")
        assert trained.backward() == "of this pass"


def test_a_batch_is_let_go_when_another_is_the_latest() -> None:
    trained, first = TrainedBatches(), Numbers()
    alive = weakref.ref(first)
    trained.handed(first)
    trained.handed("second")
    del first
    assert alive() is None


def test_a_backward_too_many_belongs_to_no_batch() -> None:
    trained = TrainedBatches("oldest")
    trained.handed("one")
    assert [trained.backward(), trained.backward()] == ["one", None]


def test_a_batch_that_nobody_knows_has_its_turn_and_is_not_told() -> None:
    trained = TrainedBatches("oldest", ahead=1)
    trained.handed(None)
    trained.handed("known")
    assert [trained.backward(), trained.backward()] == [None, "known"]


@pytest.mark.parametrize(
    "seen",
    [
        pytest.param([(1, 2), (3, 4), (4, 5)], id="one left out"),
        pytest.param([(3, 3), (2, 3), (1, 3)], id="backwards in time"),
        pytest.param([(1, 2), (2, 3), (2, 3), (3, 4), (4, 5)], id="not as many backwards each"),
        pytest.param([], id="nothing seen"),
    ],
)
def test_neither_rule_is_taken_where_neither_holds(seen: list[tuple[int, int]]) -> None:
    look = LookAhead()
    for trained, latest in seen:
        look.observe(trained, latest)
    assert look.rule() is None
    assert look.trained_batches() is None


# -- the frameworks' loops -------------------------------------------------------------------------


class Numbers(Dataset[dict[str, Tensor]]):
    """The n-th batch of two holds n, counted from 1."""

    def __len__(self) -> int:
        return 2 * BATCHES

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": torch.tensor([float(index // 2 + 1)])}


class Noting(nn.Module):
    """Knows which batch it was called on last."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.number = 0

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        self.number = int(x.detach().max())
        return {"loss": self.linear(x).square().mean()}


class Recording:
    """What a training loop did, as `Event`s."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[Event] = []
        self.model = Noting()
        begin, fetch, backward = (
            DataLoader.__iter__,
            _BaseDataLoaderIter.__next__,
            Tensor.backward,
        )

        def noted_begin(loader: Any) -> Any:
            self.events.append(("pass", 0))
            return begin(loader)

        def noted_fetch(iterator: Any) -> Any:
            batch = fetch(iterator)
            self.events.append(("handed", int(batch["x"].max())))
            return batch

        def noted_backward(*args: Any, **kwargs: Any) -> Any:
            self.events.append(("backward", self.model.number))
            return backward(*args, **kwargs)

        monkeypatch.setattr(DataLoader, "__iter__", noted_begin)
        monkeypatch.setattr(_BaseDataLoaderIter, "__next__", noted_fetch)
        monkeypatch.setattr(Tensor, "backward", noted_backward)

    def ahead(self) -> int:
        return max(n for what, n in self.events[: self._first_backward()] if what == "handed") - 1

    def backwards(self) -> int:
        return sum(what == "backward" for what, _ in self.events)

    def _first_backward(self) -> int:
        return next(i for i, (what, _) in enumerate(self.events) if what == "backward")


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
    yield Recording(monkeypatch)


@pytest.mark.parametrize("steps_per_batch", [1, 2])
def test_accelerate(recording: Recording, steps_per_batch: int) -> None:
    from accelerate import Accelerator

    model = recording.model
    accelerator = Accelerator(cpu=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    prepared, optimizer, loader = accelerator.prepare(
        model, optimizer, DataLoader(Numbers(), batch_size=2)
    )
    for _ in range(2):
        for batch in loader:
            for _ in range(steps_per_batch):
                accelerator.backward(prepared(**batch)["loss"])
                optimizer.step()
    assert recording.ahead() == 1
    assert recording.backwards() == 2 * BATCHES * steps_per_batch
    assert_followed(recording.events, "oldest", after=5)


@pytest.mark.parametrize("accumulated", [1, 4])
def test_the_trainer_of_hugging_face(recording: Recording, tmp_path: Any, accumulated: int) -> None:
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        output_dir=str(tmp_path),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=accumulated,
        num_train_epochs=2,
        train_sampling_strategy="sequential",
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    Trainer(model=recording.model, args=arguments, train_dataset=Numbers()).train()
    assert recording.ahead() == accumulated
    assert recording.backwards() == 2 * BATCHES
    assert_followed(recording.events, "oldest", after=5)


@pytest.mark.filterwarnings("ignore")
def test_lightning(recording: Recording, tmp_path: Any) -> None:
    import lightning.pytorch as pl

    noting = recording.model

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.noting = noting

        def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
            return self.noting(**batch)["loss"]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        accumulate_grad_batches=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(Module(), DataLoader(Numbers(), batch_size=2))
    assert recording.ahead() == 0
    assert recording.backwards() == 2 * BATCHES
    assert_followed(recording.events, "latest")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_lightnings_prefetching(recording: Recording) -> None:
    from lightning.pytorch.loops.fetchers import _PrefetchDataFetcher
    from lightning.pytorch.utilities.combined_loader import CombinedLoader

    class Unsized(torch.utils.data.IterableDataset[dict[str, Tensor]]):
        def __iter__(self) -> Iterator[dict[str, Tensor]]:
            return (Numbers()[i] for i in range(2 * BATCHES))

    loaders = CombinedLoader(DataLoader(Unsized(), batch_size=2), "max_size_cycle")
    fetcher = _PrefetchDataFetcher(prefetch_batches=1)
    fetcher.setup(loaders)
    for batch, *_ in fetcher:
        recording.model(**batch)["loss"].backward()
    assert recording.ahead() == 1
    assert recording.backwards() == BATCHES
    assert_followed(recording.events, "oldest")
