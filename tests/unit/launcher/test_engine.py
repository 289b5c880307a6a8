"""Which engine is spoken to, what it is, and what is said when it cannot serve."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_engine import INFO, VERSION, fake_engine

from sift_launcher.engine import (
    EngineTraits,
    check_gpu,
    connect,
    connect_here,
    engine_address,
    traits,
)
from sift_launcher.errors import DeviceUnavailable, EngineUnavailable

DOCKER = EngineTraits(
    product="docker",
    version="27.1.0",
    architecture="amd64",
    is_rootless=False,
    is_remote=False,
    has_nvidia=False,
    memory_bytes=16_000_000_000,
    cpus=8,
    data_root="/var/lib/docker",
)


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.setenv("PATH", "/nowhere")


def context(folder: Path, name: str, host: str, *, current: bool) -> None:
    """A context as `docker context create` leaves it."""
    meta = folder / "docker" / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    endpoints = {"docker": {"Host": host, "SkipTLSVerify": False}}
    (meta / "meta.json").write_text(
        json.dumps({"Name": name, "Metadata": {}, "Endpoints": endpoints})
    )
    settings = {"currentContext": name} if current else {}
    (folder / "docker" / "config.json").write_text(json.dumps(settings))


def test_without_settings_the_engine_is_this_machines():
    assert engine_address() == "unix:///var/run/docker.sock"


def test_the_current_context_names_the_engine(tmp_path: Path):
    context(tmp_path, "desktop", "unix:///home/ada/.docker/run/docker.sock", current=True)
    assert engine_address() == "unix:///home/ada/.docker/run/docker.sock"


def test_the_variables_stand_over_the_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    context(tmp_path, "farm", "tcp://farm:2376", current=False)
    assert engine_address() == "unix:///var/run/docker.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "farm")
    assert engine_address() == "tcp://farm:2376"
    monkeypatch.setenv("DOCKER_HOST", "unix:///mine.sock")
    assert engine_address() == "unix:///mine.sock"


def test_it_is_the_engine_of_the_context_that_is_reached(tmp_path: Path):
    with fake_engine(tmp_path) as address:
        context(tmp_path, "here", address, current=True)
        client = connect_here()
        assert traits(client).version == "27.1.0"
        client.close()


def test_a_context_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_CONTEXT", "nix")
    with pytest.raises(
        EngineUnavailable, match="there is no docker context nix: docker context ls"
    ):
        engine_address()
    context(tmp_path, "broken", "unix:///x", current=True)
    (meta,) = tmp_path.glob("docker/contexts/meta/*/meta.json")
    meta.write_text("{")
    monkeypatch.delenv("DOCKER_CONTEXT")
    with pytest.raises(EngineUnavailable, match=r"broken .*: choose another with docker context"):
        engine_address()


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:2375", "ssh://ada@farm", "http://farm:1"])
def test_an_engine_on_another_machine_runs_no_jobs(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(EngineUnavailable) as caught:
        connect_here()
    assert str(caught.value) == (
        f"the Docker engine at {address} is on another machine and cannot mount the job's files: "
        "unset DOCKER_HOST (or docker context use default) for the engine of this one, or launch "
        "the job over there"
    )


def test_an_engine_that_takes_calls_and_never_answers_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with fake_engine(tmp_path, version=None) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        with pytest.raises(EngineUnavailable) as caught:
            connect(timeout=1)
    assert str(caught.value) == (
        f"the Docker engine at {tmp_path}/engine.sock takes connections but does not answer: "
        "restart it (sudo systemctl restart docker), or use --instance process, which needs none"
    )


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[str]:
    """The address of a socket that this user may not use."""
    path = tmp_path / "closed.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        path.chmod(0)
        yield f"unix://{path}"


def as_a_plain_user(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command without the power of root to pass over permissions."""
    powers = "-dac_override,-dac_read_search"
    drop = ["setpriv", "--bounding-set", powers] if os.geteuid() == 0 else []
    return subprocess.run(
        [*drop, sys.executable, "-m", "sift_launcher", *arguments],
        env={"PYTHONPATH": os.pathsep.join(sys.path), "PATH": os.defpath} | environment,
        capture_output=True,
        text=True,
    )


def test_a_socket_that_this_user_may_not_use_is_named(tmp_path: Path, closed: str):
    script = tmp_path / "train.py"
    script.touch()
    where = closed.removeprefix("unix://")
    home = str(tmp_path / "state")
    told = as_a_plain_user(
        str(script), "--instance", "local", DOCKER_HOST=closed, SIFT_LAUNCHER_HOME=home
    )
    assert (told.returncode, told.stdout, told.stderr) == (
        2,
        "",
        f"this user may not talk to the Docker engine at {where}: sudo usermod -aG docker $USER, "
        "then log in again; or use --instance process, which needs none\n",
    )
    told = as_a_plain_user("doctor", "--instance", "local", DOCKER_HOST=closed)
    assert told.returncode == 1
    assert (
        f"mend  socket        this user may not talk to {where}: "
        "sudo usermod -aG docker $USER, then log in again\n"
    ) in told.stdout


@pytest.mark.parametrize("api", ["1.40", "1.12"])
def test_an_engine_that_is_too_old_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, api: str
):
    with fake_engine(tmp_path, version=VERSION | {"ApiVersion": api}) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        with pytest.raises(EngineUnavailable, match=r"Docker 20\.10|no version in common"):
            connect()


@pytest.mark.parametrize(
    ("info", "version", "expected"),
    [
        ({}, {}, {}),
        (
            {"SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"]},
            {},
            {"is_rootless": True},
        ),
        (
            {"SecurityOptions": None, "Runtimes": None},
            {"Version": "4.3.1", "Arch": "arm64", "Components": [{"Name": "Podman Engine"}]},
            {"product": "podman", "version": "4.3.1", "architecture": "arm64"},
        ),
        (
            {"host": {"security": {"rootless": True}}},
            {"Version": "4.3.1", "Components": [{"Name": "Podman Engine"}]},
            {"product": "podman", "version": "4.3.1", "is_rootless": True},
        ),
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, {}, {"has_nvidia": True}),
        (
            {"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}]},
            {},
            {"has_nvidia": True},
        ),
        ({"MemoryLimit": False}, {}, {"has_limits": False}),
        ({"CpuCfsQuota": False}, {}, {"has_limits": False}),
        ({"DiscoveredDevices": [{"Source": "cdi", "ID": "amd.com/gpu=0"}]}, {}, {}),
    ],
)
def test_an_engine_says_what_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    info: dict[str, Any],
    version: dict[str, Any],
    expected: dict[str, Any],
):
    with fake_engine(tmp_path, INFO | info, VERSION | version) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        client = connect_here()
        assert traits(client) == replace(DOCKER, **expected)
        client.close()


def test_dockers_hook_for_gpus_counts_without_its_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hook = tmp_path / "bin" / "nvidia-container-runtime-hook"
    hook.parent.mkdir()
    hook.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(hook.parent))
    with fake_engine(tmp_path) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        client = connect_here()
        assert traits(client) == replace(DOCKER, has_nvidia=True)
        client.close()


def test_windows_containers_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with fake_engine(tmp_path, INFO | {"OSType": "windows"}) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        client = connect_here()
        with pytest.raises(EngineUnavailable, match="runs windows containers: switch it to Linux"):
            traits(client)
        client.close()


def test_gpus_are_asked_of_an_engine_that_has_them():
    check_gpu(replace(DOCKER, has_nvidia=True))
    with pytest.raises(DeviceUnavailable) as caught:
        check_gpu(DOCKER)
    assert str(caught.value) == (
        "the Docker engine has no NVIDIA runtime, so no container gets a GPU: install "
        "nvidia-container-toolkit, then sudo nvidia-ctk runtime configure --runtime=docker && "
        "sudo systemctl restart docker; or use --instance local, which trains on the CPU"
    )
    with pytest.raises(DeviceUnavailable, match="podman does not take requests for GPUs"):
        check_gpu(replace(DOCKER, product="podman"))
