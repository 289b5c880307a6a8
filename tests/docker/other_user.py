"""The client in processes of a user who is not root."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

UID = 12345
_CLIENT = (
    *("container_jobs", "cli_runner", "sift_launcher", "sift_entrypoint", "smart_sifting"),
    *("docker", "requests", "urllib3", "charset_normalizer", "certifi", "idna", "click"),
)


class OtherUser:
    """User `UID`, of the groups that are named, with a `home` of its own."""

    def __init__(self, home: Path, packages: Path, groups: Iterable[int]) -> None:
        self.home = home
        named = ",".join(map(str, groups))
        change = [f"--groups={named}"] if named else ["--clear-groups"]
        self._become = ["setpriv", f"--reuid={UID}", f"--regid={UID}", *change]
        self._environment = os.environ | {"HOME": str(home), "PYTHONPATH": str(packages)}
        self._python = self._interpreter()

    def python(self, *arguments: str, input: str = "") -> subprocess.CompletedProcess[str]:
        """What Python does, in the user's home, when this user calls it."""
        return self._call(self._python, *arguments, input=input)

    def _interpreter(self) -> str:
        for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
            if self._call(python, "-c", "import docker").returncode == 0:
                return python
        pytest.fail(f"user {UID} may run no Python of this machine")

    def _call(self, *command: str, input: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            # Through a shell, for the first program still has root's powers.
            [*self._become, "sh", "-c", 'exec "$@"', "sh", *command],
            cwd=self.home,
            input=input,
            capture_output=True,
            text=True,
            env=self._environment,
            check=False,
        )


@contextmanager
def other_user(groups: Iterable[int]) -> Iterator[OtherUser]:
    """Such a user while the context lasts; only root can be another."""
    if os.getuid() != 0:
        pytest.skip("only root can be another user")
    # Not below pytest's own folder, which is root's alone.
    home = Path(tempfile.mkdtemp(prefix="sift-user-"))
    packages = Path(tempfile.mkdtemp(prefix="sift-packages-"))
    packages.chmod(0o755)
    for module in _CLIENT:
        _copy_module(module, packages)
    os.chown(home, UID, UID)
    try:
        yield OtherUser(home, packages, groups)
    finally:
        shutil.rmtree(home)
        shutil.rmtree(packages)


def _copy_module(name: str, folder: Path) -> None:
    """Where the user can read it: the environment of these tests may lie in root's own folder."""
    spec = importlib.util.find_spec(name)
    assert spec is not None and spec.origin is not None, name
    origin = Path(spec.origin)
    if origin.name == "__init__.py":
        shutil.copytree(origin.parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(origin, folder)
