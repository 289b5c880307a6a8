"""Odd loops, each in this process: what is found, what is left alone, and that nothing breaks."""

from __future__ import annotations

import gc
import weakref
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
    Seen,
    cross_entropy,
    data,
    fit,
    loader,
    net,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from smart_sifting.discovery.discoverer import Discoverer
from smart_sifting.job_report import JobReport


@pytest.mark.parametrize("name", VERIFIED)
def test_this_way_to_a_loss_is_found_and_sifted(
    name: str, discover: Callable[..., JobReport]
) -> None:
    report = discover()

    seen = fit(loader(), VERIFIED[name], epochs=2)

    assert (report.tier, report.reason) == (
        "forward",
        "the script's own loss, replayed on other batches, agrees with it",
    )
    assert (seen.batches, seen.samples) == (60, 960)
    assert (report.meter.seen, report.meter.kept, report.meter.steps) == (1920, 960, 0)


def l2(model: nn.Module) -> Tensor:
    return sum((p.pow(2).sum() for p in model.parameters()), torch.zeros(()))


class Table:
    """Labels that the script looks up outside of torch."""

    def __init__(self) -> None:
        self.step = 0

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        labels = torch.tensor(batch[1].tolist())
        return F.cross_entropy(model(batch[0]), labels)


def info_nce(model: nn.Module, batch: Any) -> Tensor:
    a = F.normalize(model(batch[0]), dim=1)
    b = F.normalize(model(batch[0] + 0.1), dim=1)
    return F.cross_entropy(a @ b.t() / 0.1, torch.arange(len(a)))


# Ways to a loss that cannot be taken apart by sample, and what is said of them.
PASSED: dict[str, tuple[Callable[[nn.Module, Any], Tensor], str]] = {
    "penalty on the weights": (
        lambda m, b: cross_entropy(m, b) + 0.1 * l2(m),
        "the loss has terms that do not come from the batch sample by sample",
    ),
    "labels from outside": (
        Table(),
        "the step run again on the next batch gives another loss than the script's",
    ),
    "contrastive": (info_nce, "a sample's loss depends on the other samples of its batch"),
    "noise from outside": (
        lambda m, b: F.cross_entropy(m(b[0] + torch.randn(b[0].shape)), b[1]),
        "the step run again on the next batch gives another loss than the script's",
    ),
    "largest of the batch": (
        lambda m, b: F.cross_entropy(m(b[0]), b[1], reduction="none").max(),
        "the loss is not a mean or a sum of per-sample losses",
    ),
    "statistics of the batch": (
        lambda m, b: F.cross_entropy(m(b[0] - b[0].mean(0)), b[1]),
        "a sample's loss depends on the other samples of its batch",
    ),
    "numpy in between": (
        lambda m, b: F.cross_entropy(m(torch.from_numpy(b[0].numpy() * 2)), b[1]),
        "the step run again on the next batch gives another loss than the script's",
    ),
}


@pytest.mark.parametrize("name", PASSED)
def test_this_way_to_a_loss_passes_through_with_the_reason(
    name: str, discover: Callable[..., JobReport]
) -> None:
    report = discover()
    loss_of, reason = PASSED[name]

    seen = fit(loader(), loss_of, epochs=2)

    assert (report.tier, report.reason) == ("pass-through", reason)
    assert (seen.batches, seen.samples) == (120, 1920)


# -- loops ------------------------------------------------------------------------------------


def test_len_is_true_before_during_and_after_the_first_epoch(
    discover: Callable[..., JobReport],
) -> None:
    discover()
    batches, model = loader(), net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lengths = [len(batches)]

    for _ in range(2):
        given = 0
        for batch in batches:
            given += 1
            lengths.append(len(batches))
            cross_entropy(model, batch).backward()
            optimizer.step()
        lengths.append(given)

    assert set(lengths) == {30}


@pytest.mark.parametrize(("drop_last", "batches", "samples"), [(False, 32, 500), (True, 31, 496)])
def test_a_last_short_batch_is_given_or_dropped_as_the_loader_says(
    drop_last: bool, batches: int, samples: int, discover: Callable[..., JobReport]
) -> None:
    discover()
    short = DataLoader(data(1000), batch_size=16, shuffle=True, drop_last=drop_last)

    assert len(short) == batches
    seen = fit(short, cross_entropy)
    assert (seen.batches, seen.samples) == (batches, samples)


def test_a_loader_that_is_not_shuffled_is_sifted_once_it_has_trained(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()
    plain_order = loader(shuffle=False)

    assert len(plain_order) == 60
    seen = fit(plain_order, cross_entropy, epochs=2)
    assert (report.tier, seen.batches, len(plain_order)) == ("forward", 60, 30)


def test_evaluation_over_the_training_loader_sees_all_of_it(
    discover: Callable[..., JobReport],
) -> None:
    discover()
    batches, model = loader(), net()
    fit(batches, cross_entropy, model)

    with torch.no_grad():
        without_gradients = sum(len(x) for x, _ in batches)
        assert len(batches) == 60
    model.eval()
    in_eval_mode = sum(len(x) for x, _ in batches)
    model.train()

    assert (without_gradients, in_eval_mode) == (960, 960)
    assert fit(batches, cross_entropy, model).samples == 480


def test_a_pass_that_never_trains_is_not_counted(discover: Callable[..., JobReport]) -> None:
    report = discover()
    statistics = loader()

    mean = torch.stack([x.mean(0) for x, _ in statistics]).mean(0)

    assert mean.shape == (FEATURES,)
    assert (report.tier, report.meter.seen, report.meter.epochs) == ("waiting", 0, 0)
    assert [each.role for each in report.loaders.values()] == ["untouched"]
    assert fit(statistics, cross_entropy).samples == 480


def test_an_iterator_that_is_asked_by_hand_is_sifted_too(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()
    batches, model = loader(), net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    iterator, seen = iter(batches), Seen()

    for _ in range(70):
        try:
            batch = next(iterator)
        except StopIteration:
            iterator = iter(batches)
            batch = next(iterator)
        seen.note(batch[0])
        optimizer.zero_grad()
        cross_entropy(model, batch).backward()
        optimizer.step()

    assert report.tier == "forward"
    assert (seen.batches, report.meter.batches_given, report.meter.epochs) == (70, 70, 3)


def test_one_batch_of_look_ahead_does_not_confuse_the_tape(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()

    def ahead(batches: Any) -> Iterator[Any]:
        iterator = iter(batches)
        current = next(iterator)
        for following in iterator:
            yield current
            current = following
        yield current

    batches = loader()
    seen = fit(ahead(batches), cross_entropy)

    assert (report.tier, seen.batches, seen.samples) == ("forward", 30, 480)


def test_labels_in_two_models_called_in_turn(discover: Callable[..., JobReport]) -> None:
    report = discover()
    torch.manual_seed(0)
    encoder, head = nn.Linear(FEATURES, 16), nn.Linear(16, CLASSES)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()])
    seen = Seen()

    for x, y in loader():
        seen.note(x)
        optimizer.zero_grad()
        F.cross_entropy(head(torch.relu(encoder(x)).flatten(1)), y).backward()
        optimizer.step()

    assert (report.tier, seen.samples) == ("forward", 480)


def test_an_optimizer_with_a_closure(discover: Callable[..., JobReport]) -> None:
    report = discover()
    model = net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)
    seen = Seen()

    for x, y in loader():
        seen.note(x)

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        optimizer.step(closure)

    assert (report.tier, seen.samples) == ("forward", 480)


def test_a_loss_with_a_gradient_of_a_gradient_passes_through(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()

    def penalised(model: nn.Module, batch: Any) -> Tensor:
        x = batch[0].requires_grad_()
        loss = F.cross_entropy(model(x), batch[1])
        (grad,) = torch.autograd.grad(loss, x, create_graph=True)
        return loss + grad.pow(2).sum()

    seen = fit(loader(), penalised)

    assert (report.tier, seen.samples) == ("pass-through", 960)


def test_two_optimizers_in_turn_pass_through(discover: Callable[..., JobReport]) -> None:
    report = discover()
    one, two = net(), net()
    optimizers = [torch.optim.SGD(m.parameters(), lr=0.1) for m in (one, two)]
    seen = Seen()

    for batch in loader():
        seen.note(batch[0])
        for model, optimizer in zip((one, two), optimizers, strict=True):
            optimizer.zero_grad()
            cross_entropy(model, batch).backward()
            optimizer.step()

    assert (report.tier, seen.samples) == ("pass-through", 960)
    assert report.reason == (
        "2 optimizers step in turn (SGD, SGD): each of their losses asks for other samples"
    )


def test_a_second_optimizer_for_a_second_phase_is_no_turn(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()
    batches, model = loader(), net()

    fit(batches, cross_entropy, model)
    seen = fit(batches, cross_entropy, model)

    assert (report.tier, seen.samples) == ("forward", 480)


def test_a_default_device_and_a_device_block_around_the_loop_survive(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()

    def within(model: nn.Module, batch: Any) -> Tensor:
        with torch.device("meta"):
            assert torch.empty(1).device.type == "meta"
        assert torch.empty(1).device.type == "cpu"
        return cross_entropy(model, batch)

    with torch.device("cpu"):
        seen = fit(loader(), within)

    assert (report.tier, seen.samples) == ("forward", 480)


def test_a_batch_that_the_script_changes_in_place_is_trained_on_as_the_script_wants(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()
    known = {tuple(row) for row in data().tensors[0].tolist()}
    given: list[tuple[float, ...]] = []

    def doubled(model: nn.Module, batch: Any) -> Tensor:
        given.extend(map(tuple, batch[0].tolist()))
        batch[0].mul_(2.0)
        return cross_entropy(model, batch)

    fit(loader(), doubled)

    assert (report.tier, len(given)) == ("forward", 480)
    assert set(given) <= known


def test_an_exception_of_the_dataset_reaches_the_script_as_it_is(
    discover: Callable[..., JobReport],
) -> None:
    class Broken(Dataset[tuple[Tensor, int]]):
        def __len__(self) -> int:
            return SAMPLES

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            if index == 700:
                raise FileNotFoundError("image 700 is not there")
            return torch.zeros(FEATURES), 0

    discover()
    with pytest.raises(FileNotFoundError, match="image 700 is not there"):
        fit(DataLoader(Broken(), batch_size=16), cross_entropy)


def test_batches_of_several_lengths_pass_through_with_the_reason(
    discover: Callable[..., JobReport],
) -> None:
    """Sentences padded to the longest of their batch cannot be joined without a pad value."""
    report = discover()
    torch.manual_seed(0)
    table = nn.Embedding(50, CLASSES)

    def padded(rows: list[Any]) -> tuple[Tensor, Tensor]:
        width = max(3 + int(y) for _, y in rows) + len(rows) % 3 + int(rows[0][0][0] > 0)
        return torch.ones(len(rows), width, dtype=torch.long), torch.stack([y for _, y in rows])

    def pooled(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(model(batch[0]).mean(1), batch[1])

    seen = fit(loader(collate_fn=padded), pooled, table, epochs=2)

    assert report.tier == "pass-through"
    assert "cannot be joined" in report.reason or "shape" in report.reason
    assert (report.meter.seen, report.meter.kept) == (1920, seen.samples)


def test_keeping_everything_changes_no_bit_of_the_weights(
    discover: Callable[..., JobReport],
) -> None:
    def trained() -> list[Tensor]:
        torch.manual_seed(1)
        model = nn.Sequential(
            nn.Linear(FEATURES, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, CLASSES)
        )
        fit(loader(), cross_entropy, model, epochs=2)
        return [*model.parameters(), *model.buffers(), torch.get_rng_state()]

    plain = trained()
    report = discover(keep=1.0)
    sifted = trained()

    assert report.tier == "forward"
    assert all(torch.equal(a, b) for a, b in zip(plain, sifted, strict=True))


def test_a_schedule_built_from_a_length_that_proves_wrong_still_ends_at_its_end(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()
    batches, model = loader(), net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    assert len(batches) == 30
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, epochs=2, steps_per_epoch=len(batches)
    )

    for _ in range(2):
        for x, _ in batches:
            optimizer.zero_grad()
            info_nce(model, (x, None)).backward()
            optimizer.step()
            schedule.step()

    assert (report.tier, len(batches)) == ("pass-through", 60)
    assert schedule.last_epoch == 60
    assert any("was 30 before its role was known and is 60" in note for note in report.notes)
    assert "step" not in schedule.state_dict()


def test_the_length_of_a_shuffled_loader_that_is_not_trained_on_is_admitted_and_mended(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()
    batches = loader()
    other = DataLoader(data(320), batch_size=16, shuffle=True)
    assert (len(batches), len(other)) == (30, 10)

    fit(batches, cross_entropy)
    with torch.no_grad():
        seen = sum(1 for _ in other)

    assert (seen, len(other)) == (20, 20)
    assert [note for note in report.notes if "is not trained on" in note] == [
        "len() of DataLoader#2(TensorDataset, 320 samples) was 10 before its role was known and is "
        "20: it is not trained on"
    ]


def test_once_training_is_known_a_shuffled_loader_over_other_data_keeps_its_length(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()
    fit(loader(), cross_entropy)

    assert len(DataLoader(data(320), batch_size=16, shuffle=True)) == 20
    assert len(loader()) == 30
    assert report.notes == []


def test_a_process_forked_while_the_tape_runs_is_free_of_it(
    discover: Callable[..., JobReport],
) -> None:
    discover()
    modes_inside = []

    class Counting(Dataset[int]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            return torch.overrides._len_torch_function_stack()  # type: ignore[attr-defined]

    def with_workers(model: nn.Module, batch: Any) -> Tensor:
        if not modes_inside:
            assert torch.overrides._len_torch_function_stack() == 1  # type: ignore[attr-defined]
            with torch.no_grad():
                for depths in DataLoader(Counting(), batch_size=2, num_workers=1):
                    modes_inside.extend(depths.tolist())
        return cross_entropy(model, batch)

    fit(loader(), with_workers)

    assert modes_inside == [0, 0, 0, 0]


@pytest.mark.parametrize("steps", [1, 8, 20], ids=["watched", "measured", "sifted"])
def test_leaving_the_loop_lets_go_of_the_loader_at_once(
    steps: int, discover: Callable[..., JobReport]
) -> None:
    """Its workers would go on otherwise, until a garbage collection happens to come by."""
    report = discover()
    batches, model = loader(), net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    iterator = iter(batches)
    plain = weakref.ref(iterator._source.inner)  # type: ignore[attr-defined]

    gc.disable()
    try:
        for _ in range(steps):
            cross_entropy(model, next(iterator)).backward()
            optimizer.step()
        assert report.tier == ("forward" if steps == 20 else "waiting")
        del iterator
        assert plain() is None
    finally:
        gc.enable()


def test_an_optimizer_made_anew_for_every_step_is_no_turn(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()
    model, seen = net(), Seen()

    for batch in loader():
        seen.note(batch[0])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        optimizer.zero_grad()
        cross_entropy(model, batch).backward()
        optimizer.step()

    assert (report.tier, seen.samples) == ("forward", 480)


def test_dropout_is_replayed_though_the_script_draws_in_between(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, 16), nn.Dropout(0.5), nn.Linear(16, CLASSES))

    def drawing(model: nn.Module, batch: Any) -> Tensor:
        torch.rand(3)
        return cross_entropy(model, batch)

    seen = fit(loader(), drawing, model)

    assert (report.tier, seen.samples) == ("forward", 480)


def test_where_nothing_could_be_sifted_no_other_loader_is_presumed_to_be(
    discover: Callable[..., JobReport],
) -> None:
    report = discover()
    fit(loader(), info_nce)

    assert report.tier == "pass-through"
    assert len(loader()) == 60


def test_a_short_last_batch_neither_proves_nor_disproves_anything(
    discover: Callable[..., JobReport],
) -> None:
    """Its size is not the one that the script has written into its shapes."""
    report = discover()
    few = DataLoader(data(40), batch_size=16, shuffle=True)

    fit(few, VERIFIED["batch size in a shape"], epochs=8)

    assert report.tier == "forward"
    assert report.meter.kept < report.meter.seen


@pytest.mark.parametrize("anew", [False, True], ids=["one loader", "a new loader each epoch"])
def test_a_script_that_turns_to_training_only_with_its_batch_is_sifted_in_every_epoch(
    anew: bool, discover: Callable[..., JobReport]
) -> None:
    report = discover()
    batches, model = loader(), net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=4 * len(batches))
    given, evaluated = [], []

    for _ in range(4):
        seen = Seen()
        for batch in batches:
            model.train()
            seen.note(batch[0])
            optimizer.zero_grad()
            cross_entropy(model, batch).backward()
            optimizer.step()
            schedule.step()
        model.eval()
        evaluated.append(sum(len(x) for x, _ in batches))
        given.append(seen.samples)
        batches = loader() if anew else batches

    assert report.tier == "forward"
    assert given == [480] * 4
    assert evaluated == [960] * 4
    assert (report.meter.kept, report.meter.seen) == (1920, 3840)
    assert schedule.last_epoch == 120


@pytest.mark.parametrize("what", ["decide", "plan"])
def test_a_failure_of_our_own_costs_the_saving_and_not_the_training(
    what: str, discover: Callable[..., JobReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Discoverer, what, broken)
    report = discover()
    batches = loader()

    assert (len(batches) == 60) is (what == "plan")
    seen = fit(batches, cross_entropy, epochs=2)

    assert (seen.batches, seen.samples) == (120, 1920)
    told = [report.reason, *report.notes]
    assert any("RuntimeError: a mistake of ours" in line for line in told)


def test_a_stream_without_a_length_is_sifted_and_still_has_none(
    discover: Callable[..., JobReport],
) -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            return iter(list(data()))

    report = discover()
    stream = DataLoader(Stream(), batch_size=BATCH)

    seen = fit(stream, cross_entropy, epochs=2)

    # Twelve untouched batches and half of the other 48; then half of 60.
    assert (report.tier, seen.batches) == ("forward", 12 + 24 + 30)
    with pytest.raises(TypeError, match="has no len"):
        len(stream)
