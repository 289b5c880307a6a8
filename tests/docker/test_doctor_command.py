"""`sift-launch doctor` against the real engine, the real interpreter and a real image."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from fake_registry import serve

from sift_launcher.engine import traits
from sift_launcher.pull import pull

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli_runner import Cli
    from docker import DockerClient

pytestmark = pytest.mark.docker


@pytest.fixture
def doctor(cli: Cli) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Exit code and checks by name."""

    def ask(*arguments: str) -> tuple[int, dict[str, Any]]:
        ended = cli("doctor", "--json", *arguments)
        assert ended.stderr == ""
        told = json.loads(ended.stdout)
        assert told["can_run"] is (ended.returncode == 0)
        return ended.returncode, {check["name"]: check for check in told["checks"]}

    return ask


def test_a_process_can_run_here(doctor):
    code, checks = doctor()
    assert code == 0
    assert checks["python"]["told"].endswith(f" at {sys.executable}")
    assert checks["torch"]["told"].startswith("2.")
    assert checks["engine"]["is_ok"]
    assert not checks["engine"]["is_needed"]


def test_our_image_can_run_here(doctor, image: str):
    code, checks = doctor("--instance", "local", "--image", image)
    assert code == 0
    for name in ("socket", "engine", "version", "disk", "image", "architecture", "image torch"):
        assert checks[name]["is_ok"], name
        assert checks[name]["is_needed"], name
    assert checks["image"]["told"] == f"{image}, with the sifting runtime"


def test_a_base_without_torch_is_named(doctor, base_image: str):
    code, checks = doctor("--instance", "local", "--image", base_image)
    assert code == 1
    assert checks["image python"]["is_ok"]
    assert checks["image torch"]["told"] == "not in the image"
    assert checks["image torch"]["mend"] == "sift-launch build"


def test_an_image_that_is_not_here_is_named(doctor):
    code, checks = doctor("--instance", "local", "--image", "nobody/nothing:none")
    assert code == 1
    assert checks["image"]["told"].startswith(
        "image nobody/nothing:none is not on this machine: docker pull nobody/nothing:none"
    )


def test_no_gpus_are_named(doctor, image: str):
    code, checks = doctor("--instance", "local_gpu", "--image", image)
    assert code == 1
    assert checks["nvidia"]["is_needed"]
    assert "nvidia-container-toolkit" in checks["nvidia"]["told"]
    assert checks["image torch"]["mend"] == "sift-launch build --device gpu"


def test_no_engine_is_one_line_and_a_process_runs_all_the_same(cli: Cli, doctor):
    cli.environment["DOCKER_HOST"] = "unix:///nowhere.sock"
    code, checks = doctor("--instance", "local")
    assert code == 1
    assert checks["engine"]["told"].startswith("no Docker engine answers at /nowhere.sock: start")
    code, _ = doctor()
    assert code == 0
    lines = cli("doctor").stdout.splitlines()
    assert [line.split()[0] for line in lines if " engine " in line] == ["-"]
    assert lines[-1] == "--instance process can run here"


def test_an_interpreter_without_torch_is_named(doctor, tmp_path):
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True
    )
    python = str(tmp_path / "bare" / "bin" / "python")
    code, checks = doctor("--python", python)
    assert code == 1
    assert checks["torch"]["told"] == f"not installed in {python}"
    assert checks["torch"]["mend"] == f"{python} -m pip install torch"


def test_an_image_without_python_is_named_and_nothing_is_left_behind(
    doctor, engine: DockerClient, image: str
):
    with serve() as registry:
        name = registry.add("bare/image", architecture=traits(engine).architecture)
        pull(engine, name, None, lambda _: None)
    try:
        code, checks = doctor("--instance", "local", "--image", name)
    finally:
        engine.images.remove(name, force=True)
    assert code == 1
    assert checks["image python"]["told"].startswith("python3 does not start in it: ")
    assert checks["image python"]["mend"].startswith("sift-launch build --base IMAGE")
    doctor("--instance", "local", "--image", image)
    assert engine.containers.list(all=True, filters={"label": "sift-launcher=doctor"}) == []
