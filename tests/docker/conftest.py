"""A real engine, a base made here, our image on it: what the tests of containers stand on.

SIFT_TEST_BASE, SIFT_TEST_WHEELHOUSE and SIFT_TEST_IMAGE name what is there already. What they do
not name is made once a session, the base and the wheelhouse only where no earlier run has left
them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cli_runner import Cli, wait_until
from container_run import remove

from sift_launcher.engine import LABEL, connect
from sift_launcher.errors import EngineUnavailable

if TYPE_CHECKING:
    from docker import DockerClient

ROOT = Path(__file__).parents[2]
BASE = "sift-base:bookworm"
IMAGE = "sift-training:test"
PATIENCE_SECONDS = 600.0


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerClient]:
    """A client of the engine; without one the test is skipped, and in CI a skip is a failure."""
    try:
        client = connect(PATIENCE_SECONDS)
    except EngineUnavailable as error:
        pytest.skip(str(error))
    yield client
    client.close()


@pytest.fixture(scope="session")
def base_image(engine: DockerClient) -> str:
    """A Debian with Python and little else, made without a registry."""
    if named := os.environ.get("SIFT_TEST_BASE"):
        return named
    _run(ROOT / "container" / "bootstrap", BASE)
    return BASE


@pytest.fixture(scope="session")
def wheelhouse() -> Path:
    """A folder of the wheels that our image needs, so that a build needs no network."""
    if named := os.environ.get("SIFT_TEST_WHEELHOUSE"):
        return Path(named)
    return Path(_run(ROOT / "container" / "wheelhouse"))


@pytest.fixture(scope="session")
def image(engine: DockerClient, request: pytest.FixtureRequest) -> str:
    """Our CPU image, as `sift-launch build` makes it from the base and the wheelhouse."""
    if named := os.environ.get("SIFT_TEST_IMAGE"):
        return named
    base, wheels = (request.getfixturevalue(name) for name in ("base_image", "wheelhouse"))
    options = ["--base", base, "--wheelhouse", wheels, "--tag", IMAGE]
    _run(sys.executable, "-m", "sift_launcher", "build", *options)
    return IMAGE


@pytest.fixture
def cli(tmp_path: Path, engine: DockerClient) -> Iterator[Cli]:
    project = tmp_path / "project"
    project.mkdir()
    cli = Cli(project, tmp_path / "state", PATIENCE_SECONDS)
    yield cli
    cli.end()
    _ours(engine, cli.state).remove()


@pytest.fixture
def left_behind(cli: Cli, engine: DockerClient) -> Callable[[], list[str]]:
    """The names of the containers and networks that this test's jobs have at the moment."""
    return lambda: _ours(engine, cli.state).names()


@pytest.fixture
def until() -> Callable[[Callable[[], Any]], Any]:
    """Waits for a condition of another process, and gives up loudly."""
    return lambda condition: wait_until(condition, PATIENCE_SECONDS)


@pytest.fixture
def interrupt() -> Callable[[subprocess.Popen[str]], None]:
    return lambda process: process.send_signal(signal.SIGINT)


def _run(*command: str | Path) -> str:
    """The last line that the command prints; what it says on stderr is shown if the test fails."""
    done = subprocess.run(
        command,
        env=os.environ | {"PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.rstrip().rpartition("\n")[2]


@dataclass(frozen=True)
class _Ours:
    """Containers and networks of one state folder."""

    containers: list[Any]
    networks: list[Any]

    def names(self) -> list[str]:
        return sorted(thing.name for thing in (*self.containers, *self.networks))

    def remove(self) -> None:
        for container in self.containers:
            remove(container, force=True, v=True)
        for network in self.networks:
            remove(network)


def _ours(engine: DockerClient, state: Path) -> _Ours:
    record = f"{LABEL}.record"

    def is_ours(labels: dict[str, str] | None) -> bool:
        return (labels or {}).get(record, "").startswith(str(state))

    filters = {"label": record}
    return _Ours(
        [
            c
            for c in engine.containers.list(all=True, filters=filters, ignore_removed=True)
            if is_ours(c.labels)
        ],
        [n for n in engine.networks.list(filters=filters) if is_ours(n.attrs.get("Labels"))],
    )
