"""Which command runs: Python, torchrun, a shell script, or a package with ``setup.py``."""

from __future__ import annotations

import os

from .contract import Job
from .devices import Devices
from .environment import MASTER_PORT, distribution_hosts, program
from .errors import ScriptError

_PYTHON = ".py"
_SHELL = ".sh"
_UNSERVED = (
    "sagemaker_mpi_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
)


def command(
    job: Job, folder: str, arguments: list[str], devices: Devices, python: str
) -> list[str]:
    """The command for the job's entry point in ``folder``, an executable's path first.

    Python code runs with the interpreter ``python``.

    Raises `ScriptError` where there is no such script or nothing can run it.
    """
    if job.source and job.source.command:
        # The user's own shell command; hyperparameters are no part of it.
        return ["/bin/bash", "-c", job.source.command]
    _refuse_unserved(job)
    name = _entry_point(job)
    if is_package(job, folder):
        return [*_ranks(job, devices, python), "-m", _module(name), *arguments]
    path = _script(folder, name)
    if name.endswith(_PYTHON):
        if b"\0" in _beginning(path):
            raise ScriptError(f"{name} is not Python: it holds binary data; name a Python script")
        return [*_ranks(job, devices, python), _relative(name), *arguments]
    if is_distributed(job):
        raise ScriptError(f"torchrun runs Python alone, and {name} is none: name a .py script")
    return [*_interpreter(path, name), _relative(name, "./"), *arguments]


def is_package(job: Job, folder: str) -> bool:
    """Whether the code is a package to install, its entry point a module of it."""
    if job.source or _entry_point(job).endswith(_SHELL):
        return False
    return os.path.isfile(os.path.join(folder, "setup.py"))


def requirements(job: Job, folder: str) -> str | None:
    """The requirements file to install before the script starts, if there is one."""
    if job.source:
        return job.source.requirements or None
    wanted = is_package(job, folder) or _entry_point(job).endswith(_PYTHON)
    there = os.path.isfile(os.path.join(folder, "requirements.txt"))
    return "requirements.txt" if wanted and there else None


def is_distributed(job: Job) -> bool:
    """Whether the script runs under torchrun."""
    if job.source:
        return bool(job.distribution)
    return bool(job.reserved.get("sagemaker_torch_distributed_enabled"))


def _refuse_unserved(job: Job) -> None:
    for key in _UNSERVED:
        if job.reserved.get(key):
            raise ScriptError(
                f"{key} is not served here: use distribution="
                f'{{"torch_distributed": {{"enabled": True}}}}'
            )


def _entry_point(job: Job) -> str:
    name = job.source.entry_script if job.source else program(job)
    if not name:
        raise ScriptError("no entry point: set the hyperparameter sagemaker_program, e.g. train.py")
    parts = str(name).split("/")
    if os.path.isabs(name) or ".." in parts:
        raise ScriptError(
            f"entry point {name} lies outside the code folder: name a path inside it, e.g. train.py"
        )
    return str(name)


def _script(folder: str, name: str) -> str:
    path = os.path.join(folder, name)
    if os.path.isdir(path):
        raise ScriptError(
            f"{path} is a folder: name the script in it, e.g. {name.rstrip('/')}/train.py"
        )
    if not os.path.isfile(path):
        there = [entry for entry in sorted(os.listdir(folder)) if entry.endswith((_PYTHON, _SHELL))]
        hint = f"there are {', '.join(there[:8])}" if there else "it has no scripts"
        raise ScriptError(f"no script {name} in {folder}: {hint}")
    return path


def _module(name: str) -> str:
    return name.removesuffix(_PYTHON).replace("/", ".")


def _relative(name: str, start: str = "") -> str:
    """``name`` as an argument that no program can take for an option."""
    return f"{start or './'}{name}" if start or name.startswith("-") else name


def _ranks(job: Job, devices: Devices, python: str) -> list[str]:
    """The interpreter, or torchrun by way of it: never another environment's ``torchrun``."""
    if not is_distributed(job):
        return [python]
    hosts = distribution_hosts(job) if not job.source else sorted(job.hosts)
    wanted = job.reserved.get("sagemaker_mpi_num_of_processes_per_host")
    if job.source:
        wanted = job.distribution.get("process_count_per_node")
    torchrun = [python, "-m", "torch.distributed.run"]
    if len(hosts) < 2:
        # Its own free port, so that two jobs on one host do not meet on the default one.
        torchrun.append("--standalone")
    torchrun += ["--nnodes", str(max(1, len(hosts)))]
    torchrun += ["--nproc_per_node", str(_processes(wanted) or devices.processes)]
    if len(hosts) > 1:
        torchrun += ["--master_addr", hosts[0], "--master_port", str(MASTER_PORT)]
        torchrun += ["--node_rank", str(hosts.index(job.current_host))]
    return torchrun


def _processes(wanted: object) -> int:
    try:
        return int(str(wanted or 0))
    except ValueError:
        raise ScriptError(f"processes per host must be a number, not {wanted!r}") from None


def _interpreter(path: str, name: str) -> list[str]:
    """What the kernel would run a script's ``#!`` line with; needs no execute permission."""
    first = _beginning(path).split(b"\n", 1)[0]
    if first.startswith(b"#!") and first[2:].strip():
        return os.fsdecode(first[2:].strip()).split(None, 1)
    if name.endswith(_SHELL):
        return ["/bin/sh"]
    raise ScriptError(
        f"{name} is neither Python nor a shell script: "
        f"name it .py or .sh, or begin it with a #! line"
    )


def _beginning(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(4096)
    except OSError as error:
        raise ScriptError(f"cannot read {path}: {error.strerror}") from error
