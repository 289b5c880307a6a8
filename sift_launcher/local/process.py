"""Hosts as processes of this machine: the user's own interpreter, no container."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from sift_launcher.local.host_runner import HostEnd, RunningHost
from sift_launcher.local.places import BASE, moved
from sift_launcher.local.tree import HostTree
from sift_launcher.runtime import PACKAGES, runtime_folders

_PROCESSES = Path("/proc")


class ProcessRunner:
    """Runs `python -m sift_entrypoint train` on a host's tree, in a session of its own."""

    def __init__(self, python: str, environment: Mapping[str, str], packages: Path) -> None:
        """`environment` is added to this process's own; `packages` is a folder to be made where
        the interpreter finds the runtime when it is not installed there."""
        self._python = python
        self._packages = packages
        self._running: dict[str, ProcessHost] = {}
        self._environment = dict(os.environ) | dict(environment)
        # A PYTHONPATH of the job's own takes the place of the one that may have led to the runtime.
        if "PYTHONPATH" in environment or not _has_runtime(python):
            _link_runtime(packages)
            paths = [str(packages), self._environment.get("PYTHONPATH", "")]
            self._environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))

    @property
    def network_interface(self) -> str:
        """See HostRunner."""
        return "lo"

    def base(self, folder: Path) -> Path:
        """See HostRunner. A process sees this machine as it is."""
        return folder

    def start(self, trees: Mapping[str, HostTree], logs: Path) -> dict[str, RunningHost]:
        """See HostRunner. The end of a process wakes the caller with SIGCHLD."""
        for host, tree in trees.items():
            self._running[host] = self._start(tree, logs / f"{host}.log")
        return dict(self._running)

    def close(self) -> None:
        """See HostRunner."""
        for host in self._running.values():
            host.kill()
        shutil.rmtree(self._packages, ignore_errors=True)

    def _start(self, tree: HostTree, log: Path) -> ProcessHost:
        for mount in tree.mounts:
            tree.place_of(mount).symlink_to(mount.source)
        tree.code.mkdir(exist_ok=True)
        with log.open("ab") as output:
            _keep_from_installing(tree.code, output)
            process = subprocess.Popen(
                [self._python, "-m", "sift_entrypoint", "train"],
                cwd=tree.code,
                env=_at(tree.base, self._environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return ProcessHost(process, tree.base)


class ProcessHost:
    """One host that runs as processes; see RunningHost."""

    def __init__(self, process: subprocess.Popen[bytes], base: Path) -> None:
        self._process = process
        self._base = base

    def end(self) -> HostEnd | None:
        """See RunningHost."""
        code = self._process.poll()
        if code is None:
            return None
        return HostEnd(128 - code if code < 0 else code)

    def terminate(self) -> None:
        """See RunningHost."""
        self._process.terminate()

    def kill(self) -> None:
        """See RunningHost."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        kill_left_over(self._base)


def kill_left_over(base: Path) -> None:
    """Kills every process that belongs to the tree at `base`, wherever it put itself.

    A process is known by its environment, so never by a number that another has taken over.
    Where the system does not show environments (no /proc), nothing is found.
    """
    mark = b"SAGEMAKER_BASE_DIR=" + os.fsencode(base)
    # Again, until a pass finds none: one may have forked while the others were killed.
    while pids := list(_processes_with(mark)):
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _processes_with(mark: bytes) -> Iterator[int]:
    if not _PROCESSES.is_dir():
        return
    for folder in _PROCESSES.iterdir():
        if not folder.name.isdigit():
            continue
        # Gone meanwhile, or another user's. A zombie's environment reads as empty.
        with suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


def _at(base: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a host whose tree lies at `base`, not at /opt/ml as its request has it."""
    variables = dict(environment) | {"SAGEMAKER_BASE_DIR": str(base)}
    if "PYTHONPATH" in variables:
        paths = variables["PYTHONPATH"].split(os.pathsep)
        variables["PYTHONPATH"] = os.pathsep.join(_seen(base, path) for path in paths)
    return variables


def _seen(base: Path, path: str) -> str:
    place = PurePosixPath(path)
    return str(moved(base, place)) if BASE in place.parents else path


def _keep_from_installing(code: Path, log: BinaryIO) -> None:
    """In a container the entrypoint installs these; here they would change the user's own
    environment. The files are the job's copy."""
    for name in ("requirements.txt", "setup.py"):
        if (code / name).is_file():
            (code / name).unlink()
            told = f"sift: {name} is not installed: a process runs in your own environment as it is"
            log.write(f"{told}\n".encode())


def _has_runtime(python: str) -> bool:
    # Another interpreter may have another version of the runtime: it gets this one's.
    return python == sys.executable and all(find_spec(name) for name in PACKAGES)


def _link_runtime(packages: Path) -> None:
    """Links the runtime alone: beside it may lie packages of another Python."""
    packages.mkdir()
    for name, folder in runtime_folders().items():
        (packages / name).symlink_to(folder)
