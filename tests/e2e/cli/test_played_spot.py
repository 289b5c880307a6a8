"""Spot instances that are taken back: notice, restart, checkpoints, times, and what never came."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from cli_runner import long_enough
from played_jobs import PATIENCE_SECONDS, PlayedJobs

ATTEMPT = ["Starting", "Downloading", "Training"]
END = ["Uploading", "Completed"]


@pytest.fixture
def jobs(tmp_path: Path, aws) -> Iterator[PlayedJobs]:
    jobs = PlayedJobs(tmp_path / "state", aws)
    yield jobs
    jobs.end()


# One epoch a checkpoint; waits after some until it is interrupted, and ends politely.
TRAIN = """
import os, signal, sys, time
from pathlib import Path
model = Path(os.environ["SM_MODEL_DIR"])
kept = model.parent / "checkpoints" / "epoch"
def end(*_):
    print("told to stop")
    sys.exit({code})
signal.signal(signal.SIGTERM, end)
begin = int(kept.read_text()) if kept.exists() else 0
print("begins at", begin, "with", sorted(path.name for path in model.iterdir()))
(model / f"from-{{begin}}").touch()
for epoch in range(begin + 1, 5):
    kept.write_text(str(epoch))
    print(f"epoch {{epoch}}/4")
    while epoch in {waits} and epoch != begin: time.sleep(.01)
"""


def train(*waits: int, code: int = 0) -> str:
    return TRAIN.format(waits=waits, code=code)


@pytest.mark.parametrize("code", [0, 143])
def test_an_interrupted_job_begins_again_where_its_checkpoints_end(jobs: PlayedJobs, code: int):
    job = jobs.run(train(2, code=code), at=("50%",))
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert jobs.statuses() == [*ATTEMPT, "Interrupted", *ATTEMPT, *END]
    assert jobs.log().splitlines() == [
        "begins at 0 with []",
        "epoch 1/4",
        "epoch 2/4",
        "told to stop",
        "begins at 2 with []",
        "epoch 3/4",
        "epoch 4/4",
    ]
    assert list(jobs.packed()) == ["from-2"]
    assert jobs.got("job/checkpoints/epoch") == b"4"


def test_two_interruptions_in_a_row_and_each_status_with_its_times(jobs: PlayedJobs):
    job = jobs.run(train(2, 3), at=("50%", "75%"))
    assert jobs.statuses() == [*ATTEMPT, "Interrupted", *ATTEMPT, "Interrupted", *ATTEMPT, *END]
    begins = [line for line in jobs.log().splitlines() if line.startswith("begins")]
    assert begins == ["begins at 0 with []", "begins at 2 with []", "begins at 3 with []"]
    transitions = job["SecondaryStatusTransitions"]
    for before, after in pairwise(transitions):
        assert before["StartTime"] <= before["EndTime"] == after["StartTime"]
        assert before["StatusMessage"]
    assert job["TrainingStartTime"] == transitions[1]["StartTime"]
    assert job["TrainingEndTime"] == transitions[-1]["EndTime"]
    assert 1 <= job["BillableTimeInSeconds"] <= job["TrainingTimeInSeconds"]


def test_a_job_is_interrupted_after_seconds_of_training(jobs: PlayedJobs, tmp_path: Path):
    go = tmp_path / "go"
    jobs.start(
        f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(.01)", at=("0.1s",)
    )
    jobs.enters("Interrupted")
    go.touch()
    jobs.ended()
    assert jobs.statuses() == [*ATTEMPT, "Interrupted", *ATTEMPT, *END]


WRITES_FOR_EVER = """
import os, signal, time
from pathlib import Path
signal.signal(signal.SIGTERM, signal.SIG_IGN)
kept = Path(os.environ["SM_MODEL_DIR"]).parent / "checkpoints" / "state"
print("found", kept.read_text() if kept.exists() else None)
if kept.exists(): raise SystemExit
kept.write_text("whole")
while True:
    time.sleep(.01)
    if Path({synced!r}).exists():
        with kept.open("w") as file:
            file.write("ha")
            file.flush()
            print("writing")
            time.sleep(600)
"""


def test_a_job_that_is_killed_in_the_middle_of_a_checkpoint_has_the_last_whole_one(
    jobs: PlayedJobs, tmp_path: Path
):
    script = WRITES_FOR_EVER.format(synced=str(tmp_path / "synced"))
    jobs.start(script, played={"notice_seconds": 0.5})
    jobs.prints("found None")
    jobs.waits_for("job/checkpoints/state")
    (tmp_path / "synced").touch()
    jobs.prints("writing")
    jobs.service.interrupt_training_job(TrainingJobName="job")
    job = jobs.ended()
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert jobs.log() == "found None\nwriting\nfound whole\n"


def test_an_interruption_while_the_data_is_downloaded(jobs: PlayedJobs):
    with socket.create_server(("127.0.0.1", 0)) as server:
        silent = f"http://127.0.0.1:{server.getsockname()[1]}"
        jobs.start("print(1)", played={"endpoint": silent})
        jobs.enters("Downloading")
        jobs.service.interrupt_training_job(TrainingJobName="job")
        jobs.enters("Interrupted")
        jobs.service.stop_training_job(TrainingJobName="job")
        jobs.ended()
    found = jobs.statuses()
    assert found[:4] == ["Starting", "Downloading", "Interrupted", "Starting"]
    assert found[-2:] == ["Stopping", "Stopped"]


def test_a_job_that_is_stopped_within_the_notice_does_not_begin_again(
    jobs: PlayedJobs, tmp_path: Path
):
    go = tmp_path / "go"
    script = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('noticed', flush=True))\n"
        "print('ready', flush=True)\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(.01)\n"
    )
    jobs.start(script, played={"notice_seconds": PATIENCE_SECONDS})
    jobs.prints("ready")
    jobs.service.interrupt_training_job(TrainingJobName="job")
    jobs.prints("noticed")
    jobs.service.stop_training_job(TrainingJobName="job")
    go.touch()
    assert jobs.ended()["TrainingJobStatus"] == "Stopped"
    assert jobs.statuses() == [*ATTEMPT, "Interrupted", "Starting", "Stopping", "Stopped"]


def test_a_job_that_waits_and_trains_too_long_is_stopped(jobs: PlayedJobs):
    def run(seconds: int) -> bool:
        name = f"job-{seconds}"
        job = jobs.run("import time; time.sleep(600)", name=name, max_run=1000, max_wait=seconds)
        assert job["TrainingJobStatus"] == "Stopped"
        assert job["SecondaryStatus"] == "MaxWaitTimeExceeded"
        return jobs.statuses(name) == [*ATTEMPT, "Stopping", "Uploading", "MaxWaitTimeExceeded"]

    long_enough(run)


def test_an_interruption_that_never_came_is_told_in_the_log(jobs: PlayedJobs):
    jobs.run("print('no progress')", at=("50%",))
    assert jobs.log() == (
        "no progress\n"
        "sift: never interrupted at 50%: the log tells how far training is by lines such as "
        "epoch 3/5, step 300/1000 or 30%|\n"
    )
