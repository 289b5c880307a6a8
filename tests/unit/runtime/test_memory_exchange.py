"""Ranks that divide a data set remember the same of every sample of it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch.multiprocessing as mp
from torch.utils.data import DistributedSampler
from two_ranks import join_group, leave_group

from smart_sifting.memory.choice import EpochChoice
from smart_sifting.memory.exchange import exchange
from smart_sifting.memory.score_memory import ScoreMemory

NAN = float("nan")
# Neither 2 nor 4 divides it: the sampler pads.
SAMPLES = 1001
EPOCHS = 30


def test_one_rank_has_nothing_to_exchange():
    memory = ScoreMemory(3)
    memory.record(np.array([1]), np.array([2.0]))
    changes = np.array([1, -2, 3])
    assert exchange(memory, changes, shown=1).tolist() == [1, -2, 3]
    assert memory.fresh[1] == 2.0


@pytest.fixture(scope="module", params=[2, 4])
def told(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What each of several ranks has to tell, lowest first."""
    world_size = request.param
    folder = tmp_path_factory.mktemp(f"ranks-{world_size}")
    mp.spawn(one_rank, args=(world_size, str(folder)), nprocs=world_size)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world_size)]


def test_all_ranks_hold_the_same_memory_after_every_epoch(told):
    digests = [each["digests"] for each in told]
    assert len(set(digests[0])) == EPOCHS
    assert all(each == digests[0] for each in digests)


def test_all_samples_are_visited_equally_often_however_the_ranks_divide_them(told):
    visits = sum(np.array(each["visits"]) for each in told)
    per_rank = -(-SAMPLES // len(told)) // 2
    assert visits.sum() == len(told) * per_rank * EPOCHS
    # Half of them in an epoch. A rank's share may have more or fewer of those that are owed one.
    assert visits.min() >= EPOCHS // 2 - 2
    assert visits.max() <= EPOCHS // 2 + 2
    assert visits.std() < 0.6


def test_every_rank_knows_every_ranks_losses_and_classes(told):
    """Rank r was trained on sample r with loss r + 1, and all of them on the last sample."""
    world_size = len(told)
    for each in told:
        assert each["scores"] == [*(r + 1.0 for r in range(world_size)), NAN_IN_JSON, world_size]
        assert each["classes"] == [*(10 + r for r in range(world_size)), 65535, 9]


def test_a_loss_that_was_not_finite_anywhere_is_known_everywhere(told):
    assert all(each["not_finite"] == [False, True, False] for each in told)


def test_ranks_with_data_sets_of_their_own_keep_memories_of_their_own(told):
    for rank, each in enumerate(told):
        assert each["own length"] == [float(rank)] * (5 + rank)
        assert each["own data"] == [float(rank)] * 5


def test_a_samplers_weights_survive_on_several_ranks(told):
    visits = sum(np.array(each["weighted visits"]) for each in told)
    shown = sum(np.array(each["weighted shown"]) for each in told)
    assert shown.max() > 8 * shown.min()
    assert abs(visits - shown / 2).max() <= 3


NAN_IN_JSON = "unknown"


def one_rank(rank: int, world_size: int, folder: str) -> None:
    join_group(rank, folder, world_size)
    told = {
        **even_visits(rank, world_size),
        **weighted_visits(rank, world_size),
        **merged(rank, world_size),
        "own length": own_data(rank, samples=5 + rank, shown=2),
        "own data": own_data(rank, samples=5, shown=5),
    }
    Path(folder, f"{rank}.json").write_text(json.dumps(told))
    leave_group()


def even_visits(rank: int, world_size: int) -> dict[str, Any]:
    sampler = DistributedSampler(range(SAMPLES), world_size, rank, shuffle=True)
    memory, choice = ScoreMemory(SAMPLES), EpochChoice(0)
    visits = np.zeros(SAMPLES, np.int64)
    digests = []
    for epoch in range(EPOCHS):
        sampler.set_epoch(epoch)
        sequence = np.fromiter(sampler, np.int64)
        chosen = choice.choose(memory, sequence, len(sequence) // 2)
        np.add.at(visits, chosen, 1)
        memory.record(chosen, np.sin(chosen + epoch) + rank / 7, chosen % 5)
        choice.settle(memory, chosen, len(sequence))
        digests.append(digest(memory))
    return {"visits": visits.tolist(), "digests": digests}


def digest(memory: ScoreMemory) -> str:
    content = b"".join(tensor.numpy().tobytes() for tensor in memory.state_dict().values())
    return hashlib.sha256(content).hexdigest()


def weighted_visits(rank: int, world_size: int) -> dict[str, Any]:
    samples, epochs = 100, 60
    memory, choice = ScoreMemory(samples), EpochChoice(0)
    shares = np.linspace(1, 19, samples)
    draws = np.random.default_rng(rank)
    visits, shown = np.zeros(samples, np.int64), np.zeros(samples, np.int64)
    for _ in range(epochs):
        sequence = draws.choice(samples, samples // world_size, p=shares / shares.sum())
        chosen = choice.choose(memory, sequence, len(sequence) // 2)
        np.add.at(visits, chosen, 1)
        np.add.at(shown, sequence, 1)
        choice.settle(memory, chosen, len(sequence))
    return {"weighted visits": visits.tolist(), "weighted shown": shown.tolist()}


def merged(rank: int, world_size: int) -> dict[str, Any]:
    memory = ScoreMemory(world_size + 2)
    everyone = world_size + 1
    losses = np.array([rank + 1.0, rank + 1.0])
    # Rank 0 alone knows the class of the last one.
    classes = np.array([10 + rank, 9 if rank == 0 else -1])
    memory.record(np.array([rank, everyone]), losses, classes)
    EpochChoice(0).settle(memory, np.empty(0, np.int64), shown=2)
    scores = [NAN_IN_JSON if np.isnan(score) else score for score in memory.scores.tolist()]

    broken = ScoreMemory(3)
    broken.record(np.array([0, 1]), np.array([5.0, NAN if rank == 0 else 5.0]))
    EpochChoice(0).settle(broken, np.empty(0, np.int64), shown=2)
    return {
        "scores": scores,
        "classes": memory.class_ids.tolist(),
        "not_finite": broken.not_finite.tolist(),
    }


def own_data(rank: int, samples: int, shown: int) -> list[float]:
    """Scores of a data set that this rank has for itself, with a loss of its own number."""
    memory, choice = ScoreMemory(samples), EpochChoice(0)
    chosen = choice.choose(memory, np.arange(samples), samples)
    memory.record(chosen, np.full(samples, float(rank)))
    choice.settle(memory, chosen, shown)
    return memory.scores.tolist()
