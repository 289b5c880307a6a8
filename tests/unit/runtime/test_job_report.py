"""What a process counts, and the receipt that it writes of it."""

from __future__ import annotations

import logging
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import tensor
from torch.utils.data import DataLoader

from smart_sifting import job_report, receipt
from smart_sifting.job_report import JobReport
from smart_sifting.meter import HISTORY_POINTS, MAX_CLASSES, Meter

NAN = float("nan")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def report(tmp_path: Path, clock: Clock) -> JobReport:
    made = JobReport(tmp_path / "output", 0.5, "quota", clock)
    made.settle("forward", "the script uses SiftingDataloader itself")
    made.loader("DataLoader", "training", "sifted by the script")
    return made


@pytest.fixture
def said(caplog) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="smart_sifting")
    return caplog


# -- the meter -------------------------------------------------------------------------------------


def test_samples_batches_and_classes_are_counted():
    meter = Meter()
    meter.fetched(4)
    meter.whole_batch(4)
    meter.fetched(4)
    meter.sifted_batch(tensor([1.0, 2.0, NAN, 3.0]), [1, 2], tensor([7, 7, 0, 7]))
    meter.fetched(2)
    meter.sifted_batch(tensor([1.0, 2.0]), [], tensor([0, 5]))
    assert (meter.seen, meter.kept, meter.non_finite) == (10, 6, 1)
    assert (meter.batches_seen, meter.batches_given) == (3, 1)
    assert meter.classes == {7: [3, 1], 0: [2, 1], 5: [1, 0]}


def test_labels_that_name_every_sample_do_not_fill_the_memory():
    meter = Meter()
    for start in range(0, 5000, 100):
        meter.fetched(100)
        meter.sifted_batch(torch.ones(100), [0], torch.arange(start, start + 100))
    assert len(meter.classes) == MAX_CLASSES == 1000
    assert meter.classes[0] == [1, 1]


def test_a_point_of_the_history_says_step_seconds_share_and_mean_loss(clock):
    meter = Meter(clock)
    clock.now += 2.5
    meter.fetched(4)
    meter.batches_given = 3
    meter.sifted_batch(tensor([1.0, 2.0, NAN, 3.0]), [0], None)
    assert meter.history == [receipt.HistoryPoint(step=3, seconds=2.5, kept_share=0.25, loss=2.0)]


def test_a_batch_without_a_finite_loss_makes_no_point():
    meter = Meter()
    meter.fetched(1)
    meter.sifted_batch(tensor([NAN]), [0], None)
    assert meter.history == []


def test_the_history_has_at_most_400_points_evenly_spread():
    meter = Meter()
    for step in range(1, 5001):
        meter.fetched(1)
        meter.batches_given = step
        meter.sifted_batch(torch.ones(1), [0], None)
        assert len(meter.history) <= HISTORY_POINTS == 400
    steps = [point.step for point in meter.history]
    assert len(steps) > 200
    assert steps[0] <= 2
    assert steps[-1] > 4900
    assert max(b - a for a, b in pairwise(steps)) <= 2 * 16


def test_what_a_batch_costs_unsifted_is_the_median_step_and_the_mean_of_the_data():
    meter = Meter(data_seconds=8.0, batches_seen=20, batches_loaded=10)
    for seconds in (1.0, 9.0, 2.0):
        meter.step(seconds, measured=True)
    meter.step(50.0, measured=False)
    assert meter.unsifted_step() == (2.0, 0.8)
    assert (meter.training_seconds, meter.measured_steps) == (62.0, 3)


def test_the_last_thousand_steps_are_remembered_and_all_are_counted():
    meter = Meter()
    for seconds in [9.0] * 600 + [1.0] * 600:
        meter.step(seconds, measured=True)
    assert (len(meter.full_steps), meter.measured_steps) == (1000, 1200)
    assert meter.unsifted_step() == (1.0, 0.0)


def test_no_step_measured_is_nothing_known():
    assert Meter().unsifted_step() is None
    assert Meter().unsifted_seconds() == 0.0


def test_batches_of_one_update_cost_what_the_update_costs():
    meter = Meter()
    for update in range(1, 5):
        for _ in range(3):
            meter.step(0.0, measured=True)  # fetched ahead, all of the update's batches
        meter.steps = update
        meter.step(8.0, measured=True)
    assert meter.unsifted_step() == (2.0, 0.0)


def test_whole_steps_cost_what_they_took_and_all_other_batches_what_one_costs_unsifted():
    meter = Meter(batches_seen=10, batches_loaded=10, batches_given=5, data_seconds=5.0)
    meter.whole_step(5.0, 1.0, measured=False)
    meter.whole_step(2.0, 0.5, measured=True)
    assert list(meter.full_steps) == [2.0]
    assert meter.training_seconds == 7.0
    assert meter.unsifted_seconds() == 6.0 + 2.5 + 8 * 2.5


def test_whoever_listens_hears_of_every_batch():
    heard = []
    meter = Meter(listener=lambda: heard.append(meter.kept))
    meter.fetched(8)
    meter.whole_batch(4)
    meter.sifted_batch(torch.ones(4), [0], None)
    assert heard == [4, 5]


def test_counts_on_trial_can_be_taken_over():
    meter = Meter(seen=1, kept=1, batches_seen=1, batches_given=1)
    other = Meter(seen=4, kept=3, batches_seen=2, batches_given=1, data_seconds=0.5)
    other.training_seconds = 0.25
    meter.absorb(other)
    assert (meter.seen, meter.kept, meter.batches_seen, meter.batches_given) == (5, 4, 3, 2)
    assert (meter.training_seconds, meter.data_seconds) == (0.25, 0.5)


# -- the receipt -----------------------------------------------------------------------------------


def test_the_receipt_holds_what_was_counted_and_what_it_saved(report, clock):
    clock.now += 30.0
    meter = report.meter
    meter.seen, meter.kept, meter.left_over, meter.non_finite = 1000, 500, 3, 2
    meter.batches_seen, meter.batches_given, meter.epochs = 128, 50, 2
    meter.batches_loaded = 128
    meter.scoring_seconds, meter.training_seconds = 2.0, 10.0
    meter.data_seconds, meter.discovery_seconds = 4.0, 1.0
    meter.full_steps.extend([0.25] * 8)
    meter.measured_steps = 8
    meter.classes = {3: [500, 200], 1: [500, 300]}
    for _ in range(50):
        report.count_step()
    made = report.receipt(final=True)
    assert made.samples == receipt.Samples(1000, 500, 500, 3, 2)
    assert made.batches == receipt.Batches(128, 50)
    assert made.seconds == receipt.Seconds(30.0, 2.0, 10.0, 4.0, 1.0)
    assert made.unsifted == receipt.Unsifted(0.25, 0.03125, 8, 36.0)
    assert made.saved.seconds == 19.0
    assert made.classes == [receipt.ClassCount(1, 500, 300), receipt.ClassCount(3, 500, 200)]
    assert (made.tier, made.keep, made.acceptance) == ("forward", 0.5, "quota")
    assert (made.steps, made.epochs, made.final) == (50, 2, True)
    assert made.loaders == [receipt.Loader("DataLoader", "training", "sifted by the script")]


def test_nothing_is_claimed_to_be_saved_where_nothing_was_sifted(report):
    report.meter.step(0.25, measured=True)
    report.meter.batches_seen = 100
    report.settle("pass-through", "two optimizers step in turn")
    assert report.receipt().saved == receipt.Saved()


def test_sifting_that_cost_more_than_it_saved_says_so(report):
    meter = report.meter
    meter.seen, meter.kept, meter.batches_seen, meter.batches_given = 10, 10, 1, 1
    meter.full_steps.append(1.0)
    meter.measured_steps, meter.scoring_seconds = 1, 3.0
    made = report.receipt()
    assert made.saved.seconds == -2.0
    assert "sifting cost 2.0 s more than it saved" in receipt.summary_line(made)


def test_the_receipt_is_written_at_most_once_a_second(report, clock, tmp_path):
    path = tmp_path / "output" / "receipt.json"
    report.meter.listener = report.tick
    written = []
    for _ in range(100):  # 100 batches in ten seconds
        clock.now += 0.1
        report.meter.fetched(1)
        report.meter.whole_batch(1)
        if path.exists():
            written.append(receipt.read(path).samples.seen)
    assert len(set(written)) == 9
    assert not receipt.read(path).final


def test_the_last_receipt_is_final_and_has_its_line_and_its_picture(report, tmp_path, said):
    report.meter.fetched(10)
    report.meter.whole_batch(10)
    report.close()
    assert receipt.read(tmp_path / "output" / "receipt.json").final
    assert (tmp_path / "output" / "receipt.svg").read_text(encoding="utf-8").startswith("<svg")
    assert said.messages[-1].startswith("sift: receipt: kept 10 of 10 samples (100.0 %) in 0 steps")


def test_another_rank_writes_a_receipt_of_its_own_and_says_nothing(
    monkeypatch, tmp_path, clock, said
):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    report = JobReport(tmp_path, 0.5, "quota", clock)
    report.settle("forward", "why")
    report.note("a note")
    report.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["receipt-1.json"]
    made = receipt.read(tmp_path / "receipt-1.json")
    assert (made.rank, made.world_size, made.notes) == (1, 2, ["a note"])
    assert said.messages == []


def test_a_process_that_saw_no_loader_writes_no_receipt(tmp_path, said):
    JobReport(tmp_path).close()
    assert list(tmp_path.iterdir()) == []
    assert said.messages == []


def test_a_folder_that_cannot_be_written_is_said_once_and_stops_nothing(tmp_path, clock, said):
    (tmp_path / "file").write_text("in the way")
    report = JobReport(tmp_path / "file" / "output", 0.5, "quota", clock)
    report.settle("forward", "why")
    report.meter.listener = report.tick
    for _ in range(5):
        clock.now += 2.0
        report.meter.fetched(1)
        report.meter.whole_batch(1)
    report.close()
    refused = [line for line in said.messages if "cannot be written" in line]
    assert len(refused) == 1
    assert refused[0].startswith("sift: the receipt cannot be written: ")
    assert report.meter.kept == 5


def test_without_a_folder_nothing_is_written_and_nothing_said(tmp_path, monkeypatch, clock, said):
    monkeypatch.chdir(tmp_path)
    report = JobReport(None, 0.5, "quota", clock)
    report.loader("DataLoader", "training", "")
    clock.now += 5.0
    report.tick()
    report.close()
    assert list(tmp_path.iterdir()) == []
    assert said.messages == []


def test_a_verdict_and_a_note_are_said_once(report, said):
    said.clear()
    for _ in range(3):
        report.settle("pass-through", "two optimizers step in turn")
        report.note("len() was told before its role was known")
    assert said.messages == [
        "sift: tier pass-through: two optimizers step in turn",
        "sift: len() was told before its role was known",
    ]
    assert report.notes == ["len() was told before its role was known"]


def test_what_the_meter_tells_stands_in_the_receipt(report, said):
    report.meter.tell("nothing is scored any more")
    assert report.receipt().notes == ["nothing is scored any more"]
    assert said.messages == ["sift: nothing is scored any more"]


def test_what_the_meter_says_stands_in_the_log_alone(report, said):
    report.meter.say("scoring runs in bfloat16")
    assert report.receipt().notes == []
    assert said.messages == ["sift: scoring runs in bfloat16"]


def test_outside_a_job_a_loader_has_a_meter_of_its_own(monkeypatch):
    monkeypatch.delenv("SM_OUTPUT_DATA_DIR", raising=False)
    monkeypatch.setattr(job_report, "_report", None)
    one, other = (job_report.adopt(object(), 0.5, "quota") for _ in range(2))
    assert one is not other
    assert one.listener is None


def test_in_a_job_a_loader_counts_into_the_jobs_receipt(monkeypatch, report):
    monkeypatch.setattr(job_report, "_report", report)
    loader = DataLoader([1, 2, 3])
    meter = job_report.adopt(loader, 0.25, "probabilistic")
    assert meter is report.meter
    assert meter.listener == report.tick
    assert loader in report.managed
    assert (report.keep, report.acceptance, report.tier) == (0.25, "probabilistic", "forward")


SCRIPT = """
import sys
from itertools import pairwise
import torch
from torch.utils.data import DataLoader, TensorDataset
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader
from smart_sifting.loss import Loss

class CrossEntropy(Loss):
    def loss(self, model, transformed_batch, original_batch=None):
        x, y = original_batch
        return torch.nn.functional.cross_entropy(model(x), y, reduction="none")

torch.manual_seed(0)
torch.use_deterministic_algorithms(True)  # no clock decides how it is scored
model = torch.nn.Linear(4, 3)
data = TensorDataset(torch.rand(210, 4), torch.arange(210) % 3)
loader = SiftingDataloader({"keep": 0.5}, DataLoader(data, 10), CrossEntropy(), model)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
for epoch in range(2):
    for step, (x, y) in enumerate(loader):
        torch.nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
        if epoch == 1 and step == 3:
            break
if "raise" in sys.argv:
    raise KeyError("the script's own")
"""


def run(tmp_path: Path, output: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    root = Path(job_report.__file__).parents[1]
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        env={"PYTHONPATH": str(root), "SM_OUTPUT_DATA_DIR": str(output), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_a_script_that_fails_leaves_its_receipt_too(tmp_path):
    ended = run(tmp_path, tmp_path / "output", "raise")
    assert ended.returncode == 1
    assert 'KeyError: "the script\'s own"' in ended.stderr
    made = receipt.read(tmp_path / "output" / "receipt.json")
    # The first epoch: 105 of 210 in 11 batches. The second: two windows of 70, 40 samples given.
    assert made.samples == receipt.Samples(350, 175, 175, 30, 0, 350)
    assert made.batches == receipt.Batches(35, 15)
    assert (made.steps, made.epochs, made.final, made.tier) == (15, 2, True, "forward")
    assert sum(each.seen for each in made.classes) == 350
    assert sum(each.kept for each in made.classes) == 175
    lines = [line for line in ended.stderr.splitlines() if line.startswith("sift: ")]
    assert lines[0] == "sift: tier forward: the script uses SiftingDataloader itself"
    assert lines[-1].startswith("sift: receipt: kept 175 of 350 samples (50.0 %) in 15 steps; ")
    assert len(lines) == 2


def test_a_script_trains_to_its_end_where_no_receipt_can_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    ended = run(tmp_path, tmp_path / "file" / "output")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("the receipt cannot be written") == 1
    assert "Traceback" not in ended.stderr
