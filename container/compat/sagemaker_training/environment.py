"""What the public toolkit's module of this name tells a training script, told from our own reading.

``Environment()`` has the same attributes with the same values, held by a test against the
toolkit. A job's ``sift_config`` is not among its hyperparameters.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from sift_entrypoint import devices
from sift_entrypoint.arguments import arguments
from sift_entrypoint.contract import SIFT_ARGUMENTS, SIFT_CONFIG, Job, Tree, read_job
from sift_entrypoint.environment import described
from sift_entrypoint.environment import environment as variables

base_dir = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
_tree = Tree(base_dir)
code_dir = _tree.code
model_dir = _tree.model
input_dir = _tree.input
input_config_dir = _tree.config
output_dir = _tree.output
output_data_dir = _tree.output_data
output_intermediate_dir = _tree.intermediate


class Environment(Mapping[str, Any]):
    """A job and its host: ``env.model_dir``, ``env["num_gpus"]``, ``dict(env)``."""

    def __init__(
        self,
        resource_config: Mapping[str, Any] | None = None,
        input_data_config: Mapping[str, Any] | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
    ) -> None:
        """Read the job's files; a description that is given stands for its file."""
        read = read_job(_tree)
        sifting = {SIFT_CONFIG: read.sift_config, SIFT_ARGUMENTS: read.sift_arguments}
        self._job = Job(
            _tree,
            hyperparameters or {**_all_hyperparameters(read), **sifting},
            resource_config or read.resources,
            input_data_config or read.channels,
            read.source,
            read.distribution,
        )
        self._devices = devices.count(self._job.resources.get("current_instance_type", "local"))
        self._facts = described(self._job, self._devices)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._facts:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return self._facts[name]

    def __getitem__(self, name: str) -> Any:
        return self._facts[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._facts))

    def __len__(self) -> int:
        return len(self._facts)

    def __str__(self) -> str:
        return str(dict(self))

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._facts]

    def to_cmd_args(self) -> list[str]:
        """The script's arguments."""
        return arguments(self._job)

    def to_env_vars(self) -> dict[str, str]:
        """The script's ``SM_*`` variables."""
        found = variables(self._job, self.to_cmd_args(), self._devices)
        return {name: value for name, value in found.items() if name.startswith("SM_")}

    def sagemaker_s3_output(self) -> str | None:
        """Where the service stores what the job leaves behind."""
        return self._job.reserved.get("sagemaker_s3_output")


def read_hyperparameters() -> dict[str, Any]:
    """The job's hyperparameters as values, the service's own among them."""
    return _all_hyperparameters(read_job(_tree))


def read_resource_config() -> dict[str, Any]:
    """The file ``resourceconfig.json``."""
    return dict(read_job(_tree).resources)


def read_input_data_config() -> dict[str, Any]:
    """The file ``inputdataconfig.json``."""
    return dict(read_job(_tree).channels)


def channel_path(channel: str) -> str:
    """The folder of a channel's data."""
    return f"{_tree.data}/{channel}"


def num_gpus() -> int:
    """GPUs on this host."""
    return devices.count("").gpus


def num_cpus() -> int:
    """Processors on this host."""
    return devices.count("").cpus


def num_neurons(instance_type: str) -> int:
    """Neuron cores on this host."""
    return devices.count(instance_type).neurons


def write_env_vars(env_vars: Mapping[str, str] | None = None) -> None:
    """Put ``env_vars`` into this process's environment."""
    os.environ.update(env_vars or {})


def _all_hyperparameters(job: Job) -> dict[str, Any]:
    return {**job.reserved, **job.hyperparameters}
