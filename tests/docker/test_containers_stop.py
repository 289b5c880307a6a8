"""Stopping a job in a container, and its whole log at full speed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from cli_runner import long_enough
from container_jobs import ContainerJobs, of_state, wait

pytestmark = pytest.mark.docker


@pytest.fixture
def jobs(tmp_path: Path, image: str, engine):
    jobs = ContainerJobs(tmp_path, image)
    yield jobs
    jobs.end()
    assert of_state(engine, tmp_path / "state") == []


STOPS = """
import os, signal, time
def stop(*_):
    open('/opt/ml/model/checkpoint', 'w').write('saved')
    print('saved', flush=True)
    raise SystemExit(0)
signal.signal(signal.SIGTERM, stop)
print('ready', flush=True)
time.sleep(600)
"""
IGNORES = """
import signal, time
signal.signal(15, signal.SIG_IGN)
print('ready', flush=True)
time.sleep(600)
"""


def test_a_job_that_is_stopped_saves_its_work(jobs):
    jobs.start(STOPS)
    jobs.prints("ready")
    jobs.service.stop_training_job(TrainingJobName="job")
    job = jobs.ended()
    assert job["TrainingJobStatus"] == "Stopped"
    assert [each["Status"] for each in job["SecondaryStatusTransitions"]][-3:] == [
        "Stopping", "Uploading", "Stopped",
    ]  # fmt: skip
    assert jobs.packed() == {"checkpoint": "saved"}
    assert jobs.log() == "ready\nsaved\n"


def test_a_job_that_does_not_stop_is_killed_when_its_time_is_up(jobs):
    jobs.start("open('/opt/ml/model/half', 'w').write('h')\n" + IGNORES, stop_seconds=1)
    jobs.prints("ready")
    asked = time.monotonic()
    jobs.service.stop_training_job(TrainingJobName="job")
    assert jobs.ended()["TrainingJobStatus"] == "Stopped"
    assert time.monotonic() - asked >= 1
    assert jobs.packed() == {"half": "h"}


def test_a_job_can_be_killed_at_once(jobs):
    jobs.start(IGNORES, stop_seconds=600)
    jobs.prints("ready")
    jobs.service.stop_training_job(TrainingJobName="job")
    jobs.service.kill_training_job(TrainingJobName="job")
    assert jobs.ended()["TrainingJobStatus"] == "Stopped"


@pytest.mark.parametrize("state", ["Starting", "Downloading", "Training"])
def test_a_job_that_is_stopped_as_it_starts_hears_of_it(jobs, state):
    jobs.start(STOPS, stop_seconds=600)
    reached = ("Starting", "Downloading", "Training")
    wait(lambda: jobs.service.status("job")["SecondaryStatus"] in reached[reached.index(state) :])
    jobs.service.stop_training_job(TrainingJobName="job")
    assert jobs.ended()["TrainingJobStatus"] == "Stopped"


def test_a_job_ends_when_its_time_is_up(jobs):
    def run(seconds: int) -> bool:
        name = f"job-{seconds}"
        job = jobs.run(STOPS, name=name, max_run=seconds)
        assert job["TrainingJobStatus"] == "Stopped"
        assert job["SecondaryStatus"] == "MaxRuntimeExceeded"
        return job.get("ModelArtifacts") is not None and jobs.packed(name=name) == {
            "checkpoint": "saved"
        }

    long_enough(run, 2)


def test_what_a_script_started_ends_with_it(jobs):
    script = "import subprocess; subprocess.Popen(['sleep', '600']); print('started')"
    assert jobs.run(script)["TrainingJobStatus"] == "Completed"


LINES = 200_000
TAIL = "loss 0.123456 and as much again as a line of a log has"
FLOOD = f"""
import sys, threading
def flood(stream, word):
    for i in range({LINES}):
        stream.write(f"{{word}} {{i:06d}} {TAIL}\\n")
both = (sys.stdout, "out"), (sys.stderr, "err")
threads = [threading.Thread(target=flood, args=each) for each in both]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.stdout.write("no newline at the end")
"""


def test_no_line_of_a_flood_is_lost_split_or_out_of_order(jobs):
    job = jobs.run(FLOOD)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    lines = jobs.log().splitlines()
    assert lines.pop() == "no newline at the end"
    for word in ("out", "err"):
        own = [line for line in lines if line.startswith(word)]
        assert own == [f"{word} {i:06d} {TAIL}" for i in range(LINES)]
    assert len(lines) == 2 * LINES


def test_a_progress_bar_is_seen_before_its_line_is_complete(jobs):
    go = jobs.root / "go"
    go.mkdir()
    script = (
        "import os, sys, time\n"
        "sys.stderr.write('\\r10%'); sys.stderr.flush()\n"
        "while not os.path.exists('/opt/ml/input/data/go/on'): time.sleep(.02)\n"
        "sys.stderr.write('\\r99%\\n')\n"
    )
    jobs.start(script, channels={"go": go})
    jobs.prints("10%")
    (go / "on").touch()
    jobs.ended()
    assert jobs.log().endswith("99%\n")
