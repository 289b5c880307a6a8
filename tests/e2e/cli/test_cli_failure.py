"""Jobs that fail: one line with the reason, exit code 1, and all they wrote is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest


def failed(cli, ended, name: str) -> str:
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"job {name} failed: ")
    log = cli.record(name) / "logs" / "algo-1.log"
    assert last.endswith(f"; log: {log}")
    assert log.exists()
    return last.removeprefix(f"job {name} failed: ").removesuffix(f"; log: {log}")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("import sys; sys.exit(3)", "exit code 3"),
        ("raise ValueError('no such column: x')", "ValueError: no such column: x (exit code 1)"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL (signal 9) from outside"),
        ("import os; os.kill(os.getpid(), 11)", "killed by signal 11 (exit code 139)"),
        ("import nowhere", "ModuleNotFoundError: No module named 'nowhere' (exit code 1)"),
    ],
)
def test_the_reason_is_named(cli, script, reason):
    cli.script(script)
    ended = cli("train.py", "--name", "bad")
    assert failed(cli, ended, "bad").startswith(reason)
    job = cli.describe("bad")
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Failed"
    assert job["FailureReason"].startswith(reason.split(" (")[0])


def test_the_reason_is_the_failure_file_s_first_1024_characters(cli):
    cli.script(
        "import os, sys\n"
        "folder = os.path.dirname(os.environ['SM_OUTPUT_DIR'] + '/')\n"
        "open(folder + '/failure', 'w').write('é' * 3000)\n"
        "sys.exit(1)\n"
    )
    cli("train.py", "--name", "bad")
    assert cli.describe("bad")["FailureReason"] == "é" * 1024


def test_a_failed_job_keeps_its_outputs_and_checkpoints(cli):
    cli.script(
        "import os\n"
        "open(os.environ['SM_MODEL_DIR'] + '/half', 'w').write('h')\n"
        "open(os.environ['SM_OUTPUT_DATA_DIR'] + '/metrics', 'w').write('m')\n"
        "raise RuntimeError\n"
    )
    ended = cli("train.py", "--name", "bad", "--json")
    assert ended.returncode == 1
    job = json.loads(ended.stdout)
    assert job["TrainingJobStatus"] == "Failed"
    assert "ModelArtifacts" not in job
    with tarfile.open(cli.results("bad") / "output.tar.gz") as output:
        assert output.getnames() == ["metrics"]
    with tarfile.open(cli.results("bad") / "model.tar.gz") as model:
        assert model.getnames() == ["half"]
    assert "RuntimeError" in cli("logs", "bad").stdout


def test_exit_code_0_without_success_is_a_failure(cli):
    # The entrypoint is ended by the script: its exit code alone would look like success.
    cli.script(
        "import os, shutil, time\n"
        "os.rename(os.environ['SM_OUTPUT_DIR'], os.environ['SM_OUTPUT_DIR'] + '-gone')\n"
    )
    ended = cli("train.py", "--name", "odd")
    assert ended.returncode == 1
    assert "did not say that it succeeded" in ended.stderr


def test_a_name_that_exists(cli):
    cli.script("")
    assert cli("train.py", "--name", "mine").returncode == 0
    again = cli("train.py", "--name", "mine")
    assert again.returncode == 2
    assert again.stderr.count("\n") == 1
    assert "holds the outputs of a job named 'mine': choose another --name" in again.stderr
    elsewhere = cli("train.py", "--name", "mine", "--output", "other")
    assert elsewhere.returncode == 2
    assert elsewhere.stderr.startswith("a job named 'mine' exists: choose another --name")
    assert not (cli.project / "other").exists()


def test_two_jobs_at_once_with_one_name(cli):
    cli.script("print('ran')")
    both = [
        cli.start("train.py", "--name", "one", "--output", output) for output in ("a", "b", "a")
    ]
    ends = [process.communicate(timeout=cli.patience_seconds) for process in both]
    assert sorted(process.returncode for process in both) == [0, 2, 2]
    assert [out for out, _ in ends].count("ran\n") == 1
    assert cli.describe("one")["TrainingJobStatus"] == "Completed"


def test_outputs_that_cannot_be_written_are_the_jobs_failure_and_nothing_is_lost(cli):
    # A file where the output folder should be: as a read-only or vanished disk, for any user.
    results = cli.results("lost")
    cli.script(
        "import os, sys\n"
        "open(os.environ['SM_MODEL_DIR'] + '/weights', 'w').write('w')\n"
        "open(sys.argv[1], 'w')\n"
    )
    ended = cli("train.py", "--name", "lost", "--", str(results))
    reason = failed(cli, ended, "lost")
    hosts = cli.record("lost") / "hosts"
    assert reason.startswith(f"the job's outputs could not be collected in {results}: File exists")
    assert "--output" in reason
    assert reason.endswith(f"they are kept in {hosts}")
    assert (hosts / "algo-1" / "model" / "weights").read_text() == "w"


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


FILL = (
    "import os\n"
    "with open(os.environ['SM_MODEL_DIR'] + '/weights', 'wb') as file:\n"
    "    file.write(os.urandom({size}))\n"
)


def test_a_disk_too_small_for_the_outputs(cli, small_disk):
    cli.script(FILL.format(size=3_000_000))
    ended = cli("train.py", "--name", "big", "--output", str(small_disk / "out"))
    reason = failed(cli, ended, "big")
    assert "No space left on device" in reason
    assert "make room" in reason
    kept = cli.record("big") / "hosts" / "algo-1" / "model" / "weights"
    assert kept.stat().st_size == 3_000_000
    assert not list(small_disk.rglob("*.new"))


def test_an_output_folder_that_is_read_only(cli, small_disk):
    cli.script("print('ran')")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ended = cli("train.py", "--output", str(small_disk / "out"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"cannot write to the output folder {small_disk}/out (Read-only file system): make room "
        "there, or name another with --output\n"
    )


def test_an_output_folder_that_becomes_read_only(cli, small_disk):
    cli.script(
        "import subprocess, sys\n"
        "subprocess.run(['mount', '-o', 'remount,ro', sys.argv[1]], check=True)\n"
        "print('trained')\n"
    )
    ended = cli("train.py", "--name", "ro", "--output", str(small_disk), "--", str(small_disk))
    assert "Read-only file system" in failed(cli, ended, "ro")
    assert cli("logs", "ro").stdout == "trained\n"


def test_a_full_disk_under_the_job_itself(cli, small_disk):
    cli.environment["SIFT_LAUNCHER_HOME"] = str(small_disk / "state")
    cli.script(FILL.format(size=3_000_000))
    ended = cli("train.py", "--name", "full")
    assert ended.returncode == 1
    reason = ended.stderr.splitlines()[-1]
    assert reason.startswith("job full failed: ")
    assert "No space left on device" in reason or "is full: make room" in reason
    assert cli.describe("full")["TrainingJobStatus"] == "Failed"


def test_a_supervisor_that_is_killed_is_named_and_leaves_no_process(cli, until, processes_below):
    cli.script(
        "import os, time\n"
        "print(os.getpid(), flush=True)\n"
        "if os.fork() == 0: os.setsid()\n"
        "time.sleep(600)\n"
    )
    process = cli.start("train.py", "--name", "orphan")
    script = int(process.stdout.readline())
    os.kill(int((cli.record("orphan") / "pid").read_text()), signal.SIGKILL)
    _, err = process.communicate(timeout=cli.patience_seconds)
    assert process.returncode == 1
    assert "the job's supervisor (process " in err
    assert "is gone without a result; it was killed" in err
    assert cli.describe("orphan")["TrainingJobStatus"] == "Failed"
    until(lambda: not alive(script))
    until(lambda: not processes_below(cli.record("orphan") / "hosts" / "algo-1"))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
