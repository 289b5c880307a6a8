"""Looking at this machine, the engine and the image. Nothing is changed or left behind."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sift_launcher.doctor.cloud import cloud_facts
from sift_launcher.doctor.facts import Facts, PythonFacts
from sift_launcher.engine import LABEL, EngineTraits, connect, engine_address, traits
from sift_launcher.errors import EngineUnavailable, ImageUnfit
from sift_launcher.images import CPU_IMAGE, GPU_IMAGE, inspect_image
from sift_launcher.instances import LOCAL_GPU, STOCK, is_container
from sift_launcher.stock import stock_image

if TYPE_CHECKING:
    from docker import DockerClient

_ENGINE_SECONDS = 30
_PYTHON_SECONDS = 60
_IMAGE_SECONDS = 180  # a container's first start may take its time
# From the metadata: importing torch takes seconds. Works in every Python since 3.8.
_ASK = """
import json, sys
try:
    from importlib.metadata import version
    torch = version("torch")
except Exception:
    torch = None
print(json.dumps([list(sys.version_info[:3]), torch]))
"""


def gather(instance: str, image: str | None, python: str | None = None) -> Facts:
    """What there is, for a job on `instance`; `image` and `python` as on the command line."""
    facts = Facts(
        instance=instance,
        image_name=_image_name(instance, image),
        python=_ask_python((shutil.which(python) or python) if python else sys.executable),
        shm_bytes=shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else 0,
        address="",
        socket="none",
        cloud=cloud_facts(instance),
    )
    try:
        address = engine_address()
        facts = replace(facts, address=address, socket=_socket(address))
        client = connect(_ENGINE_SECONDS)
        try:
            return _of_engine(facts, client)
        finally:
            client.close()
    except EngineUnavailable as error:
        return replace(facts, engine_problem=str(error))


def _of_engine(facts: Facts, client: DockerClient) -> Facts:
    engine = traits(client)
    facts = replace(facts, engine=engine, free_bytes=_free(engine))
    try:
        image = inspect_image(client, facts.image_name, engine)
    except ImageUnfit as error:
        return replace(facts, image_problem=str(error))
    asks = is_container(facts.instance)
    return replace(facts, image=image, inside=_ask_image(client, image.name) if asks else None)


def _image_name(instance: str, image: str | None) -> str:
    is_gpu = instance == LOCAL_GPU
    if image == STOCK:
        return stock_image(os.environ, "gpu" if is_gpu else "cpu")
    return image or (GPU_IMAGE if is_gpu else CPU_IMAGE)


def _ask_python(python: str) -> PythonFacts:
    try:
        done = subprocess.run(
            [python, "-c", _ASK],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_PYTHON_SECONDS,
        )
    except OSError as error:
        return PythonFacts(python, problem=error.strerror or str(error))
    except subprocess.TimeoutExpired:
        return PythonFacts(python, problem=f"no answer within {_PYTHON_SECONDS} s")
    if done.returncode != 0:
        return PythonFacts(python, problem=_last_line(done.stderr))
    return _answer(python, done.stdout)


def _ask_image(client: DockerClient, name: str) -> PythonFacts:
    from docker.errors import DockerException, NotFound
    from requests.exceptions import RequestException

    own = f"sift-doctor-{secrets.token_hex(4)}"
    client.api.timeout = _IMAGE_SECONDS
    try:
        # By hand: the package's own `run` leaves behind what could not be started.
        try:
            container = client.containers.create(
                name, ["-c", _ASK], entrypoint="python3", name=own, network_mode="none",
                labels={LABEL: "doctor"},
            )  # fmt: skip
            container.start()
            code = container.wait()["StatusCode"]
            printed = container.logs(stdout=code == 0, stderr=code != 0).decode("utf-8", "replace")
        finally:
            with suppress(NotFound):
                client.api.remove_container(own, v=True, force=True)
    except (DockerException, RequestException) as error:
        told = getattr(error, "explanation", "") or str(error)
        return PythonFacts(name, problem=_last_line(told))
    return PythonFacts(name, problem=_last_line(printed)) if code else _answer(name, printed)


def _answer(where: str, printed: str) -> PythonFacts:
    with suppress(ValueError, IndexError):
        (major, minor, micro), torch = json.loads(printed.strip().splitlines()[-1])
        return PythonFacts(where, (major, minor, micro), torch)
    return PythonFacts(where, problem=f"it answers {_last_line(printed)!r}")


def _socket(address: str) -> str:
    path = address.removeprefix("unix://")
    if path == address:
        return "remote"
    if not Path(path).exists():
        return "none"
    return "open" if os.access(path, os.R_OK | os.W_OK) else "closed"


def _free(engine: EngineTraits) -> int | None:
    if engine.is_remote:
        return None
    with suppress(OSError):  # a machine of its own, as Docker Desktop's
        return shutil.disk_usage(engine.data_root).free
    return None


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no word of why"])[-1].strip()
