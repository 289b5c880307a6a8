"""A forward pass that the next training step cannot tell from none."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.nn.parallel import DataParallel, DistributedDataParallel
from two_ranks import join_group, leave_group

from smart_sifting.no_trace import cuda_devices, no_trace, synchronize, unwrapped


def mixed_model() -> nn.Sequential:
    """Dropout and BatchNorm in training; a frozen part in evaluation mode."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
        nn.Linear(4, 4),
        nn.BatchNorm1d(4),
        nn.Dropout(0.5),
        nn.Linear(4, 2),
    )
    model.train()
    model[0].eval()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    return model


def generators() -> tuple[list[int], object, list[int]]:
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


def draw_from_every_generator() -> None:
    torch.rand(3)
    random.random()
    np.random.rand(3)


@pytest.mark.parametrize("evaluate", [True, False])
def test_every_module_gets_its_own_flag_back(evaluate):
    model = mixed_model()
    flags = [module.training for module in model.modules()]
    assert flags == [True, False, False, False, True, True, True, True]
    with no_trace([model], evaluate=evaluate):
        inside = [module.training for module in model.modules()]
        model.train(evaluate)
    assert inside == ([False] * 8 if evaluate else flags)
    if evaluate:
        assert [module.training for module in model.modules()] == flags


def test_a_module_that_sets_its_attributes_its_own_way_is_set_that_way():
    class Announcing(nn.Module):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "training":
                heard.append(value)
            super().__setattr__(name, value)

    heard: list[object] = []
    model = nn.Sequential(Announcing(), nn.Dropout())
    heard.clear()
    with no_trace([model]):
        assert not model[0].training
    assert heard == [False, True]
    assert model[0].training


@pytest.mark.parametrize("evaluate", [True, False])
def test_weights_and_buffers_are_as_before(evaluate):
    model = mixed_model()
    model(torch.rand(8, 4))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert before["2.num_batches_tracked"] == 1
    with no_trace([model], evaluate=evaluate):
        model(torch.rand(8, 4))
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_replay_in_training_mode_does_not_spoil_the_users_own_backward():
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    loss = model(torch.rand(8, 4)).sum()
    with no_trace([model], evaluate=False):
        model(torch.rand(8, 4))
    loss.backward()
    assert model[0].num_batches_tracked == 1


@pytest.mark.parametrize("evaluate", [True, False])
def test_every_generator_goes_on_where_it_was(evaluate):
    model = mixed_model()
    before = generators()
    with no_trace([model], evaluate=evaluate):
        model.train()
        model(torch.rand(8, 4))
        draw_from_every_generator()
        assert generators() != before
    assert generators() == before


def test_an_exception_inside_leaves_no_trace_either():
    model = mixed_model()
    flags = [module.training for module in model.modules()]
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    before = generators()
    with pytest.raises(ZeroDivisionError), no_trace([model], evaluate=False):
        model(torch.rand(8, 4))
        draw_from_every_generator()
        1 / 0  # noqa: B018
    with pytest.raises(ZeroDivisionError), no_trace([model]):
        model(torch.rand(8, 4))
        draw_from_every_generator()
        1 / 0  # noqa: B018
    assert [module.training for module in model.modules()] == flags
    assert generators() == before
    assert torch.is_grad_enabled()
    assert torch.is_autocast_cache_enabled()
    assert all(torch.equal(dict(model.named_buffers())[n], b) for n, b in buffers.items())


def test_gradients_that_accumulate_are_not_touched():
    model = mixed_model()
    model(torch.rand(8, 4)).sum().backward()
    gradients = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    wanted = [p.requires_grad for p in model.parameters()]
    with no_trace([model]):
        assert not model(torch.rand(8, 4)).requires_grad
    assert [p.requires_grad for p in model.parameters()] == wanted == [False] * 4 + [True] * 6
    after = [p.grad for p in model.parameters() if p.grad is not None]
    assert len(gradients) == 6
    assert all(torch.equal(one, other) for one, other in zip(gradients, after, strict=True))


@pytest.mark.parametrize("enabled", [True, False])
def test_gradients_stay_enabled_or_disabled_as_they_were(enabled):
    with torch.set_grad_enabled(enabled):
        with no_trace([nn.Identity()]):
            assert not torch.is_grad_enabled()
        assert torch.is_grad_enabled() is enabled


def test_the_weights_that_autocast_remembers_still_get_gradients():
    model = nn.Linear(4, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with no_trace([model]):
            model(torch.rand(8, 4))
        model(torch.rand(8, 4)).sum().backward()
    assert model.weight.grad is not None


def test_autocast_remembers_nothing_of_what_is_scored():
    # A cast that the scoring left there would be of the weights before the next optimizer step.
    model = nn.Linear(4, 2)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        with no_trace([model]):
            model(torch.rand(8, 4))
        model.weight.fill_(3.0)
        model.bias.fill_(0.5)
        assert model(torch.ones(1, 4)).tolist() == [[12.5, 12.5]]


@pytest.mark.parametrize("enabled", [True, False])
def test_autocasts_cache_is_enabled_or_disabled_as_it_was(enabled):
    with torch.autocast("cpu", dtype=torch.bfloat16, cache_enabled=enabled):
        with no_trace([nn.Identity()]):
            assert not torch.is_autocast_cache_enabled()
        assert torch.is_autocast_cache_enabled() is enabled


def test_a_model_without_an_accelerator_has_none_to_wait_for_nor_to_restore():
    model = nn.Linear(2, 2)
    assert cuda_devices([model]) == set()
    synchronize([model])


def test_the_module_inside_data_parallel_wrappers_is_found(one_rank):
    model = nn.Linear(2, 2)
    assert unwrapped(model) is model
    assert unwrapped(DataParallel(model)) is model
    assert unwrapped(DistributedDataParallel(model)) is model
    assert unwrapped(DataParallel(DistributedDataParallel(model))) is model


def test_the_module_inside_a_compiled_wrapper_is_found_and_a_compiled_module_stays(one_rank):
    model = nn.Linear(2, 2)
    compiled = torch.compile(model, backend="eager")
    assert unwrapped(compiled) is compiled
    assert unwrapped(torch.compile(DistributedDataParallel(model), backend="eager")) is model


@pytest.fixture
def one_rank(tmp_path: Path):
    dist.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("held", [False, True], ids=["wrapped", "wrapped inside a holder"])
def test_ranks_score_different_numbers_of_windows_and_stay_in_step(tmp_path: Path, held: bool):
    mp.spawn(_rank, args=(str(tmp_path), held), nprocs=2)
    gradients, buffers = zip(
        *(torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)), strict=True
    )
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(buffers[0], buffers[1])
    # The mean of the two ranks' own gradients: they did synchronise.
    assert gradients[0].tolist() == [[1.5, 1.5]]
    assert buffers[0].tolist() == [1.5]


class Counting(nn.Module):
    """A buffer of its own on every rank, which DDP broadcasts before a training forward."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 1, bias=False)
        self.register_buffer("last", torch.zeros(1))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs)


def _rank(rank: int, folder: str, held: bool) -> None:
    join_group(rank, folder)
    model = DistributedDataParallel(Counting())
    # A script may hold its replica inside another module, and call that one.
    scored = nn.Sequential(model) if held else unwrapped(model)
    for _ in range(1 + rank):  # a collective in here would wait for the other rank for ever
        with no_trace([scored]):
            scored(torch.rand(3, 2))
    model.module.last.fill_(1.5 + rank)
    model(torch.full((1, 2), 1.0 + rank)).sum().backward()
    torch.save((model.module.linear.weight.grad, model.module.last), Path(folder) / f"{rank}.pt")
    leave_group()
