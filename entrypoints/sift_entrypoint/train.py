"""``python -m sift_entrypoint.train``: run the job that the container contract describes.

Exit code: the script's own, ``128 + n`` where signal ``n`` killed it, 2 where the job cannot be
started as it is described.
"""

from __future__ import annotations

import os
import sys

from . import failure, home, pythonpath
from .arguments import arguments
from .bundle import bring
from .child import Outcome, Signals, adopt_orphans, run
from .command import command, is_distributed, is_package, requirements
from .contract import Job, Tree, checkpoint_folder, read_job
from .devices import Devices, count
from .environment import (
    CHECKPOINT_VARIABLE,
    SIFT_ARGUMENTS_VARIABLE,
    SIFT_CONFIG_VARIABLE,
    environment,
)
from .errors import ContractError, EntrypointError
from .memory import MemoryWatch

_DEFAULT_BASE = "/opt/ml"


def main() -> int:
    """Run the job; its exit code."""
    tree = Tree(os.path.abspath(os.environ.get("SAGEMAKER_BASE_DIR", _DEFAULT_BASE)))
    signals = Signals()
    memory = MemoryWatch()
    try:
        signals.install()
        adopt_orphans()
        _prepare(tree)
        outcome = _run_job(tree, signals)
    except EntrypointError as error:
        say(str(error))
        _say_if(failure.write_failure(tree, str(error)))
        return error.exit_code
    code = failure.exit_code(outcome)
    if code == 0:
        _say_if(failure.write_success(tree))
    else:
        _say_if(failure.write_failure(tree, failure.describe(outcome, memory)))
    return code


def say(message: str) -> None:
    """One line of ours in the job's log."""
    sys.stderr.write(f"sift: {message}\n")
    sys.stderr.flush()


def _say_if(message: str | None) -> None:
    if message:
        say(message)


def _prepare(tree: Tree) -> None:
    """Make the folders a script may count on, and forget how an earlier run here ended.

    Raises `ContractError` where the script could leave nothing behind.
    """
    for folder in (tree.model, tree.output_data):
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            raise ContractError(f"cannot make {folder}: {error.strerror}; {_mend()}") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            # Hours of training would end with no place for the model.
            raise ContractError(f"cannot write in {folder}; {_mend()}")
    for path in (tree.failure, tree.success):
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            say(f"cannot remove {path} of an earlier run: {error.strerror}")


def _mend() -> str:
    return f"give it to user {os.getuid()}, or run as its owner"


def _run_job(tree: Tree, signals: Signals) -> Outcome:
    job = read_job(tree)
    folder = bring(job)
    os.chdir(folder)
    devices = count(str(job.resources.get("current_instance_type", "local")))
    argv = arguments(job)
    wanted = _wanted_packages(job, folder)
    python = sys.executable
    if wanted:
        from . import packages  # most jobs need none that are not there

        python = packages.interpreter(say)
    script = command(job, folder, argv, devices, python)
    variables = _variables(job, folder, argv, devices)
    if python != sys.executable:
        variables["PATH"] = os.path.dirname(python) + os.pathsep + variables.get("PATH", os.defpath)
    if wanted:
        clean = {name: value for name, value in variables.items() if name != SIFT_CONFIG_VARIABLE}
        packages.install(python, wanted, folder, clean, signals)
    _wait_for_hosts(job)
    return run(script, variables, signals)


def _wanted_packages(job: Job, folder: str) -> list[str]:
    """What to tell pip to install before the script starts."""
    package = ["."] if is_package(job, folder) else []
    listed = requirements(job, folder)
    return [*package, "-r", listed] if listed else package


def _variables(job: Job, folder: str, argv: list[str], devices: Devices) -> dict[str, str]:
    """The script's whole environment: the inherited one, and the job's over it."""
    variables = dict(os.environ)
    for name in (SIFT_CONFIG_VARIABLE, SIFT_ARGUMENTS_VARIABLE):
        variables.pop(name, None)  # another job's, where one job starts another
    variables |= home.variables(variables, say)
    variables |= environment(job, argv, devices)
    variables[CHECKPOINT_VARIABLE] = checkpoint_folder(job.tree)
    # What the script printed is in the log even when it is killed.
    variables.setdefault("PYTHONUNBUFFERED", "1")
    # Ours first: a sitecustomize of the script's own is run by it, and would hide it.
    path = [*pythonpath.folders(), folder]
    if "PYTHONPATH" in variables:
        path.append(variables["PYTHONPATH"])
    variables["PYTHONPATH"] = os.pathsep.join(path)
    if is_distributed(job):
        _prepare_ranks(job, variables)
    return variables


def _prepare_ranks(job: Job, variables: dict[str, str]) -> None:
    interface = str(job.resources.get("network_interface_name", "eth0"))
    # NCCL refuses an interface that the host does not have, as outside a container.
    if os.path.exists(f"/sys/class/net/{interface}"):
        variables.setdefault("NCCL_SOCKET_IFNAME", interface)
    variables.setdefault("NCCL_PROTO", "simple")


def _wait_for_hosts(job: Job) -> None:
    """Hosts of one job come up at different times; ranks need all of their names."""
    if len(job.hosts) < 2:
        return
    from .hosts import wait_for_hosts  # one-host jobs need no socket module

    wait_for_hosts(job.hosts, say)


if __name__ == "__main__":
    sys.exit(main())
