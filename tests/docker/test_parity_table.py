"""One table of jobs, run as a process and in a container: what the script finds and what is kept
of it are the same, but for what `docs/launching.md` names.

Those differences are: the folders lie below /opt/ml in a container; the network's name and the
instance type are each place's own; and a process inherits the user's own environment.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cli_runner import POLITE, Cli, long_enough

pytestmark = pytest.mark.docker

TELL = """
import json, os, sys
def files(folder):
    return sorted(
        os.path.relpath(os.path.join(root, name), folder)
        for root, _, names in os.walk(folder, followlinks=True)
        for name in names
        if not name.endswith(".pyc")
    )
base = os.path.dirname(os.environ["SM_MODEL_DIR"])
print("TOLD", json.dumps({
    "argv": sys.argv,
    "cwd": os.getcwd(),
    "environment": dict(os.environ),
    "code": files("."),
    "data": files(os.environ["SM_INPUT_DIR"] + "/data"),
    "config": files(os.environ["SM_INPUT_CONFIG_DIR"]),
    "folders": sorted(os.listdir(base)),
    "writable": [os.access(os.path.join(base, each), os.W_OK) for each in
                 ("model", "output/data", "checkpoints", "code")],
    "stdin": sys.stdin.read(),
}), flush=True)
"""
WRITE = """
import os
base = os.path.dirname(os.environ["SM_MODEL_DIR"])
for name in ("model/weights", "model/sub/more", "output/data/metrics", "checkpoints/last"):
    os.makedirs(os.path.dirname(os.path.join(base, name)), exist_ok=True)
    with open(os.path.join(base, name), "w") as file:
        file.write(name)
with open("beside.txt", "w") as file:
    file.write("beside")
"""
AWKWARD = [
    "--flag",
    "two words",
    "",
    "it's",
    'say "hi"',
    "a\nb",
    "$(id) `id` $HOME \\",
    "ünï ✓",
    "--",
]


@dataclass(frozen=True)
class Job:
    """A job, what it ends with, and what its script is told besides."""

    script: str
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    name: str = "train.py"
    code: int = 0
    status: tuple[str, str] = ("Completed", "Completed")
    reason: str = ""
    more: dict[str, str] = field(default_factory=dict)


JOBS = {
    "plain": Job(TELL + WRITE, ("--no-sift",)),
    "sifted": Job(TELL, ("--keep", "0.25"), ("--epochs", "3")),
    "hyperparameters": Job(
        TELL,
        (
            "--no-sift", "-p", "lr=0.1", "-p", "amp=true", "-p", "none=null", "-p", "n=7",
            "-p", "b=", "-p", 'quote=it\'s "x"', "-p", "shell=$(touch pwned) `id`; a | b",
            "-p", "lines=a\nb", "-p", "unicode=ünï ✓", "-p", "list=[1, 2]", "-p", "with-dash=1",
        ),
    ),
    "arguments": Job(TELL, ("-p", "epochs=3"), AWKWARD),
    "variables": Job(TELL, ("--no-sift", "--env", "A=1 2", "--env", "B=", "--env", "C=$A\nü")),
    "channels": Job(
        TELL,
        ("--no-sift", "--data", "train=data", "--data", "labels=labels.csv"),
        more={"data/a.csv": "1", "data/deep/b.csv": "2", "labels.csv": "3"},
    ),
    "another folder": Job(
        TELL,
        ("--no-sift", "--source-dir", "."),
        name="src/train.py",
        more={"util/net.py": "", ".env": "SECRET=1", "notes.txt": ""},
    ),
    "shell": Job('echo "sh: $1 $SM_HP_LR"; pwd; ls', ("-p", "lr=0.5"), ("a b",), "train.sh"),
    "torchrun": Job(
        "import os; print('rank', os.environ['RANK'], 'of', os.environ['WORLD_SIZE'])\n",
        # torch warns where no name service knows the host, as it happens on a container's network.
        ("--no-sift", "--distribution", "torchrun", "--env", "TORCH_CPP_LOG_LEVEL=ERROR"),
    ),
    "exit 3": Job(
        WRITE + "raise SystemExit(3)", (), code=1, status=("Failed", "Failed"), reason="exit code 3"
    ),
    "raises": Job(
        WRITE + "raise ValueError('no such luck')",
        ("--no-sift",),
        code=1,
        status=("Failed", "Failed"),
        reason="ValueError: no such luck",
    ),
    "killed": Job(
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        ("--no-sift",),
        code=1,
        status=("Failed", "Failed"),
        reason="killed by SIGKILL (signal 9) from outside",
    ),
    "no such module": Job(
        "import nowhere",
        ("--no-sift",),
        code=1,
        status=("Failed", "Failed"),
        reason="ModuleNotFoundError: No module named 'nowhere'",
    ),
}  # fmt: skip
OUT_OF_TIME = Job(
    WRITE + "import time\nprint('written', flush=True)\nwhile True: time.sleep(.05)",
    code=1,
    status=("Stopped", "MaxRuntimeExceeded"),
)


@dataclass(frozen=True)
class Seen:
    """All that is compared of one run."""

    code: int
    log: str
    last_words: str
    status: tuple[str, str]
    transitions: list[str]
    reason: list[str]
    results: list[str]
    model: list[str]
    output: list[str]
    checkpoints: list[str]
    told: dict[str, Any]


@pytest.fixture
def places(cli: Cli, image: str, tmp_path: Path) -> Iterator[list[tuple[Cli, list[str]]]]:
    """The process and the container: a project and a state folder each, and how to ask for it."""
    process = Cli(tmp_path / "process", tmp_path / "process-state", cli.patience_seconds)
    process.project.mkdir()
    yield [(process, []), (cli, ["--instance", "local", "--image", image])]
    process.end()


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_the_same_in_both_places(places, name: str):
    job = JOBS[name]
    process, container = (seen(cli, place, job) for cli, place in places)
    check(job, process, container)


def test_a_job_that_is_out_of_time_is_the_same_in_both_places(places):
    def run(seconds: int) -> bool:
        job = replace(OUT_OF_TIME, options=("--no-sift", "--max-run", str(seconds)))
        try:
            process, container = (seen(cli, place, job) for cli, place in places)
        except FileNotFoundError:  # it was stopped before it could leave anything
            return False
        finally:
            for cli, _ in places:
                for folder in (cli.record("job"), cli.results("job").parent):
                    shutil.rmtree(folder, ignore_errors=True)
        if not process.log == container.log == "written\n":
            return False
        check(job, process, container)
        return True

    long_enough(run, 2)


def check(job: Job, process: Seen, container: Seen) -> None:
    assert container == process
    assert (process.code, process.status) == (job.code, job.status)
    if job.reason:
        assert job.reason in process.reason[0]
    else:
        assert process.reason == []
    if WRITE in job.script:
        assert process.model == ["sub", "sub/more", "weights"]
        assert process.output == ["metrics"]
        assert process.checkpoints == ["last"]
    if job.script.startswith(TELL):
        assert process.told["stdin"] == ""
        assert process.told["writable"] == [True] * 4
        assert process.told["environment"]["SM_MODEL_DIR"] == "/opt/ml/model"


def test_a_job_that_another_terminal_stops_is_the_same_in_both_places(places):
    def stop(cli: Cli, process: subprocess.Popen[str]) -> None:
        assert cli("stop", "job").returncode == 0

    seen = [_stopped(cli, place, stop) for cli, place in places]
    assert seen[1] == seen[0]
    assert seen[0][:3] == (130, "saved\n", ("Stopped", "Stopped"))


def test_a_job_that_ctrl_c_stops_is_the_same_in_both_places(places):
    def interrupt(cli: Cli, process: subprocess.Popen[str]) -> None:
        process.send_signal(signal.SIGINT)

    seen = [_stopped(cli, place, interrupt) for cli, place in places]
    assert seen[1] == seen[0]
    assert seen[0][:3] == (130, "saved\n", ("Stopped", "Stopped"))


def _stopped(
    cli: Cli, place: list[str], stop: Callable[[Cli, subprocess.Popen[str]], None]
) -> tuple[Any, ...]:
    cli.script(POLITE)
    process = cli.start("train.py", "--no-sift", "--name", "job", *place)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    stop(cli, process)
    out, err = process.communicate(timeout=cli.patience_seconds)
    job = cli.describe("job")
    return (
        process.returncode,
        out,
        (job["TrainingJobStatus"], job["SecondaryStatus"]),
        [each["Status"] for each in job["SecondaryStatusTransitions"]],
        _members(cli, "model.tar.gz"),
        _alike(cli, err.splitlines()[-1]),
    )


def seen(cli: Cli, place: list[str], job: Job) -> Seen:
    """Runs `job` and reads all that is compared of it."""
    cli.script(job.script, job.name)
    for path, text in job.more.items():
        cli.script(text, path)
    options = ["--name", "job", *place, *job.options]
    ended = cli(job.name, *options, *(["--", *job.arguments] if job.arguments else []))
    described = cli.describe("job")
    log, told = _told(_alike(cli, ended.stdout))
    return Seen(
        code=ended.returncode,
        log=log,
        last_words=re.sub(r" in [\d.]+ s", "", _alike(cli, ended.stderr.splitlines()[-1])),
        status=(described["TrainingJobStatus"], described["SecondaryStatus"]),
        transitions=[each["Status"] for each in described["SecondaryStatusTransitions"]],
        # The first line is the cause and the second the exit code; then comes the traceback, whose
        # drawing is each Python's own.
        reason=_alike(cli, described.get("FailureReason", "")).splitlines()[:2],
        results=sorted(
            str(path.relative_to(cli.results("job"))) for path in cli.results("job").rglob("*")
        ),
        model=_members(cli, "model.tar.gz"),
        output=_members(cli, "output.tar.gz"),
        checkpoints=sorted(
            path.name for path in (cli.results("job").parent / "checkpoints").iterdir()
        ),
        told=told,
    )


def _members(cli: Cli, archive: str) -> list[str]:
    with tarfile.open(cli.results("job") / archive) as tar:
        assert {member.uid for member in tar} <= {os.getuid()}
        return sorted(tar.getnames())


def _alike(cli: Cli, text: str) -> str:
    """`text` with the places' own folders under one name."""
    own = {cli.record("job") / "hosts" / "algo-1": "/opt/ml", cli.state: "/state"}
    for folder, name in (own | {cli.project: "/project"}).items():
        text = text.replace(str(folder), name)
    return text


def _told(log: str) -> tuple[str, dict[str, Any]]:
    """The log without what the script told, and that."""
    found = re.search(r"^TOLD (.*)\n", log, re.MULTILINE)
    if found is None:
        return log, {}
    told = json.loads(found[1])
    told["environment"] = _neutral(
        {
            name: _value(value)
            for name, value in told["environment"].items()
            if name.startswith("SM_") or name in _BESIDES
        }
    )
    return log.replace(found[0], ""), told


_BESIDES = (
    "A", "B", "C", "CURRENT_HOST", "SAGEMAKER_JOB_NAME", "SAGEMAKER_REGION", "TRAINING_JOB_NAME",
    "TRAINING_JOB_ARN", "PYTHONUNBUFFERED",
)  # fmt: skip
_OWN = {
    "SM_NETWORK_INTERFACE_NAME", "network_interface_name", "SM_CURRENT_INSTANCE_TYPE",
    "current_instance_type", "instance_type",
}  # fmt: skip


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _neutral(value: Any) -> Any:
    """`value` without what is each place's own."""
    if isinstance(value, dict):
        return {key: _neutral(each) for key, each in value.items() if key not in _OWN}
    return [_neutral(each) for each in value] if isinstance(value, list) else value
