"""Schedules built for one number of batches run at the pace of another and end at their end."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from smart_sifting.discovery.schedules import Positions, positions, stretch


@pytest.fixture
def start() -> Positions:
    """Where other tests' schedulers stand, which may be there until a garbage collection."""
    return positions()


def optimizer() -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def stepped(scheduler: LRScheduler, calls: int) -> LRScheduler:
    for _ in range(calls):
        scheduler.optimizer.step()
        scheduler.step()
    return scheduler


def test_a_schedule_for_half_of_the_batches_takes_every_second_step(start: Positions) -> None:
    scheduler = stepped(LambdaLR(optimizer(), lambda step: 1 - step / 60), 12)
    assert stretch(told=30, true=60, before=start, passes=1) == 1
    seen = []
    for _ in range(120 - 12):
        stepped(scheduler, 1)
        seen.append(scheduler.last_epoch)
    # It has run ahead by six steps and waits for them first.
    assert seen[:14] == [12] * 13 + [13]
    assert seen[-1] == 60


def test_a_schedule_for_twice_the_batches_takes_two_steps_at_once(start: Positions) -> None:
    scheduler = stepped(LinearLR(optimizer(), 1.0, 0.0, total_iters=120), 12)
    assert stretch(told=60, true=30, before=start, passes=1) == 1
    stepped(scheduler, 1)
    assert scheduler.last_epoch == 26
    stepped(scheduler, 60 - 13)
    assert scheduler.last_epoch == 120
    assert scheduler.get_last_lr() == [0.0]


def test_a_schedule_that_steps_by_the_epoch_is_left_alone(start: Positions) -> None:
    by_epoch = stepped(StepLR(optimizer(), 1), 1)
    assert stretch(told=30, true=60, before=start, passes=1) == 0
    stepped(by_epoch, 5)
    assert by_epoch.last_epoch == 6


def test_schedules_inside_another_are_stepped_by_it_alone(start: Positions) -> None:
    inner = optimizer()
    warm, hold = LinearLR(inner, 0.1, 1.0, total_iters=10), ConstantLR(inner, 1.0)
    scheduler = stepped(SequentialLR(inner, [warm, hold], milestones=[10]), 4)
    assert stretch(told=30, true=60, before=start, passes=1) == 1
    stepped(scheduler, 16)
    assert scheduler.last_epoch == 10


def test_a_plateau_schedule_is_left_alone(start: Positions) -> None:
    plateau = ReduceLROnPlateau(optimizer())
    for _ in range(5):
        plateau.step(1.0)
    assert stretch(told=30, true=60, before=start, passes=1) == 0


def test_a_fitted_schedule_saves_the_state_that_it_saved_before(start: Positions) -> None:
    scheduler = stepped(StepLR(optimizer(), 5), 12)
    before = set(scheduler.state_dict())
    assert stretch(told=30, true=60, before=start, passes=1) == 1
    assert set(scheduler.state_dict()) == before


def test_a_chain_is_as_far_as_its_parts() -> None:
    both = optimizer()
    chain = ChainedScheduler([StepLR(both, 4), LinearLR(both, 0.1, 1.0, total_iters=50)])
    for _ in range(6):
        both.step()
        chain.step()
    assert positions()[chain] == 6


def test_in_a_resumed_training_only_the_steps_since_count() -> None:
    by_epoch = stepped(StepLR(optimizer(), 30), 40)
    by_batch = stepped(LambdaLR(optimizer(), lambda step: 1.0), 500)
    before = positions()
    stepped(by_batch, 12)
    stepped(by_epoch, 1)

    assert stretch(told=30, true=60, before=before, passes=1) == 1

    stepped(by_epoch, 1)
    assert by_epoch.last_epoch == 42
    stepped(by_batch, 60 - 12)
    assert by_batch.last_epoch == 530
