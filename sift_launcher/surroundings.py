"""What a plan depends on beyond the job's specification, read from this machine once.

`gather` is the only place where planning looks at the disk, the clock or chance. Its result goes
into `plan`, which is pure: the same specification and surroundings give the same request.
"""

from __future__ import annotations

import os
import secrets
import string
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sift_launcher.bundle import CodeBundle, CodeFile, check_no_secrets, list_bundle
from sift_launcher.carried import carried_files
from sift_launcher.engine import EngineTraits, check_gpu, connect_here, traits
from sift_launcher.errors import (
    ChannelError,
    CodeBundleError,
    ImageMissing,
    InterpreterError,
    OutputError,
    ScriptError,
)
from sift_launcher.images import CPU_IMAGE, GPU_IMAGE, ImageFacts, inspect_image
from sift_launcher.instances import LOCAL_GPU, PROCESS, STOCK, is_cloud, is_container
from sift_launcher.job_spec import DEFAULT_OUTPUT, Channel, JobSpec
from sift_launcher.paths import absolute, state_folder
from sift_launcher.runtime import runtime_digest
from sift_launcher.stock import stock_image

if TYPE_CHECKING:
    from docker import DockerClient

    from sift_launcher.cloud.client import Clients
    from sift_launcher.cloud.facts import Cloud

Pull: TypeAlias = "Callable[[DockerClient, str, str | None], None]"
Connect: TypeAlias = "Callable[[], Clients]"

SCRIPT_KINDS = (".py", ".sh")
_SEED_LETTERS = string.ascii_lowercase + string.digits


@dataclass(frozen=True)
class Surroundings:
    """This machine at one moment, as far as a plan depends on it. All paths are absolute."""

    now: datetime
    name_seed: str
    program: str
    """The script's path below the source folder."""

    bundle: CodeBundle
    channels: dict[str, str]
    """Where their data is: absolute paths, and `s3://` addresses as they are."""

    output: str
    """A folder, or `s3://...` of a job in SageMaker."""

    python: str
    docker: Docker | None = None
    """Of a job in containers."""

    cloud: Cloud | None = None
    """Of a job in SageMaker."""

    checkpoint: str | None = None
    """The folder for checkpoints that was asked for."""


@dataclass(frozen=True)
class Docker:
    """What a job in containers depends on."""

    engine: EngineTraits
    image: ImageFacts
    runtime: tuple[CodeFile, ...] = ()
    """The sifting runtime's files, where the image has another one or none."""


def gather(spec: JobSpec, pull: Pull | None = None, connect: Connect | None = None) -> Surroundings:
    """Reads what `spec` speaks of. Raises the error of whatever is not as it should be.

    `pull` brings an image that is not here; without it, that is an error too. `connect` is the way
    to AWS of a job in SageMaker; without it, that of `spec`.
    """
    script, source_dir = _locate(spec)
    python = _interpreter(spec.python)
    # Another machine's Python may know another grammar: it says itself what it cannot read.
    _check_script(script, python if spec.instance == PROCESS else None)
    # What follows -- travels as a hyperparameter too.
    values = {**spec.hyperparameters, "sift_arguments": " ".join(spec.arguments)}
    check_no_secrets(values, spec.environment, spec.allow)
    program = script.relative_to(source_dir).as_posix()
    channels = {name: _channel(name, channel) for name, channel in spec.channels.items()}
    here = Surroundings(
        now=datetime.now(timezone.utc),
        name_seed="".join(secrets.choice(_SEED_LETTERS) for _ in range(4)),
        program=program,
        bundle=CodeBundle(str(source_dir), ()),
        channels=channels,
        output="",
        python=python,
    )
    if is_cloud(spec.instance):
        return _in_cloud(spec, here, connect)
    output, checkpoint = _folder("--output", spec.output or DEFAULT_OUTPUT), spec.checkpoint
    exclude = [output, state_folder()]
    return replace(
        here,
        bundle=list_bundle(source_dir, program, exclude, spec.allow),
        output=str(output),
        checkpoint=None if checkpoint is None else str(_folder("--checkpoint", checkpoint)),
        docker=_docker(spec, pull) if is_container(spec.instance) else None,
    )


def _in_cloud(spec: JobSpec, here: Surroundings, connect: Connect | None) -> Surroundings:
    """What is on this machine is read while AWS is being asked."""
    from concurrent.futures import ThreadPoolExecutor

    from sift_launcher.cloud.client import Clients
    from sift_launcher.cloud.gather import cloud_facts
    from sift_launcher.cloud.request import bucket_of
    from sift_launcher.cloud.upload import plan_uploads

    clients = connect() if connect else Clients(spec.region, spec.profile)
    exclude = [absolute(DEFAULT_OUTPUT), state_folder()]
    with ThreadPoolExecutor(1) as aside:
        asked = aside.submit(cloud_facts, spec, clients, needs_runtime(spec))
        bundle = list_bundle(Path(here.bundle.source_dir), here.program, exclude, spec.allow)
        cloud = asked.result()
    output = spec.output or f"s3://{cloud.bucket}/"
    cloud = replace(cloud, uploads=plan_uploads(spec, bucket_of(output)))
    return replace(here, bundle=bundle, output=output, cloud=cloud)


def needs_runtime(spec: JobSpec) -> bool:
    """Whether there is something for the sifting runtime to do in the job."""
    return spec.sift_config is not None or bool(spec.arguments)


def _folder(option: str, typed: str) -> Path:
    folder = absolute(typed)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{option} {typed} is a file: name a folder")
    return folder


def _docker(spec: JobSpec, pull: Pull | None) -> Docker:
    """The engine and the image; only asked when everything else is in order."""
    client = connect_here()
    try:
        engine = traits(client)
        if spec.instance == LOCAL_GPU:
            check_gpu(engine)
        image = _image(client, engine, spec, pull)
    finally:
        client.close()
    return Docker(engine, image, carried_files() if _carries_runtime(spec, image) else ())


def _image(
    client: DockerClient, engine: EngineTraits, spec: JobSpec, pull: Pull | None
) -> ImageFacts:
    ours = GPU_IMAGE if spec.instance == LOCAL_GPU else CPU_IMAGE
    name = spec.image or ours
    if name == STOCK:
        name = stock_image(os.environ, "gpu" if spec.instance == LOCAL_GPU else "cpu")
    platform = spec.share.platform
    try:
        return inspect_image(client, name, engine, platform)
    except ImageMissing:
        if pull is None or name in (CPU_IMAGE, GPU_IMAGE):
            raise
    pull(client, name, platform)
    return inspect_image(client, name, engine, platform)


def _carries_runtime(spec: JobSpec, image: ImageFacts) -> bool:
    if image.kind == "ours":
        return image.runtime != runtime_digest()
    # An image's own `train` does without it, unless there is something for it to do.
    return image.kind == "plain" or needs_runtime(spec)


def _locate(spec: JobSpec) -> tuple[Path, Path]:
    script = absolute(spec.script)
    if spec.source_dir is None:
        _check_is_script(script, spec.script)
        return script, script.parent
    source_dir = absolute(spec.source_dir)
    if not source_dir.is_dir():
        what = "is a file" if source_dir.exists() else "does not exist"
        raise CodeBundleError(f"--source-dir {spec.source_dir} {what}: name the script's folder")
    # As the SDK has it, the script may be named from within the source folder.
    if not (script.is_file() and script.is_relative_to(source_dir)):
        script = absolute(source_dir / spec.script)
    if script.is_file() and not script.is_relative_to(source_dir):
        raise CodeBundleError(
            f"script {spec.script} lies outside --source-dir {spec.source_dir}: "
            "name a folder that holds it"
        )
    _check_is_script(script, spec.script)
    return script, source_dir


def _check_is_script(script: Path, typed: str) -> None:
    if script.is_dir():
        raise ScriptError(f"{typed} is a folder: name the script in it, such as {typed}/train.py")
    if not script.exists():
        raise ScriptError(f"no such script: {typed}{_similar(script)}")
    if not script.is_file():
        raise ScriptError(f"{typed} is not a file: name a .py or .sh script")
    if script.suffix not in SCRIPT_KINDS:
        raise ScriptError(
            f"{typed} is not a training script: its name must end in .py (Python) or .sh (shell)"
        )


def _similar(script: Path) -> str:
    from difflib import get_close_matches

    if not script.parent.is_dir():
        return f" (there is no folder {script.parent})"
    names = [path.name for path in script.parent.iterdir() if path.suffix in SCRIPT_KINDS]
    near = get_close_matches(script.name, names, n=1)
    return f" (did you mean {near[0]}?)" if near else f" in {script.parent}"


def _interpreter(typed: str | None) -> str:
    if typed is None:
        return sys.executable
    import shutil

    found = shutil.which(typed)
    if found is None:
        raise InterpreterError(
            f"--python {typed} is not an interpreter: name one, as /usr/bin/python3"
        )
    return str(absolute(found))


def _check_script(script: Path, python: str | None) -> None:
    """Whether the script can be read, and compiles for the interpreter `python` if one is named."""
    try:
        source = script.read_bytes()
    except OSError as error:
        raise ScriptError(f"cannot read {script}: {error.strerror}") from error
    if script.suffix != ".py" or python is None:
        return
    if python != sys.executable:
        _check_elsewhere(script, python)
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the script's own warnings come when it runs
            compile(source, str(script), "exec", dont_inherit=True)
    except SyntaxError as error:
        where = f"{script}:{error.lineno}" if error.lineno else str(script)
        raise ScriptError(f"syntax error in {where}: {error.msg}{_line_of(error)}") from error
    except ValueError as error:  # null bytes, before they became syntax errors
        raise ScriptError(f"{script} is not Python: {error}") from error


_CHECK = """
import sys
path = sys.argv[1]
try:
    compile(open(path, "rb").read(), path, "exec", dont_inherit=True)
except (SyntaxError, ValueError) as error:
    sys.exit(f"{path}:{getattr(error, 'lineno', None) or 0}: {error}")
"""


def _check_elsewhere(script: Path, python: str) -> None:
    """Another interpreter may know another grammar: it is asked itself."""
    import subprocess

    command = [python, "-W", "ignore", "-c", _CHECK, str(script)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise InterpreterError(f"--python {python} does not start: {error.strerror}") from error
    if done.returncode == 1 and done.stderr.startswith(str(script)):
        raise ScriptError(f"syntax error in {done.stderr}")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
        raise InterpreterError(f"--python {python} is not a working Python: {last}")


def _line_of(error: SyntaxError) -> str:
    return f" in `{error.text.strip()}`" if error.text and error.text.strip() else ""


def _channel(name: str, channel: Channel) -> str:
    if channel.is_in_s3:
        return channel.place
    path = Path(channel.place)
    if not path.exists():
        raise ChannelError(
            f"channel {name}: {path} does not exist (read from {Path.cwd()}); "
            f"--data {name}=PATH names a folder or a file"
        )
    return str(absolute(path))
