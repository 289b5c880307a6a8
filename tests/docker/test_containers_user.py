"""Jobs of a user who is not root, as most are: what is theirs stays theirs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from container_jobs import of_state
from other_user import UID, other_user

from sift_launcher.engine import engine_address

pytestmark = pytest.mark.docker

CLIENT = """
import json, sys
from pathlib import Path
from container_jobs import ContainerJobs
from sift_launcher.local.machine import MachineShare
jobs = ContainerJobs(Path(sys.argv[1]), sys.argv[2])
job = jobs.run(sys.stdin.read(), share=MachineShare(memory_bytes=200 << 20),
    CheckpointConfig={"S3Uri": f"file://{jobs.root}/checkpoints"})
print(json.dumps([job["TrainingJobStatus"], job.get("FailureReason"), jobs.log()]))
"""


@pytest.fixture
def run_as_user(engine, image: str):
    """Runs a script as the only job of user `UID`; its status, reason and log, and its folder."""
    socket = Path(engine_address().removeprefix("unix://"))
    with other_user([socket.stat().st_gid]) as user:

        def run(script: str) -> tuple[list[Any], Path]:
            done = user.python("-c", CLIENT, str(user.home), image, input=script)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout), user.home

        yield run
    assert of_state(engine, user.home / "state") == []


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in folder.rglob("*")}


WRITES = """
import getpass, os, pathlib
written = os.environ["SM_MODEL_DIR"], os.environ["SM_OUTPUT_DATA_DIR"], "/opt/ml/checkpoints", "."
for folder in written:
    pathlib.Path(folder, "file").write_text("f")
pathlib.Path.home().joinpath("cache").write_text("c")
print(os.getuid(), os.getgid(), getpass.getuser() != "")
"""


@pytest.mark.parametrize(
    ("end", "status", "reason"),
    [
        ("", "Completed", None),
        ("raise SystemExit(3)", "Failed", "exit code 3"),
        ("x = bytearray(400_000_000)", "Failed", "OutOfMemory: a process was killed at the host's"),
    ],
)
def test_all_that_a_job_leaves_belongs_to_its_user(
    run_as_user: Callable[[str], tuple[list[Any], Path]], end, status, reason
):
    (told, why, log), root = run_as_user(WRITES + end)
    assert told == status, why
    assert reason is None or reason in why
    assert log.startswith(f"{UID} {UID} True\n")
    assert owners(root) == {UID}
    results = root / "out" / "job" / "output"
    assert sorted(path.name for path in results.iterdir()) == [
        "code", "model.tar.gz", "output.tar.gz",
    ]  # fmt: skip
    assert (root / "checkpoints" / "file").read_text() == "f"
    assert not (root / "state" / "jobs" / "job" / "hosts").exists()


def test_a_job_reads_what_its_users_groups_may_read(run_as_user):
    (told, why, log), _ = run_as_user("import os; print(sorted(os.getgroups()))")
    address = engine_address().removeprefix("unix://")
    assert (told, log) == ("Completed", f"{sorted({UID, Path(address).stat().st_gid})}\n"), why


def test_an_output_that_cannot_be_read_is_named_and_kept(run_as_user):
    script = "import os; os.mkdir('/opt/ml/model/closed', 0)"
    (told, why, _), root = run_as_user(script)
    assert told == "Failed"
    assert "the job's outputs could not be collected" in why
    assert "algo-1/model/closed" in why
    kept = root / "state" / "jobs" / "job" / "hosts"
    assert f"they are kept in {kept}" in why
    assert (kept / "algo-1" / "model" / "closed").is_dir()
