"""What our image is compared with: the public toolkit's images, and SDK v2 to run them locally."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import time_command

if TYPE_CHECKING:
    from docker import DockerClient

TOOLKIT = "sift-bench:toolkit"
"""torch, numpy and the public `sagemaker-training` alone; unbuffered, as AWS's images are."""

MODULE = "sift-bench:pytorch-module"
"""The same and `sagemaker-pytorch-training`, which the toolkit hands the job to, as in AWS's
images. Theirs have a compiler besides, which they call before every job; this one is spared it."""

TOOLKIT_WHEELS = ("sagemaker-training>=5.1",)
MODULE_WHEELS = ("sagemaker-training>=5.1", "sagemaker-pytorch-training>=2.8")
SDK = "sagemaker>=2.257.7,<3"

_FRAMEWORK = "SAGEMAKER_TRAINING_MODULE=sagemaker_pytorch_container.training:main"
_NO_TELEMETRY = """\
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""
_DOCKERFILE = """\
FROM {base} AS build
COPY wheels /wheels
RUN python3 -m venv --without-pip /opt/venv && \\
    python3 $(ls /wheels/pip-*.whl)/pip --python /opt/venv/bin/python3 install --quiet \\
    --no-index --find-links /wheels {packages}
FROM {base}
COPY --from=build /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=TRUE {variables}
CMD ["train"]
"""


def build_peers(engine: DockerClient, base: str, wheelhouse: Path) -> None:
    """Both peer images on `base`, with the torch and numpy of our image's wheelhouse.

    The toolkit has no wheels of its own; they are built here, which takes a C compiler.
    """
    wheels = _cached("peers", MODULE_WHEELS) / "wheels"
    if not wheels.exists():
        _complete(wheels, lambda folder: _pip("wheel", "--wheel-dir", folder, *MODULE_WHEELS))
    with tempfile.TemporaryDirectory() as context:
        together = Path(context) / "wheels"
        for folder in (wheels, wheelhouse):
            shutil.copytree(folder, together, dirs_exist_ok=True)
        for tag, named, variables in (
            (TOOLKIT, TOOLKIT_WHEELS, ""),
            (MODULE, MODULE_WHEELS, _FRAMEWORK),
        ):
            packages = " ".join(f"'{each}'" for each in ("torch", "numpy", *named))
            (Path(context) / "Dockerfile").write_text(
                _DOCKERFILE.format(base=base, packages=packages, variables=variables)
            )
            engine.images.build(path=context, tag=tag, rm=True)


def sdk_job(engine: DockerClient, scratch: Path, script: Path) -> Callable[[], float]:
    """Times a job in SDK v2's own local mode, on the PyTorch module's image."""
    python = sdk_python()
    output = scratch / "output"
    output.mkdir(parents=True)
    settings = scratch / "config.yaml"
    settings.write_text(_NO_TELEMETRY)
    env = os.environ | {
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(settings),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
    }
    job = [python, Path(__file__).with_name("container_sdk.py")]
    job += [MODULE, script.parent, script.name, output, scratch]

    def timed() -> float:
        seconds = time_command([str(each) for each in job], env=env)
        _remove_leftovers(engine)
        return seconds

    return timed


def _remove_leftovers(engine: DockerClient) -> None:
    """The containers and the network that the SDK leaves behind after every job."""
    filters = {"ancestor": MODULE, "label": "com.docker.compose.project", "status": "exited"}
    for container in engine.containers.list(all=True, filters=filters):
        container.remove(v=True)
    for network in engine.networks.list(names=["sagemaker-local"]):
        network.remove()


def sdk_python() -> Path:
    """The interpreter of a virtual environment with SDK v2, which is made where there is none."""
    environment = _cached("sdk", (SDK,)) / "environment"
    python = environment / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
        try:
            _pip("--python", python, "install", SDK)
        except subprocess.CalledProcessError:
            shutil.rmtree(environment)
            raise
    return python


def has_compose() -> bool:
    """Whether SDK v2 finds the Compose that its local mode needs."""
    return shutil.which("docker-compose") is not None


def python_of(image: str) -> list[str]:
    """The command that runs an image's Python."""
    return ["docker", "run", "--rm", "--entrypoint", "python3", image]


def version_of(python: Sequence[str | Path], package: str) -> str:
    """The version of a package in the environment of the interpreter that `python` calls."""
    code = f"from importlib.metadata import version; print(version({package!r}))"
    return subprocess.check_output([*python, "-c", code], text=True).strip()


def _cached(what: str, wanted: tuple[str, ...]) -> Path:
    """A folder for what was made of these requirements, kept between runs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sift-launcher"
    key = hashlib.sha256(" ".join((sys.version, *wanted)).encode()).hexdigest()[:12]
    folder = cache / f"bench-{what}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _complete(folder: Path, fill: Callable[[Path], None]) -> None:
    """Fills a folder, which is there only when that succeeded."""
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
    fill(unfinished)
    unfinished.rename(folder)


def _pip(*arguments: str | Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--quiet", *arguments, "--prefer-binary"], check=True
    )
