"""A job's folder tree, and the real ``python -m sift_entrypoint.train`` run over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DEADLINE = 240.0


class JobTree:
    """The tree of one job under ``base``, in the estimator's dialect unless told otherwise."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.code = base / "code"
        self.output = base / "output"
        self.config = base / "input" / "config"
        self.code.mkdir(parents=True)
        self.config.mkdir(parents=True)
        self.packages = [ROOT / "entrypoints"]
        self.python = sys.executable
        self.program = ["-m", "sift_entrypoint.train"]

    def script(self, source: str, name: str = "train.py") -> Path:
        path = self.code / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return path

    def hyperparameters(self, program: str | None = "train.py", **values: Any) -> None:
        """Write them as the SDK does: every value through json.dumps."""
        if program is not None:
            values = {"sagemaker_program": program, **values}
        encoded = {key: json.dumps(value) for key, value in values.items()}
        (self.config / "hyperparameters.json").write_text(json.dumps(encoded))

    def model_trainer(self, source: dict[str, str], raw: dict[str, str] | None = None) -> None:
        """Move the code into its channel, as the model trainer's dialect has it."""
        data = self.base / "input" / "data"
        drivers = data / "sm_drivers"
        drivers.mkdir(parents=True)
        (drivers / "sourcecode.json").write_text(json.dumps(source))
        self.code.rename(data / "code")
        (self.config / "hyperparameters.json").write_text(json.dumps(raw or {}))

    def environment(self, **more: str) -> dict[str, str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("SM_", "SAGEMAKER_", "PYTHON", "AWS_"))
        }
        path = os.pathsep.join(str(each) for each in self.packages)
        return kept | {"PYTHONPATH": path, "SAGEMAKER_BASE_DIR": str(self.base)} | more

    @contextmanager
    def start(self, **more: str) -> Iterator[subprocess.Popen[str]]:
        process = subprocess.Popen(
            [self.python, *self.program],
            cwd=self.base,
            env=self.environment(**more),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()  # a job that hangs fails its test and does not hang it
            process.wait()

    def run(self, **more: str) -> subprocess.CompletedProcess[str]:
        with self.start(**more) as process:
            out, err = process.communicate(timeout=DEADLINE)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    @property
    def failure(self) -> str | None:
        try:
            return (self.output / "failure").read_text()
        except FileNotFoundError:
            return None

    @property
    def succeeded(self) -> bool:
        return (self.output / "success").exists()


def make_wheel(path: Path, name: str, source: str, version: str = "1.0") -> None:
    """Pack module ``name`` as a wheel, with nothing but the standard library."""
    info = f"{name}-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name}.py", source)
        wheel.writestr(f"{info}/METADATA", about)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n")
