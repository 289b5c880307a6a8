"""A job that sifts by memory, killed at any step: it ends as if nothing had happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from accelerate import Accelerator
from interrupted_jobs import (
    BATCH,
    Indexed,
    Killed,
    Seeded,
    Trained,
    dropout_net,
    plain_net,
    process,
)
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler
from torchdata.stateful_dataloader import StatefulDataLoader
from two_ranks import join_group, leave_group

from smart_sifting.checkpoints.states import States
from smart_sifting.job_report import JobReport

pytestmark = pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")

EPOCHS = 4
# Where a process is killed: in an epoch after so many steps, or between a file and its name.
Kill = tuple[int, int] | tuple[str, int]
Script = Callable[..., Trained]


class Training:
    """A model, what trains it and where it is saved: the same in each of the scripts."""

    def __init__(self, folder: Path, loader: Any, kill: Kill | None, dropout: bool = True) -> None:
        torch.manual_seed(0)
        self.model = dropout_net() if dropout else plain_net()
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimizer, 0.2, total_steps=EPOCHS * len(loader)
        )
        self.path = folder / "checkpoints/last.pt"
        self.kill = kill
        self.trained = Trained()
        self.saved: dict[str, Any] = {"epoch": 0, "step": 0}
        if self.path.exists():
            self.saved = torch.load(self.path, weights_only=False)
            for part in (self.model, self.optimizer, self.schedule):
                part.load_state_dict(self.saved[type(part).__name__])

    def step(self, batch: Any, epoch: int, step: int) -> None:
        x, y, index = batch
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()
        self.optimizer.step()
        self.schedule.step()
        self.trained.note(epoch, step, index.tolist(), self.schedule.get_last_lr()[0])

    def survive(self, epoch: int, step: int) -> None:
        if self.kill == (epoch, step):
            raise Killed

    def save(self, **place: Any) -> None:
        parts = (self.model, self.optimizer, self.schedule)
        state = {type(part).__name__: part.state_dict() for part in parts}
        written = self.path.with_suffix(".tmp")
        torch.save(state | {"generator": torch.get_rng_state()} | place, written)
        if self.kill == ("unnamed", place["epoch"]):
            raise Killed
        written.replace(self.path)

    def ended(self) -> Trained:
        weights = [p.detach().flatten() for p in self.model.parameters()]
        self.trained.weights = torch.cat(weights)
        return self.trained


def every_epoch(
    folder: Path, kill: Kill | None = None, samples: int = 400, **options: Any
) -> Trained:
    """Saves at each epoch's end."""
    loader = DataLoader(Indexed(samples), BATCH, shuffle="sampler" not in options, **options)
    # Workers that live on draw no seed anew; a process that is started does.
    job = Training(folder, loader, kill, dropout="sampler" not in options)
    if "generator" in job.saved:
        torch.set_rng_state(job.saved["generator"])
    for epoch in range(job.saved["epoch"], EPOCHS):
        if isinstance(loader.sampler, Seeded):
            loader.sampler.epoch = epoch
        for step, batch in enumerate(loader, 1):
            job.step(batch, epoch, step)
            job.survive(epoch, step)
        job.trained.lengths[epoch] = len(loader)
        job.save(epoch=epoch + 1, step=0)
        job.survive(epoch + 1, 0)
    return job.ended()


def passing_over(folder: Path, kill: Kill | None = None, **options: Any) -> Trained:
    """Saves every four steps, and passes over the batches that it has trained on."""
    loader = DataLoader(Indexed(), BATCH, shuffle=True, **options)
    job = Training(folder, loader, kill)
    if "generator" in job.saved:
        torch.set_rng_state(job.saved["epochs_generator"])
    for epoch in range(job.saved["epoch"], EPOCHS):
        generator = torch.get_rng_state()
        had = job.saved["step"] if epoch == job.saved["epoch"] else 0
        for step, batch in enumerate(loader, 1):
            if step <= had:
                if step == had:
                    torch.set_rng_state(job.saved["generator"])
                continue
            job.step(batch, epoch, step)
            if step % 4 == 0:
                job.save(epoch=epoch, step=step, epochs_generator=generator)
            job.survive(epoch, step)
    return job.ended()


def restoring_the_loader(folder: Path, kill: Kill | None = None, **options: Any) -> Trained:
    """torchdata's loader, whose state is in the checkpoint."""
    torch.manual_seed(0)  # its sampler draws a seed as it is made
    loader = StatefulDataLoader(Indexed(), BATCH, shuffle=True, **options)
    job = Training(folder, loader, kill)
    if "loader" in job.saved:
        loader.load_state_dict(job.saved["loader"])
    for epoch in range(job.saved["epoch"], EPOCHS):
        batches = iter(loader)
        had = job.saved["step"] if epoch == job.saved["epoch"] else 0
        if had:
            torch.set_rng_state(job.saved["generator"])
        for step, batch in enumerate(batches, had + 1):
            job.step(batch, epoch, step)
            if step % 4 == 0:
                job.save(epoch=epoch, step=step, loader=loader.state_dict())
            job.survive(epoch, step)
    return job.ended()


def leaving_out(folder: Path, kill: Kill | None = None, **options: Any) -> Trained:
    """Accelerate, which fetches a batch ahead and leaves out what the script has trained on."""
    accelerator = Accelerator(cpu=True)
    loader = DataLoader(Indexed(), BATCH, sampler=Seeded(), **options)
    job = Training(folder, loader, kill, dropout=False)
    prepared = accelerator.prepare(loader)
    for epoch in range(job.saved["epoch"], EPOCHS):
        loader.sampler.epoch = epoch
        had = job.saved["step"] if epoch == job.saved["epoch"] else 0
        batches = accelerator.skip_first_batches(prepared, had) if had else prepared
        for step, batch in enumerate(batches, had + 1):
            job.step(batch, epoch, step)
            if step % 4 == 0:
                job.save(epoch=epoch, step=step)
            job.survive(epoch, step)
    return job.ended()


def counts(report: JobReport) -> dict[str, Any]:
    made = report.receipt(final=True)
    return {
        "tier": (made.tier, made.reason),
        "samples": (made.samples.seen, made.samples.kept, made.samples.left_over),
        "batches": made.batches,
        "steps": (made.steps, made.epochs),
        "classes": made.classes,
        "notes": made.notes,
    }


def check(
    script: Script,
    folder: Path,
    kills: list[list[Kill]],
    options: dict[str, Any] | None = None,
    **sift: Any,
) -> None:
    """A job killed at each of these places in turn ends as one that was not killed."""
    options = options or {}
    with process(folder / "whole", **sift) as report:
        expected = script(folder / "whole", **options)
    for number, each in enumerate(kills):
        job = folder / f"killed-{number}"
        for kill in each:
            with process(job, **sift), pytest.raises(Killed):
                script(job, kill, **options)
        with process(job, **sift) as resumed:
            ended = script(job, **options)
        assert torch.equal(ended.weights, expected.weights), each
        for (epoch, step), batch in ended.batches.items():
            assert batch == expected.batches[epoch, step], (each, epoch, step)
        for epoch, length in ended.lengths.items():
            assert length == expected.lengths[epoch], each
        assert counts(resumed) == counts(report), each
        # What was passed over is no training step that took no time.
        assert resumed.meter.measured_steps <= report.meter.measured_steps, each


# Batches are ten samples, and an epoch is 20 of them.
EVERYWHERE: list[list[Kill]] = [
    [(0, 3)],  # while the loss is looked for, and before any checkpoint
    [(0, 11)],  # just after
    [(0, 20)],
    [(1, 0)],
    [(1, 1)],
    [(2, 20)],
    [("unnamed", 2)],
    [(1, 3), (1, 15), (3, 4)],
    [(0, 5), (3, 20)],
]


def test_wherever_it_is_killed(tmp_path: Path) -> None:
    check(every_epoch, tmp_path, EVERYWHERE)


@pytest.mark.parametrize(
    ("options", "sift"),
    [
        ({"samples": 405, "drop_last": True}, {"keep": 0.3}),
        ({"samples": 405}, {"keep": 0.3, "source": "batch"}),
        ({}, {"keep": 0.5, "sift_delay": 50}),
        ({"num_workers": 2}, {"keep": 0.5}),
        ({}, {"keep": 0.5, "source": "batch"}),
        (
            {"num_workers": 2, "persistent_workers": True, "sampler": Seeded()},
            {},
        ),
    ],
)
def test_whatever_the_loader_is(
    options: dict[str, Any], sift: dict[str, Any], tmp_path: Path
) -> None:
    check(every_epoch, tmp_path, [[(0, 5), (2, 7)]], options, **sift)


WITHIN: list[list[Kill]] = [[(0, 13)], [(0, 20), (1, 7)], [(1, 20)], [(1, 9), (1, 17), (3, 9)]]


@pytest.mark.parametrize("script", [passing_over, restoring_the_loader, leaving_out])
def test_in_the_middle_of_an_epoch(script: Script, tmp_path: Path) -> None:
    check(script, tmp_path, WITHIN)


@pytest.mark.parametrize("script", [passing_over, restoring_the_loader])
def test_in_the_middle_of_an_epoch_with_batches_on_their_way(
    script: Script, tmp_path: Path
) -> None:
    check(script, tmp_path, [[(0, 13), (1, 11)]], {"num_workers": 2}, source="batch")


def test_in_the_middle_of_whole_batches(tmp_path: Path) -> None:
    check(passing_over, tmp_path, [[(0, 5), (0, 18)]], keep=0.5, sift_delay=15)


# -- ranks -----------------------------------------------------------------------------------------


def on_a_rank(folder: Path, kill: Kill | None = None) -> Trained:
    """Rank 0 saves for all, at each epoch's end."""
    rank = dist.get_rank()
    sampler: DistributedSampler[Any] = DistributedSampler(Indexed(), seed=3)
    loader = DataLoader(Indexed(), BATCH, sampler=sampler)
    job = Training(folder, loader, kill, dropout=False)
    model, job.model = job.model, DistributedDataParallel(job.model)
    for epoch in range(job.saved["epoch"], EPOCHS):
        sampler.set_epoch(epoch)
        for step, batch in enumerate(loader, 1):
            job.step(batch, epoch, step)
            job.survive(epoch, step)
        if rank == 0:
            ranks, job.model = job.model, model
            job.save(epoch=epoch + 1, step=0)
            job.model = ranks
        dist.barrier()
    return job.ended()


def ranks_are_killed(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    join_group(rank, folder)
    check(on_a_rank, Path(folder) / "jobs", [[(1, 5), (2, 9)]])
    Path(folder, f"passed-{rank}").touch()
    leave_group()


def test_every_rank_goes_on_with_its_own_samples(tmp_path: Path) -> None:
    mp.spawn(ranks_are_killed, args=(str(tmp_path),), nprocs=2)
    assert sorted(path.name for path in tmp_path.glob("passed-*")) == ["passed-0", "passed-1"]


# -- what it costs ---------------------------------------------------------------------------------


class Within:
    """An epoch that runs."""

    unfinished, waiting, repeatable = True, 0, 0


def test_states_within_epochs_take_a_hundredth_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes half a second here, and the script saves once a second."""
    now = [0.0]
    kept: list[str] = []

    def keep(_states: States, name: str, *_: Any) -> None:
        now[0] += 0.5
        kept.append(name)

    monkeypatch.setattr(States, "keep", keep)
    with process(tmp_path) as report:
        epoch = Within()
        report.passes.add(epoch)
        report.meter.batches_given = 1
        report.meter.clock = report.keeper._clock = lambda: now[0]
        report.meter.started = 0.0
        for second in range(1000):
            now[0] += 1.0
            report.meter.steps += 1
            torch.save({"second": second}, tmp_path / "checkpoints/last.pt")
        assert 20 <= len(kept) <= 22
        assert report.notes == [
            "some checkpoints within an epoch have no sifting state, which would have taken more "
            "than 1% of the time: a job that goes on from one of them sifts anew"
        ]
        epoch.unfinished = False
        kept.clear()
        for number in range(3):
            report.meter.steps += 1
            torch.save({"number": number}, tmp_path / "checkpoints/last.pt")
        assert len(kept) == 3


def test_the_state_of_a_checkpoint_of_several_files_is_written_once(tmp_path: Path) -> None:
    with process(tmp_path) as report:
        report.meter.batches_given = 1
        for step in range(2):
            report.meter.steps = step
            for name in ("model.pt", "optimizer.pt", "generators.pt"):
                torch.save({name: step}, tmp_path / "checkpoints" / f"{step}-{name}")
        states = list((tmp_path / "checkpoints/.sift").iterdir())
    assert len([path for path in states if path.suffix == ".pt"]) == 6
    assert len({path.stat().st_ino for path in states if path.suffix == ".pt"}) == 2
    assert [path.name for path in states if path.suffix == ".part"] == []
    with process(tmp_path) as report:
        torch.load(tmp_path / "checkpoints/1-generators.pt")
        assert report.meter.steps == 1
