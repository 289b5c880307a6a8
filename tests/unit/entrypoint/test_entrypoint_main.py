"""``python -m sift_entrypoint``, an image's ENTRYPOINT: the job, or any other command."""

from __future__ import annotations

import subprocess
import sys

import pytest
from entrypoint_job import DEADLINE, JobTree


def run_main(job: JobTree, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [job.python, "-m", "sift_entrypoint", *command],
        cwd=job.base,
        env=job.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
    )


@pytest.mark.parametrize("command", [[], ["train"]])
def test_train_or_nothing_runs_the_job(job: JobTree, command: list[str]) -> None:
    job.script("import sys; print('trained'); sys.exit(3)")
    done = run_main(job, *command)
    assert (done.returncode, done.stdout, done.stderr) == (3, "trained\n", "")
    assert job.failure == "exit code 3"


def test_any_other_command_takes_its_place(job: JobTree) -> None:
    done = run_main(job, "sh", "-c", 'echo "$0|$1|$#"; exit 9', "a b", "$(x)")
    assert (done.returncode, done.stdout, done.stderr) == (9, "a b|$(x)|1\n", "")
    assert not job.output.exists()


def test_the_command_is_the_process_itself(job: JobTree) -> None:
    with subprocess.Popen(
        [job.python, "-m", "sift_entrypoint", "sh", "-c", "echo $$"],
        env=job.environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        out, _ = process.communicate(timeout=DEADLINE)
    assert int(out) == process.pid


def test_train_takes_no_arguments(job: JobTree) -> None:
    done = run_main(job, "train", "--lr")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "sift: train takes no arguments, and here is '--lr': "
        "write what the script gets into input/config/hyperparameters.json\n"
    )


def test_the_command_gets_its_arguments_as_typed(job: JobTree) -> None:
    # Where the .pth is installed, sifting's own options have left sys.argv before we look at it.
    site = job.base.parent / "sitecustomize.py"
    site.write_text("import sys; sys.argv[:] = [a for a in sys.argv if not a.startswith('--sift')]")
    job.packages.append(site.parent)
    done = run_main(job, "echo", "--sift_config", "{}")
    assert done.stdout == "--sift_config {}\n"


def test_the_command_starts_with_the_systems_own_signal_handling(job: JobTree) -> None:
    done = run_main(job, "sh", "-c", "yes | head -n 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "y\n", "")


@pytest.mark.parametrize("name", ["nowhere", "/nowhere/tool", "notes.txt/tool"])
def test_a_command_that_is_not_there_is_named(job: JobTree, name: str) -> None:
    (job.base / "notes.txt").touch()
    done = run_main(job, name)
    assert done.returncode == 127
    assert done.stderr == (
        f"sift: cannot run {name!r}: there is no such command; "
        f"name train, or a command of this image\n"
    )


@pytest.mark.parametrize(
    ("name", "why"), [("./notes.txt", "Permission denied"), ("./binary", "Exec format error")]
)
def test_a_command_that_cannot_be_executed_is_named(job: JobTree, name: str, why: str) -> None:
    (job.base / "notes.txt").touch(mode=0o644)
    (job.base / "binary").write_bytes(b"\0\0")
    (job.base / "binary").chmod(0o755)
    done = run_main(job, name)
    assert done.returncode == 126
    assert done.stderr == (
        f"sift: cannot run {name!r}: {why}; name train, or a command of this image\n"
    )


def test_a_command_imports_nothing_of_a_job(job: JobTree) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sift_entrypoint", "true"],
        env=job.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "sift_entrypoint" in imported
    assert imported & {"json", "sift_entrypoint.train"} == set()


def test_the_users_files_where_it_starts_are_not_taken_for_pythons_own(job: JobTree) -> None:
    for folder in (job.base, job.code):
        (folder / "json.py").write_text("print('mine')")
    job.script("import json")
    done = run_main(job, "train")
    assert (done.returncode, done.stdout, done.stderr) == (0, "mine\n", "")
