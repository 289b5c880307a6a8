"""A stream of batches becomes a stream of full batches of the samples that are kept."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from smart_sifting.data_model import SiftingBatchTransform, TensorBatch
from smart_sifting.epoch_plan import Shape
from smart_sifting.meter import Meter
from smart_sifting.scoring import Scores
from smart_sifting.sift_config.job_config import SiftConfig
from smart_sifting.sifted_epoch import SiftedEpoch
from smart_sifting.sifter import Sifter

NAN = float("nan")


class Losses:
    """A sample is its id; its loss is looked up, or the id itself."""

    modules = ()

    def __init__(self, losses: Tensor | None = None) -> None:
        self.losses = losses
        self.windows: list[list[int]] = []

    def __call__(self, transformed: Tensor, original: Any, samples: int) -> Scores:
        assert len(transformed) == samples
        self.windows.append(transformed.tolist())
        losses = transformed if self.losses is None else self.losses[transformed]
        return Scores(losses.to(torch.float64))


def stream(samples: int, batch_size: int, drop_last: bool = False) -> Iterator[Tensor]:
    for batch in torch.arange(samples).split(batch_size):
        if len(batch) == batch_size or not drop_last:
            yield batch


def an_epoch(sifter: Sifter, samples: int, batch_size: int, drop_last: bool = False) -> SiftedEpoch:
    whole = samples - samples % batch_size if drop_last else samples
    shape = Shape(whole, batch_size, drop_last)
    source = stream(samples, batch_size, drop_last)
    return SiftedEpoch(sifter, source, sifter.plan(shape), shape)


def ids(epoch: SiftedEpoch) -> list[list[int]]:
    return [batch.tolist() for batch in epoch]


def flat(batches: list[list[int]]) -> list[int]:
    return [each for batch in batches for each in batch]


EPOCHS = list(
    product(
        (1, 7, 100, 437),  # samples
        (1, 8, 32),  # batch size
        (0.1, 0.5, 0.9, 0.999),  # keep
        (False, True),  # drop_last
        (0, 3, 1000),  # delay
    )
)


@pytest.mark.parametrize("losses", ["finite", "some not finite", "none finite"])
def test_every_epoch_gives_exactly_the_plans_samples_and_batches(losses):
    for samples, batch_size, keep, drop_last, delay in EPOCHS:
        values = torch.rand(samples, generator=torch.Generator().manual_seed(samples))
        if losses == "none finite":
            values[:] = NAN
        if losses == "some not finite":
            values[::3] = float("inf")
        case = (samples, batch_size, keep, drop_last, delay)
        config = SiftConfig(keep=keep, sift_delay=delay, repeat_delay_per_epoch=True)
        sifter = Sifter(config, Losses(values))
        whole = samples - samples % batch_size if drop_last else samples
        plan = sifter.plan(Shape(whole, batch_size, drop_last))
        assert plan is not None
        for _ in range(2):
            given = ids(an_epoch(sifter, samples, batch_size, drop_last))
            kept = flat(given)
            assert (len(kept), len(given)) == (plan.kept, plan.batches), case
            assert len(set(kept)) == len(kept), case
            assert kept == sorted(kept), case
            assert all(len(batch) == batch_size for batch in given[:-1]), case
            if drop_last:
                assert all(len(batch) == batch_size for batch in given), case
        assert sifter.meter.left_over == 0, case
        assert sifter.meter.kept == 2 * plan.kept, case
        assert sifter.meter.seen == 2 * whole, case


def test_losses_without_a_number_are_kept_before_all_others():
    losses = torch.arange(100.0)
    losses[:30] = NAN
    sifter = Sifter(SiftConfig(keep=0.5), Losses(losses))
    kept = flat(ids(an_epoch(sifter, 100, 10)))
    assert kept[:30] == list(range(30))
    assert len(kept) == 50
    assert sifter.meter.non_finite == 30


def test_every_window_keeps_its_share():
    sifter = Sifter(SiftConfig(keep=0.3), Losses(torch.zeros(1000)))
    kept = flat(ids(an_epoch(sifter, 1000, 10)))
    windows = [sum(start <= each < start + 70 for each in kept) for start in range(0, 980, 70)]
    assert windows == [21] * 14


def test_hard_samples_are_kept_more_often_than_easy_ones():
    kept = torch.zeros(100)
    for seed in range(5):
        sifter = Sifter(SiftConfig(keep=0.5, seed=seed), Losses())
        for _ in range(10):
            kept[flat(ids(an_epoch(sifter, 100, 10)))] += 1
    # Windows of 70 and 30: the second holds the hardest, and yet no more than its share.
    assert kept[:70].sum() == 50 * 35
    assert kept[60:70].sum() > 2.5 * kept[:10].sum()
    assert kept[90:].sum() > 1.2 * kept[70:80].sum()


def test_the_delay_gives_whole_batches_unscored_and_then_sifts():
    score = Losses()
    sifter = Sifter(SiftConfig(keep=0.5, sift_delay=3), score)
    first = ids(an_epoch(sifter, 100, 10))
    assert first[:3] == [list(range(start, start + 10)) for start in (0, 10, 20)]
    assert score.windows[0] == list(range(30, 40))
    assert [len(batch) for batch in first] == [10] * 6 + [5]
    second = ids(an_epoch(sifter, 100, 10))
    assert [len(batch) for batch in second] == [10] * 5


def test_the_delay_counts_training_steps_over_epochs():
    sifter = Sifter(SiftConfig(keep=0.5, sift_delay=25), Losses())
    assert [len(flat(ids(an_epoch(sifter, 100, 10)))) for _ in range(4)] == [100, 100, 75, 50]


def test_the_delay_can_be_repeated_in_every_epoch():
    config = SiftConfig(keep=0.5, sift_delay=4, repeat_delay_per_epoch=True)
    sifter = Sifter(config, Losses())
    assert [len(flat(ids(an_epoch(sifter, 100, 10)))) for _ in range(3)] == [70, 70, 70]


def test_the_plan_does_not_change_while_an_epoch_runs():
    sifter = Sifter(SiftConfig(keep=0.5, sift_delay=5), Losses())
    shape = Shape(100, 10)
    epoch = an_epoch(sifter, 100, 10)
    plans = {sifter.plan(shape).kept for _ in epoch}  # type: ignore[union-attr]
    assert plans == {75}
    assert sifter.plan(shape).kept == 50  # type: ignore[union-attr]


def test_with_everything_kept_the_loaders_own_objects_come_unscored():
    score = Losses()
    source = list(stream(25, 10))
    sifter = Sifter(SiftConfig(keep=1.0), score)
    shape = Shape(25, 10)
    given = list(SiftedEpoch(sifter, iter(source), sifter.plan(shape), shape))
    assert all(one is other for one, other in zip(given, source, strict=True))
    assert score.windows == []


def test_a_batch_of_which_all_is_kept_is_the_loaders_own_object():
    source = list(stream(200, 32))
    sifter = Sifter(SiftConfig(keep=0.999), Losses())
    shape = Shape(200, 32)
    given = list(SiftedEpoch(sifter, iter(source), sifter.plan(shape), shape))
    assert all(one is other for one, other in zip(given, source, strict=True))


def test_a_batch_of_which_all_is_kept_is_not_transformed_back():
    class OneWay(SiftingBatchTransform):
        def transform(self, batch):
            return TensorBatch(batch)

        def reverse_transform(self, sifting_batch):
            raise AssertionError("a whole batch was put together anew")

    class InputLosses(Losses):
        def __call__(self, transformed: Any, original: Any, samples: int) -> Scores:
            return super().__call__(transformed.inputs, original, samples)

    sifter = Sifter(SiftConfig(keep=0.999), InputLosses(), transform=OneWay())
    shape = Shape(200, 32)
    given = ids(SiftedEpoch(sifter, stream(200, 32), sifter.plan(shape), shape))
    assert flat(given) == list(range(200))


def test_without_a_length_the_share_is_kept_and_the_last_batch_is_short():
    sifter = Sifter(SiftConfig(keep=0.5), Losses())
    given = ids(SiftedEpoch(sifter, stream(105, 10), None, Shape(None, 10)))
    assert [len(batch) for batch in given] == [10, 10, 10, 10, 10, 3]


def test_without_a_batch_size_the_first_batch_tells_it():
    sifter = Sifter(SiftConfig(keep=0.5), Losses())
    given = ids(SiftedEpoch(sifter, stream(96, 12), None, Shape(None, None)))
    assert [len(batch) for batch in given] == [12] * 4


def test_where_a_short_batch_is_dropped_its_samples_are_carried_into_the_next_epoch():
    sifter = Sifter(SiftConfig(keep=0.5), Losses())
    first = ids(SiftedEpoch(sifter, stream(105, 10), None, Shape(None, 10, drop_last=True)))
    assert [len(batch) for batch in first] == [10] * 5
    assert sifter.meter.left_over == 3
    carried = sifter.carried[0].tolist()
    assert len(carried) == 3
    assert min(carried) > first[-1][-1]
    second = ids(SiftedEpoch(sifter, stream(105, 10), None, Shape(None, 10, drop_last=True)))
    assert second[0][:3] == carried
    assert [len(batch) for batch in second] == [10] * 5
    assert sifter.meter.left_over == 6
    assert sifter.meter.kept == 106


def test_carried_samples_wait_for_the_delay_of_the_next_epoch():
    config = SiftConfig(keep=0.5, sift_delay=1, repeat_delay_per_epoch=True)
    sifter = Sifter(config, Losses())
    sifter.carried = [torch.tensor([7, 8])]
    given = ids(SiftedEpoch(sifter, stream(10, 10), None, Shape(None, 10)))
    assert given == [list(range(10)), [7, 8]]


def test_carried_samples_come_last_where_the_delay_outlasts_the_epoch():
    sifter = Sifter(SiftConfig(keep=0.5, sift_delay=100), Losses())
    sifter.carried = [torch.tensor([7, 8])]
    given = ids(SiftedEpoch(sifter, stream(10, 10), None, Shape(None, 10)))
    assert given == [list(range(10)), [7, 8]]
    assert sifter.delay() == 98


def test_an_epoch_that_is_broken_off_counts_what_it_leaves_over():
    sifter = Sifter(SiftConfig(keep=0.5), Losses())
    epoch = an_epoch(sifter, 1000, 10)
    assert len(next(epoch)) == 10
    # The first window is 7 batches: 35 kept, 10 of them given.
    assert sifter.meter.left_over == 0
    epoch.close()
    epoch.close()
    assert sifter.meter.left_over == 25
    assert (sifter.meter.seen, sifter.meter.kept) == (70, 35)
    assert list(epoch) == []


def test_an_epoch_that_nobody_holds_any_more_is_closed():
    sifter = Sifter(SiftConfig(keep=0.5), Losses())
    next(an_epoch(sifter, 1000, 10))
    assert sifter.meter.left_over == 25


def test_an_epoch_closed_in_its_delay_fetches_nothing_more():
    sifter = Sifter(SiftConfig(keep=0.5, sift_delay=5), Losses())
    source = stream(100, 10)
    shape = Shape(100, 10)
    epoch = SiftedEpoch(sifter, source, sifter.plan(shape), shape)
    next(epoch)
    epoch.close()
    assert list(epoch) == []
    assert next(source).tolist() == list(range(10, 20))


def test_an_old_epoch_does_not_settle_the_delay_of_a_new_one():
    sifter = Sifter(SiftConfig(keep=0.5, sift_delay=5), Losses())
    old = an_epoch(sifter, 100, 10)
    old.close()
    new = an_epoch(sifter, 100, 10)
    next(new)
    assert list(old) == []
    del old
    assert sifter.delay() == 5


def test_samples_given_before_sifting_count_against_the_epochs_plan():
    sifter = Sifter(SiftConfig(keep=0.5), Losses())
    shape = Shape(100, 10)
    source = stream(100, 10)
    before = [next(source).tolist() for _ in range(2)]
    rest = ids(SiftedEpoch(sifter, source, sifter.plan(shape), shape, untouched=20))
    assert len(flat(before + rest)) == 50
    assert len(before + rest) == 5


@pytest.mark.parametrize("acceptance", ["quota", "probabilistic"])
def test_a_saved_run_goes_on_with_the_same_samples_also_through_a_safe_file(acceptance):
    config = SiftConfig(
        keep=0.5, sift_delay=12, loss_history_length=60, acceptance=acceptance, seed=3
    )

    def epoch(sifter: Sifter) -> list[list[int]]:
        shape = Shape(100, 10, drop_last=True)
        return ids(SiftedEpoch(sifter, stream(100, 10), sifter.plan(shape), shape))

    sifter = Sifter(config, Losses())
    for _ in range(3):
        epoch(sifter)
    file = io.BytesIO()
    torch.save(sifter.state_dict(), file)
    file.seek(0)
    fresh = Sifter(SiftConfig(**{**config.to_dict(), "seed": 99}), Losses())
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert fresh.meter.left_over == sifter.meter.left_over
    assert [epoch(fresh) for _ in range(2)] == [epoch(sifter) for _ in range(2)]


def test_a_saved_delay_goes_on_where_it_was():
    config = SiftConfig(keep=0.5, sift_delay=15)
    sifter = Sifter(config, Losses())
    ids(an_epoch(sifter, 100, 10))
    fresh = Sifter(config, Losses())
    fresh.load_state_dict(sifter.state_dict())
    assert len(flat(ids(an_epoch(fresh, 100, 10)))) == 75


def test_no_more_batches_are_held_than_a_window_and_a_batch():
    held: list[int] = []

    def watched() -> Iterator[Tensor]:
        for batch in stream(4000, 10):
            held.append(sum(piece.samples for piece in epoch._pieces))
            yield batch

    sifter = Sifter(SiftConfig(keep=0.5, loss_history_length=50), Losses(torch.rand(4000)))
    shape = Shape(4000, 10)
    epoch = SiftedEpoch(sifter, watched(), sifter.plan(shape), shape)
    for _ in epoch:
        assert len(sifter.state_dict()["rule"]["history"]["losses"]) == 50
    assert max(held) <= 70
    assert len(held) == 400


def test_seconds_are_those_of_data_of_scoring_and_of_training():
    now = [0.0]

    def clock() -> float:
        return now[0]

    def source() -> Iterator[Tensor]:
        for batch in stream(100, 50):
            now[0] += 1.0
            yield batch

    class Slow(Losses):
        def __call__(self, transformed: Tensor, original: Any, samples: int) -> Scores:
            now[0] += 10.0
            return super().__call__(transformed, original, samples)

    sifter = Sifter(SiftConfig(keep=0.5), Slow(), meter=Meter(clock))
    shape = Shape(100, 50)
    for _ in SiftedEpoch(sifter, source(), sifter.plan(shape), shape):
        now[0] += 100.0
    meter = sifter.meter
    assert (meter.data_seconds, meter.scoring_seconds, meter.training_seconds) == (2.0, 20.0, 100.0)


def test_the_history_shows_the_share_kept_of_whole_windows():
    sifter = Sifter(SiftConfig(keep=0.5), Losses())
    ids(an_epoch(sifter, 700, 10))
    assert [point.kept_share for point in sifter.meter.history] == [0.5] * 10


def test_classes_are_counted_over_the_batches_of_a_window():
    class Labelled(Losses):
        def __call__(self, transformed: Tensor, original: Any, samples: int) -> Scores:
            scores = super().__call__(transformed, original, samples)
            return Scores(scores.losses, transformed % 2)

    sifter = Sifter(SiftConfig(keep=0.5), Labelled())
    kept = flat(ids(an_epoch(sifter, 200, 10)))
    odd = sum(each % 2 for each in kept)
    assert sifter.meter.classes == {0: [100, 100 - odd], 1: [100, odd]}


def test_every_step_on_a_full_batch_tells_what_one_costs_unsifted():
    now = [0.0]
    sifter = Sifter(SiftConfig(keep=0.5, sift_delay=3), Losses(), meter=Meter(lambda: now[0]))

    def source() -> Iterator[Tensor]:
        for batch in stream(100, 10):
            now[0] += 1.0
            yield batch

    shape = Shape(100, 10)
    for _ in SiftedEpoch(sifter, source(), sifter.plan(shape), shape):
        now[0] += 100.0
    assert list(sifter.meter.full_steps) == [100.0] * 6  # the seventh batch is short
    assert sifter.meter.training_seconds == 700.0
    assert sifter.meter.unsifted_seconds() == 1010.0
