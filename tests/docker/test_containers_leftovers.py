"""What is left when the launcher, the job's supervisor or the engine itself is gone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import docker
import pytest
from container_jobs import PATIENCE_SECONDS, ContainerJobs, of_state, wait

pytestmark = pytest.mark.docker

SLEEPS = "import time\nprint('ready', flush=True)\ntime.sleep(600)"


@pytest.fixture
def jobs(tmp_path: Path, image: str, engine):
    jobs = ContainerJobs(tmp_path, image)
    yield jobs
    jobs.end()
    assert of_state(engine, tmp_path / "state") == []


def kill_supervisor(jobs: ContainerJobs, name: str = "job") -> None:
    os.kill(jobs.service.record(name).pid(), signal.SIGKILL)


def test_the_next_look_at_a_job_whose_supervisor_was_killed_removes_its_hosts(jobs, engine):
    jobs.start(SLEEPS, count=2)
    for host in ("algo-1", "algo-2"):
        jobs.prints("ready", host)
    state = jobs.root / "state"
    assert len(of_state(engine, state)) == 3
    kill_supervisor(jobs)
    listed = wait(
        lambda: jobs.service.list_training_jobs(StatusEquals="Failed")["TrainingJobSummaries"]
    )
    assert [job["TrainingJobName"] for job in listed] == ["job"]
    assert of_state(engine, state) == []
    reason = jobs.ended()["FailureReason"]
    assert "is gone without a result; it was killed, or the machine restarted" in reason
    assert jobs.log("algo-2") == "ready\n"


def test_the_next_job_removes_what_a_job_left_whose_record_is_gone(jobs, engine):
    jobs.start(SLEEPS, name="first")
    jobs.prints("ready", name="first")
    kill_supervisor(jobs, "first")
    shutil.rmtree(jobs.service.record("first").folder)
    jobs._started.remove("first")
    state = jobs.root / "state"
    assert len(of_state(engine, state)) == 1
    assert jobs.run("print(1)", name="second")["TrainingJobStatus"] == "Completed"
    assert of_state(engine, state) == []


def test_a_sweep_leaves_running_jobs_and_other_state_folders_alone(jobs, engine, tmp_path, image):
    other = ContainerJobs(tmp_path / "other", image)
    (tmp_path / "other").mkdir()
    try:
        for each in (jobs, other):
            each.start(SLEEPS)
            each.prints("ready")
        kill_supervisor(other)
        jobs.run("print(1)", name="next")
        assert len(of_state(engine, other.root / "state")) == 1
        wait(lambda: jobs.service.status("job")["SecondaryStatus"] == "Training")
        assert len(of_state(engine, jobs.root / "state")) == 1
    finally:
        other.end()
    assert of_state(engine, other.root / "state") == []


def processes(mark: bytes, file: str = "environ") -> list[int]:
    """The processes that have `mark` in their environment, or their command line."""
    found = []
    for path in Path("/proc").glob(f"[0-9]*/{file}"):
        with suppress(OSError):
            if mark in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


class OwnEngine:
    """An engine that may die, with no network and the base image alone."""

    def __init__(self, root: Path) -> None:
        self.address = f"unix://{root}/docker.sock"
        self._root = root
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.client: docker.DockerClient | None = None

    def start(self) -> None:
        self._starts += 1
        # A new one each time: of the old one's containerd there may be a number left.
        run = self._root / f"run-{self._starts}"
        folders = [f"--data-root={self._root}/data", f"--exec-root={run}"]
        with (self._root / "dockerd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    # In a network of its own: without a bridge it removes that of the other engine.
                    # With mounts of its own: none stays behind when it dies.
                    "unshare", "--net", "--mount",
                    "dockerd", *folders, f"--pidfile={run}/pid", f"--host={self.address}",
                    "--bridge=none", "--iptables=false", "--ip-masq=false",
                    "--containerd-namespace=sift-test",
                    "--containerd-plugins-namespace=sift-test-plugins",
                ],
                stdout=log,
                stderr=log,
            )  # fmt: skip
        self.client = wait(self._connected)

    def _connected(self) -> docker.DockerClient | None:
        with suppress(docker.errors.DockerException):
            return docker.DockerClient(base_url=self.address)
        return None

    def end(self, number: int = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_SECONDS)
        self._process = None
        for pid in processes(str(self._root).encode(), "cmdline"):  # shims, which outlive it
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.client is not None:
            self.client.close()
        self.client = None


@pytest.fixture(scope="module")
def own_engine(engine, base_image: str, tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("engine")
    own = OwnEngine(root)
    own.start()
    with subprocess.Popen(["docker", "save", base_image], stdout=subprocess.PIPE) as saved:
        subprocess.run(["docker", "-H", own.address, "load"], stdin=saved.stdout, check=True)
    yield own
    own.end()


@pytest.fixture
def fragile(
    own_engine: OwnEngine, base_image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ContainerJobs]:
    """Jobs on an engine that may die."""
    monkeypatch.setenv("DOCKER_HOST", own_engine.address)
    jobs = ContainerJobs(tmp_path, base_image)
    yield jobs
    jobs.end()


STAYS = """
import time
open('/opt/ml/model/half', 'w').write('h')
print('ready', flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_engine_that_dies_fails_the_job_which_keeps_what_it_wrote(own_engine, fragile, number):
    name = f"dies-of-{number}"
    command = {"ContainerEntrypoint": ["python3", "-u", "/opt/ml/code/train.py"]}
    fragile.start(STAYS, name=name, algorithm=command)
    fragile.prints("ready", name=name)
    mark = f"TRAINING_JOB_NAME={name}\0".encode()
    assert processes(mark)
    own_engine.end(number)
    job = fragile.ended(name)
    assert job["TrainingJobStatus"] == "Failed"
    told = "the Docker engine was lost while the job ran"
    assert told in job["FailureReason"] or number == signal.SIGTERM
    assert fragile.log(name=name) == "ready\n"
    assert fragile.packed(name=name) == {"half": "h"}
    wait(lambda: not processes(mark))
    own_engine.start()
    fragile.run("print(1)", name="next", algorithm=command)
    assert of_state(own_engine.client, fragile.root / "state") == []


def test_no_engine_is_said_before_there_is_a_record(fragile, monkeypatch):
    from sift_launcher.errors import EngineUnavailable

    monkeypatch.setenv("DOCKER_HOST", f"unix://{fragile.root}/nothing.sock")
    with pytest.raises(EngineUnavailable, match="no Docker engine answers at"):
        fragile.start("")
    assert fragile.service.names() == []
