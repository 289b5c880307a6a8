"""The container contract: SageMaker's folder tree and the job described in its files.

Two dialects of it are alive. *Estimator*: every hyperparameter is JSON, the code is named by
``sagemaker_program`` and ``sagemaker_submit_directory``. *Model trainer*: hyperparameters are raw
strings, the code lies in the channel ``code`` and is described by the channel ``sm_drivers``.
"""

from __future__ import annotations

import json
import os

from .errors import ContractError

TYPE_CHECKING = False  # typing.TYPE_CHECKING without importing typing
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

SIFT_CONFIG = "sift_config"
SIFT_ARGUMENTS = "sift_arguments"
_RESERVED_PREFIX = "sagemaker_"
_RESERVED = frozenset({"_tuning_objective_metric", "default_user_module_name"})
# Reserved and known by name: not among the framework's own parameters.
_KNOWN = frozenset(
    {
        "sagemaker_program",
        "sagemaker_submit_directory",
        "sagemaker_enable_cloudwatch_metrics",
        "sagemaker_region",
        "sagemaker_container_log_level",
        "sagemaker_job_name",
        "sagemaker_s3_output",
        *_RESERVED,
    }
)


class Tree:
    """The folders of one job under ``base`` (``/opt/ml`` in a container)."""

    __slots__ = (
        "base",
        "checkpoints",
        "code",
        "config",
        "data",
        "failure",
        "input",
        "intermediate",
        "model",
        "output",
        "output_data",
        "success",
    )

    def __init__(self, base: str) -> None:
        join = os.path.join
        self.base = base
        self.checkpoints = join(base, "checkpoints")
        self.code = join(base, "code")
        self.model = join(base, "model")
        self.input = join(base, "input")
        self.config = join(self.input, "config")
        self.data = join(self.input, "data")
        self.output = join(base, "output")
        self.output_data = join(self.output, "data")
        self.intermediate = join(self.output, "intermediate")
        self.failure = join(self.output, "failure")
        self.success = join(self.output, "success")


class SourceCode:
    """The model trainer's description of the code (``sm_drivers/sourcecode.json``)."""

    __slots__ = ("command", "entry_script", "requirements")

    def __init__(self, command: str, entry_script: str, requirements: str) -> None:
        self.command = command
        self.entry_script = entry_script
        self.requirements = requirements


class Job:
    """One job as its files describe it.

    ``hyperparameters`` are the script's own, deserialised, without what is reserved and without
    ``sift_config`` and ``sift_arguments``; ``reserved`` are the ``sagemaker_*`` ones.
    ``source`` and ``distribution`` are set in the model trainer's dialect alone.
    """

    __slots__ = (
        "channels",
        "distribution",
        "hyperparameters",
        "reserved",
        "resources",
        "sift_arguments",
        "sift_config",
        "source",
        "tree",
    )

    def __init__(
        self,
        tree: Tree,
        hyperparameters: Mapping[str, Any],
        resources: Mapping[str, Any],
        channels: Mapping[str, Any],
        source: SourceCode | None,
        distribution: Mapping[str, Any],
    ) -> None:
        own = dict(hyperparameters)
        self.tree = tree
        self.resources = resources
        self.channels = channels
        self.source = source
        self.distribution = distribution
        self.sift_config = _sift_config(own.pop(SIFT_CONFIG, None))
        self.sift_arguments = _sift_arguments(own.pop(SIFT_ARGUMENTS, None))
        # The model trainer hands every hyperparameter to the script, reserved or not.
        self.reserved = {} if source else {k: v for k, v in own.items() if _is_reserved(k)}
        self.hyperparameters = {k: v for k, v in own.items() if k not in self.reserved}

    @property
    def framework_parameters(self) -> dict[str, Any]:
        """Reserved hyperparameters that are not known by name, such as a distribution's."""
        return {key: value for key, value in self.reserved.items() if key not in _KNOWN}

    @property
    def hosts(self) -> list[str]:
        return list(self.resources["hosts"])

    @property
    def current_host(self) -> str:
        return str(self.resources["current_host"])


def read_job(tree: Tree) -> Job:
    """Read the job under ``tree``. Raises `ContractError` naming the file and what is wrong."""
    raw = _read_object(os.path.join(tree.config, "hyperparameters.json"))
    if raw is None:
        raise ContractError(
            f"no {os.path.join(tree.config, 'hyperparameters.json')}: is SAGEMAKER_BASE_DIR "
            f"the folder of a job?"
        )
    return Job(
        tree,
        {key: _deserialised(value) for key, value in raw.items()},
        _resources(os.path.join(tree.config, "resourceconfig.json")),
        _read_object(os.path.join(tree.config, "inputdataconfig.json")) or {},
        _source(tree),
        _read_object(os.path.join(tree.data, "sm_drivers", "distributed.json")) or {},
    )


def checkpoint_folder(tree: Tree) -> str:
    """Where the script keeps its checkpoints: at the job's ``LocalPath``, if it has one.

    Raises `ContractError` where the file that says so cannot be read.
    """
    described = _read_object(os.path.join(tree.config, "checkpointconfig.json")) or {}
    wished = os.path.normpath(described.get("LocalPath") or "/opt/ml/checkpoints")
    # A job without a container has its /opt/ml elsewhere.
    inside = os.path.relpath(wished, "/opt/ml")
    return wished if inside.startswith(os.pardir) else os.path.join(tree.base, inside)


def _read_object(path: str) -> dict[str, Any] | None:
    """The JSON object in the file at ``path``; None where there is no such file."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ContractError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ContractError(f"{path} is not JSON: {error}; write it with json.dump") from error
    if not isinstance(content, dict):
        raise ContractError(f"{path} must hold a JSON object, not {type(content).__name__}")
    return content


def _deserialised(value: Any) -> Any:
    """A hyperparameter's value; text that is not JSON stands for itself."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _resources(path: str) -> dict[str, Any]:
    resources = _read_object(path)
    if resources is None:
        # A container started by hand has no resourceconfig.json; it is one host.
        return {"current_host": "algo-1", "hosts": ["algo-1"]}
    hosts = resources.get("hosts")
    if not isinstance(hosts, list) or not hosts or resources.get("current_host") not in hosts:
        raise ContractError(f"{path} must name 'hosts', and 'current_host' among them")
    return resources


def _source(tree: Tree) -> SourceCode | None:
    described = _read_object(os.path.join(tree.data, "sm_drivers", "sourcecode.json"))
    if described is None:
        return None
    return SourceCode(
        described.get("command") or "",
        described.get("entry_script") or "",
        described.get("requirements") or "",
    )


def _is_reserved(key: str) -> bool:
    return key.startswith(_RESERVED_PREFIX) or key in _RESERVED


def _sift_config(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True)


def _sift_arguments(value: Any) -> list[str]:
    if isinstance(value, str):
        value = _deserialised(value)
    if value is None or value == "":
        return []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ContractError(
            f"hyperparameter {SIFT_ARGUMENTS} must be a JSON list of strings, "
            f'such as ["--lr", "0.1"]'
        )
    return value
