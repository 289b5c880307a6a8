"""A training that is interrupted and goes on: the same samples, one receipt, no delay twice."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, TensorDataset

from smart_sifting import job_report, receipt
from smart_sifting.checkpoints.hooks import patch
from smart_sifting.checkpoints.keeper import Keeper
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader, data_of, shape_of
from smart_sifting.discovery.agreement import agreed
from smart_sifting.discovery.watch import Verdict
from smart_sifting.epoch_plan import Shape, planned_epoch
from smart_sifting.job_report import JobReport
from smart_sifting.loss import Loss
from smart_sifting.ranks import same_on_all_ranks
from smart_sifting.sift_config.job_config import SiftConfig
from smart_sifting.sifter import Sifter

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost tiny models more than they give."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        Clock.now += 0.01
        return Clock.now


class CrossEntropy(Loss):
    def loss(self, model, transformed_batch, original_batch=None):
        x, y = transformed_batch
        return F.cross_entropy(model(x), y, reduction="none")


@contextmanager
def process(folder: Path, config: str | None = "config", **ranks: str) -> Iterator[JobReport]:
    """What one process of a job has, in this one: its report, its keeper, its hooks on torch."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in ranks.items():
            monkeypatch.setenv(name, value)
        report = JobReport(folder / "output", 0.5, clock=Clock())
        report.meter.listener = report.tick
        report.settle("forward", "sifted")
        monkeypatch.setattr(job_report, "_report", report)
        (folder / "checkpoints").mkdir(exist_ok=True)
        patched = patch(
            folder / "checkpoints",
            lambda save, load: Keeper(folder / "checkpoints", report, config, save, load),
        )
        patched.keeper()
        try:
            yield report
        finally:
            patched.undo()


class Interrupted(Exception):
    pass


def train(
    folder: Path,
    report: JobReport,
    sift: dict[str, Any],
    *,
    epochs: int = 4,
    interrupt: tuple[int, int] | None = None,
    save_at: int | None = None,
    drop_last: bool = False,
) -> SimpleNamespace:
    """A script that keeps a checkpoint an epoch, its random state in it, and resumes from it.

    `interrupt` ends it in that epoch after so many steps; `save_at` saves at that step of every
    epoch instead of at its end, and goes on with the epoch from its beginning.
    """
    torch.manual_seed(0)
    centers = torch.randn(4, 6)
    y = torch.arange(410) % 4
    data = TensorDataset(centers[y] + torch.randn(410, 6), y)
    model = nn.Sequential(nn.Linear(6, 16), nn.Dropout(0.2), nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    optimizer.register_step_post_hook(report.count_step)
    loader = DataLoader(data, 10, shuffle=True, drop_last=drop_last)
    sifted = SiftingDataloader(sift, loader, CrossEntropy(), model)
    path = folder / "checkpoints" / "last.pt"
    first, lengths = 0, []
    if path.exists():
        saved = torch.load(path)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["rng"])
        first = saved["epoch"]

    def save(epoch: int) -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state | {"rng": torch.get_rng_state(), "epoch": epoch}, f"{path}.tmp")
        Path(f"{path}.tmp").replace(path)

    for epoch in range(first, epochs):
        lengths.append(len(sifted))
        for step, (x, target) in enumerate(sifted):
            optimizer.zero_grad()
            F.cross_entropy(model(x), target).backward()
            optimizer.step()
            if step + 1 == save_at:
                save(epoch)
            if interrupt == (epoch, step + 1):
                raise Interrupted
        if save_at is None:
            save(epoch + 1)
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return SimpleNamespace(weights=weights, lengths=lengths, receipt=report.receipt(final=True))


def interrupted(folder: Path, sift: dict[str, Any], at: tuple[int, int], **options: Any) -> None:
    with process(folder) as report, pytest.raises(Interrupted):
        train(folder, report, sift, interrupt=at, **options)


@pytest.mark.parametrize(
    "sift",
    [
        {"keep": 0.5},
        {"keep": 0.3, "acceptance": "probabilistic"},
        {"keep": 0.5, "sift_delay": 70},
        {"keep": 1.0},
    ],
)
@pytest.mark.parametrize("drop_last", [False, True])
def test_a_resumed_run_ends_with_the_very_weights_of_one_that_was_not_interrupted(
    sift, drop_last, tmp_path, monkeypatch
):
    if sift.get("acceptance") == "probabilistic":
        monkeypatch.setattr(SiftingDataloader, "__len__", lambda self: 0)
    with process(tmp_path) as report:
        expected = train(tmp_path, report, sift, drop_last=drop_last)
    shutil.rmtree(tmp_path / "checkpoints")

    interrupted(tmp_path, sift, (1, 5), drop_last=drop_last)
    interrupted(tmp_path, sift, (2, 9), drop_last=drop_last)
    with process(tmp_path) as report:
        resumed = train(tmp_path, report, sift, drop_last=drop_last)

    assert torch.equal(resumed.weights, expected.weights)
    assert resumed.lengths == expected.lengths[-2:]
    for field in ("samples", "batches", "steps", "epochs", "classes", "tier"):
        assert getattr(resumed.receipt, field) == getattr(expected.receipt, field), field
    assert [point.loss for point in resumed.receipt.history] == [
        point.loss for point in expected.receipt.history
    ]
    assert len(resumed.receipt.resumed) == 2


def test_without_the_state_the_run_is_another(tmp_path):
    with process(tmp_path) as report:
        expected = train(tmp_path, report, {"keep": 0.5})
    shutil.rmtree(tmp_path / "checkpoints")
    interrupted(tmp_path, {"keep": 0.5}, (2, 9))
    shutil.rmtree(tmp_path / "checkpoints" / ".sift")
    with process(tmp_path) as report:
        fresh = train(tmp_path, report, {"keep": 0.5})
    assert not torch.equal(fresh.weights, expected.weights)
    assert fresh.receipt.epochs == 2
    assert fresh.receipt.resumed == []
    assert fresh.receipt.notes == ["last.pt has no sifting state with it: sifting starts anew"]


def test_an_epoch_saved_in_its_middle_is_begun_again_and_counts_once(tmp_path):
    # The checkpoint of step 5 in the third epoch, with two batches kept and not given yet.
    interrupted(tmp_path, {"keep": 0.5}, (2, 10), save_at=5)
    with process(tmp_path) as report:
        resumed = train(tmp_path, report, {"keep": 0.5}, save_at=5)
    assert resumed.receipt.epochs == 4
    # 21 batches in each of four epochs, and five that were done twice.
    assert resumed.receipt.batches.given == 4 * 21 + 5
    assert resumed.receipt.steps == 4 * 21 + 5
    assert resumed.receipt.samples.left_over == 20
    given = resumed.receipt.samples.kept - resumed.receipt.samples.left_over
    assert given == 4 * 205 + 50


def test_the_receipt_tells_each_restart_and_the_work_that_was_lost(tmp_path):
    interrupted(tmp_path, {"keep": 0.5}, (1, 20))
    live = receipt.read(tmp_path / "checkpoints/.sift/receipt.json")
    assert 21 < live.steps <= 41
    # Interrupted again before it has saved anything, and at last not.
    interrupted(tmp_path, {"keep": 0.5}, (1, 19))
    again = receipt.read(tmp_path / "checkpoints/.sift/receipt.json")
    with process(tmp_path) as report:
        made = train(tmp_path, report, {"keep": 0.5}).receipt
    assert [each.step for each in made.resumed] == [21, 21]
    assert [each.lost_steps for each in made.resumed] == [live.steps - 21, again.steps - 21]
    assert made.resumed[1].lost_steps > 0
    assert made.resumed[1].lost_seconds > 0
    assert made.steps == 84
    assert "resumed twice" in receipt.summary_line(made)


def test_a_job_that_keeps_no_checkpoints_finds_nothing_of_ours_in_their_folder(tmp_path):
    with process(tmp_path) as report:
        report.meter.fetched(10)
        report.meter.whole_batch(10)
        report.close()
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_the_live_receipt_lies_beside_the_checkpoints(tmp_path):
    with process(tmp_path) as report:
        train(tmp_path, report, {"keep": 0.5}, epochs=1)
        report.close()
    (live,) = receipt.read_all(tmp_path / "checkpoints/.sift")
    assert live == receipt.read(tmp_path / "output/receipt.json")
    assert (live.steps, live.final) == (21, True)


def test_a_live_receipt_is_not_written_for_ever_more_often_than_it_changes(tmp_path, monkeypatch):
    with process(tmp_path) as report:
        report.meter.fetched(10)
        report.meter.whole_batch(10)
        torch.save({"epoch": 1}, tmp_path / "checkpoints/last.pt")
        written = []
        monkeypatch.setattr(
            receipt.Receipt, "write", lambda self, path: written.append(Path(path).parent.name)
        )
        for _ in range(3600):  # an hour, one receipt a second
            Clock.now += 1.0
            report.tick()
    assert written.count("output") == 3600
    assert 100 < written.count(".sift") < 500


def test_a_checkpoint_is_known_by_its_content(tmp_path):
    interrupted(tmp_path, {"keep": 0.5}, (2, 9))
    folder = tmp_path / "checkpoints"
    shutil.copy(folder / "last.pt", tmp_path / "copy")
    with process(tmp_path) as report:
        torch.load(tmp_path / "copy")
        assert (report.meter.steps, report.meter.epochs) == (42, 2)
    with process(tmp_path) as report, (folder / "last.pt").open("rb") as file:
        torch.load(f=file)
        assert report.meter.steps == 42


@pytest.mark.parametrize(
    ("config", "ranks", "why"),
    [
        ("other", {}, "the job is sifted in another way now"),
        ("config", {"WORLD_SIZE": "2"}, "it is of 1 ranks, and here are 2"),
    ],
)
def test_the_state_of_another_job_is_not_used_and_that_is_said(config, ranks, why, tmp_path):
    interrupted(tmp_path, {"keep": 0.5}, (2, 9))
    with process(tmp_path, config, **ranks) as report:
        torch.load(tmp_path / "checkpoints/last.pt")
        assert report.meter.steps == 0
        assert report.notes == [f"the sifting state with last.pt is not used: {why}"]


def test_a_loader_that_sifts_in_another_way_starts_anew(tmp_path):
    interrupted(tmp_path, {"keep": 0.5, "sift_delay": 30}, (2, 9))
    with process(tmp_path) as report:
        resumed = train(tmp_path, report, {"keep": 0.5, "sift_delay": 25})
    assert resumed.lengths == [33, 21]  # 25 whole batches and half of the others, then none


def test_a_checkpoint_loaded_after_training_began_changes_nothing(tmp_path):
    interrupted(tmp_path, {"keep": 0.5}, (1, 9))
    shutil.copy(tmp_path / "checkpoints/last.pt", tmp_path / "checkpoints/first.pt")
    interrupted(tmp_path, {"keep": 0.5}, (2, 9))
    with process(tmp_path) as report:
        train(tmp_path, report, {"keep": 0.5})
        torch.load(tmp_path / "checkpoints/first.pt")
        assert report.meter.steps == 84
        assert len(report.resumed) == 2


def test_a_script_may_restore_the_loader_itself(tmp_path):
    data = TensorDataset(torch.randn(95, 6), torch.arange(95) % 4)
    model = nn.Linear(6, 4)
    sift = {"keep": 0.5, "acceptance": "probabilistic"}

    def sifted() -> SiftingDataloader:
        return SiftingDataloader(sift, DataLoader(data, 10, drop_last=True), CrossEntropy(), model)

    path = tmp_path / "checkpoints/own.pt"
    with process(tmp_path) as report:
        loader = sifted()
        list(loader)
        carried = report.meter.left_over
        assert carried > 0
        torch.save({"loader": loader.state_dict()}, path)
        expected = [x.tolist() for x, _ in loader]
    with process(tmp_path) as report:
        fresh = sifted()
        fresh.load_state_dict(torch.load(path)["loader"])
        assert report.meter.left_over == carried  # counted once
        assert [x.tolist() for x, _ in fresh] == expected


# -- several ranks ---------------------------------------------------------------------------------


def test_a_rank_that_does_not_save_goes_on_with_its_own_history(tmp_path):
    """Rank 1 keeps its state at the end of an epoch, and finds it by rank 0's checkpoint."""
    losses = {}
    for attempt in (1, 2):
        for rank in ("0", "1"):
            with process(tmp_path, RANK=rank, WORLD_SIZE="2") as report:
                if attempt == 2:
                    torch.load(tmp_path / "checkpoints/last.pt")
                sifter = Sifter(SiftConfig(), lambda *_: None, meter=report.meter)
                report.keeper.register(sifter, ["Data", 100])
                if attempt == 2:
                    assert report.keeper.take_up(sifter, agree=False)
                    losses[rank] = sifter.rule.history._losses[:1].item()
                    continue
                sifter.rule.history.add(torch.tensor([float(rank)]))
                report.meter.epochs, report.meter.batches_given, report.meter.steps = 1, 10, 10
                report.meter.epoch_ended()
                if rank == "0":
                    torch.save({"epoch": 1}, tmp_path / "checkpoints/last.pt")
    assert losses == {"0": 0.0, "1": 1.0}


def test_a_rank_without_a_state_of_its_own_takes_the_savers_without_its_samples(tmp_path):
    with process(tmp_path, RANK="0", WORLD_SIZE="2") as report:
        sifter = Sifter(SiftConfig(sift_delay=50), lambda *_: None, meter=report.meter)
        report.keeper.register(sifter, ["Data", 100])
        sifter.steps, sifter.carried = 30, [torch.ones(2)]
        report.meter.epochs, report.meter.batches_given = 1, 30
        torch.save({"epoch": 1}, tmp_path / "checkpoints/last.pt")
    for rank, carried in (("0", 1), ("1", 0)):
        with process(tmp_path, RANK=rank, WORLD_SIZE="2") as report:
            torch.load(tmp_path / "checkpoints/last.pt")
            sifter = Sifter(SiftConfig(sift_delay=50), lambda *_: None, meter=report.meter)
            report.keeper.register(sifter, ["Data", 100])
            assert report.keeper.take_up(sifter, agree=False)
            assert (sifter.delay(), len(sifter.carried)) == (20, carried)


def test_alone_a_rank_agrees_with_itself():
    assert same_on_all_ranks(7)
    assert agreed(Verdict.MEMORY) is Verdict.MEMORY


# -- the rest of an epoch --------------------------------------------------------------------------


@pytest.mark.parametrize(("samples", "drop_last"), [(400, False), (405, False), (405, True)])
@pytest.mark.parametrize("skipped", [1, 10, 19])
def test_the_rest_of_an_epoch_ends_where_the_epoch_would_have(samples, drop_last, skipped):
    class Skipping(BatchSampler):
        """As Accelerate's: the first batches of another batch sampler are left out."""

        def __init__(self, batch_sampler: BatchSampler, skip_batches: int) -> None:
            self.batch_sampler, self.skip_batches = batch_sampler, skip_batches

        def __len__(self) -> int:
            return len(self.batch_sampler) - self.skip_batches

    data = TensorDataset(torch.arange(samples))
    whole = DataLoader(data, 10, drop_last=drop_last)
    rest = DataLoader(data, batch_sampler=Skipping(whole.batch_sampler, skipped))
    config = SiftConfig(keep=0.5)
    epoch = planned_epoch(config, shape_of(whole), 0)
    plan = planned_epoch(config, shape_of(rest), 0)
    assert shape_of(rest).samples == shape_of(whole).samples - 10 * skipped
    assert plan.batches == epoch.batches - skipped
    assert plan.kept == epoch.kept - 10 * skipped
    assert data_of(rest) == data_of(whole)


def test_nothing_is_left_of_an_epoch_that_was_over():
    plan = planned_epoch(SiftConfig(keep=0.25), Shape(100, 10, skipped=10), 0)
    assert plan.batches == 1


# -- real processes --------------------------------------------------------------------------------


def test_a_script_that_knows_nothing_of_us_is_killed_and_goes_on(tmp_path):
    script = ROOT / "tests/e2e/loops/resumable.py"
    entrypoints = ROOT / "entrypoints"
    path = [entrypoints / "sift_entrypoint/site", entrypoints, ROOT / "container"]

    def job(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(script), *arguments],
            env={
                "PYTHONPATH": ":".join(map(str, path)),
                "SM_HP_SIFT_CONFIG": '{"keep": 0.5, "sift_delay": 25}',
                "SM_CHECKPOINT_DIR": str(tmp_path / "checkpoints"),
                "SM_OUTPUT_DATA_DIR": str(tmp_path / "output"),
            },
            capture_output=True,
            text=True,
            check=False,
        )

    assert job("--die-in", "3").returncode == -9
    ended = job()
    assert ended.returncode == 0, ended.stderr
    made = receipt.read(tmp_path / "output/receipt.json")
    # 25 whole batches, once; then half of everything.
    assert (made.epochs, made.steps) == (4, 33 + 3 * 20)
    assert made.samples == receipt.Samples(8000, 4625, 3375, 0, 0, 4625)
    assert [each.step for each in made.resumed] == [53]
    # The schedule that the script restores was built from this length: it must hear the same.
    assert '"loader_len": [33, 20, 20]' in ended.stdout
    assert made.notes == []
    assert "sift: resumed from last.pt: sifting goes on after epoch 2 and step 53" in ended.stderr
    assert made.tier == "memory"
