"""The script's environment variables: ``SM_*`` in the job's dialect."""

from __future__ import annotations

import json
import os

from .contract import Job
from .devices import Devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIFT_CONFIG_VARIABLE = "SM_HP_SIFT_CONFIG"
SIFT_ARGUMENTS_VARIABLE = "SM_HP_SIFT_ARGUMENTS"
# The public toolkit has none for it: train.py lays it over what `environment` gives.
CHECKPOINT_VARIABLE = "SM_CHECKPOINT_DIR"
MASTER_PORT = 7777
_INFO = 20  # logging.INFO without importing logging
_DEFAULT_GROUP = "homogeneousCluster"
# Each of these, when true, spreads the job over the hosts of the current instance group.
_DISTRIBUTIONS = (
    "sagemaker_mpi_enabled",
    "sagemaker_parameter_server_enabled",
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_multi_worker_mirrored_strategy_enabled",
    "sagemaker_torch_distributed_enabled",
)


def environment(job: Job, arguments: list[str], devices: Devices) -> dict[str, str]:
    """The job's own variables, to be laid over the inherited environment.

    ``SM_HP_SIFT_CONFIG`` is the one trace of ``sift_config`` in them: a script that reads
    ``SM_HPS`` or ``SM_USER_ARGS`` finds exactly what it would find without sifting.
    """
    dialect = _model_trainer if job.source else _estimator
    variables = dialect(job, arguments, devices)
    if job.sift_config:
        variables[SIFT_CONFIG_VARIABLE] = job.sift_config
    # The system allows no such name; the script still has the value as an argument.
    return {name: value for name, value in variables.items() if name and "=" not in name}


def program(job: Job) -> str | None:
    """The entry point's name in the estimator's dialect."""
    return os.environ.get("SAGEMAKER_PROGRAM") or job.reserved.get("sagemaker_program")


def distribution_hosts(job: Job) -> list[str]:
    """The hosts that train together, the first of them the master."""
    groups = job.resources.get("instance_groups", [])
    if not groups:
        return job.hosts
    spread = _distribution_groups(job)
    return [
        host
        for group in groups
        if group["instance_group_name"] in spread
        for host in group["hosts"]
    ]


def described(job: Job, devices: Devices) -> dict[str, Any]:
    """Everything known about the job, under the names of ``SM_TRAINING_ENV``."""
    resources, tree = job.resources, job.tree
    groups = resources.get("instance_groups", [])
    group = resources.get("current_group_name", _DEFAULT_GROUP)
    spread = _distribution_groups(job)
    spread_hosts = distribution_hosts(job)
    master = (spread_hosts or job.hosts)[0]
    entry_point = program(job)
    parallel = os.environ.get("SM_HP_MP_PARAMETERS")
    return {
        "additional_framework_parameters": job.framework_parameters,
        "channel_input_dirs": {name: os.path.join(tree.data, name) for name in job.channels},
        "current_host": job.current_host,
        "current_instance_group": group,
        "current_instance_group_hosts": next(
            (item["hosts"] for item in groups if item["instance_group_name"] == group), []
        ),
        "current_instance_type": resources.get("current_instance_type", "local"),
        "distribution_hosts": spread_hosts,
        "distribution_instance_groups": spread,
        "framework_module": os.environ.get("SAGEMAKER_TRAINING_MODULE"),
        "hosts": job.hosts,
        "hyperparameters": job.hyperparameters,
        "input_config_dir": tree.config,
        "input_data_config": job.channels,
        "input_dir": tree.input,
        "instance_groups": [item["instance_group_name"] for item in groups],
        "instance_groups_dict": {item["instance_group_name"]: item for item in groups},
        "is_hetero": len(groups) > 1,
        "is_master": job.current_host == master,
        "is_modelparallel_enabled": parallel and parallel != "{}",
        "is_smddpmprun_installed": _installed("smddpmprun"),
        "is_smddprun_installed": _installed("smddprun"),
        "job_name": os.environ.get("TRAINING_JOB_NAME"),
        "log_level": job.reserved.get("sagemaker_container_log_level", _INFO),
        "master_hostname": master,
        "model_dir": tree.model,
        "module_dir": str(job.reserved.get("sagemaker_submit_directory", tree.code)),
        "module_name": str(entry_point).removesuffix(".py"),
        "network_interface_name": resources.get("network_interface_name", "eth0"),
        "num_cpus": devices.cpus,
        "num_gpus": devices.gpus,
        "num_neurons": devices.neurons,
        "output_data_dir": tree.output_data,
        "output_dir": tree.output,
        "output_intermediate_dir": tree.intermediate,
        "resource_config": resources,
        "topology": resources.get("topology", []),
        "user_entry_point": entry_point,
    }


def _estimator(job: Job, arguments: list[str], devices: Devices) -> dict[str, str]:
    """As the public training toolkit does, upper case, JSON for all that is not text."""
    facts = described(job, devices)
    values: dict[str, Any] = {
        name: facts[name]
        for name in (
            "hosts",
            "network_interface_name",
            "user_entry_point",
            "resource_config",
            "input_data_config",
            "output_data_dir",
            "current_host",
            "current_instance_type",
            "current_instance_group",
            "current_instance_group_hosts",
            "instance_groups",
            "instance_groups_dict",
            "distribution_instance_groups",
            "is_hetero",
            "module_name",
            "log_level",
            "framework_module",
            "input_dir",
            "input_config_dir",
            "output_dir",
            "num_cpus",
            "num_gpus",
            "num_neurons",
            "model_dir",
            "module_dir",
            "output_intermediate_dir",
        )
    }
    values["hps"] = job.hyperparameters
    values["framework_params"] = job.framework_parameters
    values["channels"] = sorted(job.channels)
    values["training_env"] = facts
    values["user_args"] = arguments
    if facts["topology"]:
        values["topology"] = facts["topology"]
    for name, path in facts["channel_input_dirs"].items():
        values[f"channel_{name}"] = path
    for name, value in job.hyperparameters.items():
        values[f"hp_{name}"] = value

    variables = {f"SM_{name.upper()}": _compact(value) for name, value in values.items()}
    variables["CURRENT_HOST"] = job.current_host
    variables["SAGEMAKER_JOB_NAME"] = str(job.reserved.get("sagemaker_job_name", ""))
    variables["SAGEMAKER_REGION"] = str(
        job.reserved.get("sagemaker_region")
        or os.environ.get("AWS_REGION")
        or os.environ.get("AWS_DEFAULT_REGION", "")
    )
    return variables


def _distribution_groups(job: Job) -> list[str]:
    named = job.framework_parameters.get("sagemaker_distribution_instance_groups")
    if named is not None:
        return list(named)
    if any(job.framework_parameters.get(key) for key in _DISTRIBUTIONS):
        return [job.resources.get("current_group_name", _DEFAULT_GROUP)]
    return []


def _installed(tool: str) -> bool:
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return any(os.access(os.path.join(folder, tool), os.X_OK) for folder in folders)


def _compact(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _model_trainer(job: Job, _arguments: list[str], devices: Devices) -> dict[str, str]:
    """As the model trainer's drivers do: dashes become underscores, order is kept."""
    tree, resources = job.tree, job.resources
    hosts = sorted(job.hosts)
    channels = {name: f"{tree.data}/{name}" for name in job.channels}
    log_level = os.environ.get("SM_LOG_LEVEL", _INFO)
    shared: dict[str, Any] = {
        "current_host": job.current_host,
        "current_instance_type": resources.get("current_instance_type", "local"),
        "hosts": hosts,
        "input_config_dir": tree.config,
        "input_data_config": job.channels,
        "input_data_dir": tree.data,
        "input_dir": tree.input,
        "log_level": log_level,
        "master_addr": hosts[0],
        "master_port": MASTER_PORT,
        "model_dir": tree.model,
        "network_interface_name": resources.get("network_interface_name", "eth0"),
        "num_cpus": devices.cpus,
        "num_gpus": devices.gpus,
        "num_neurons": devices.neurons,
        "output_data_dir": tree.output_data,
        "resource_config": resources,
    }
    values: dict[str, Any] = {f"SM_{name.upper()}": value for name, value in shared.items()}
    values["SM_OUTPUT_DIR"] = tree.output
    values["SM_OUTPUT_FAILURE"] = tree.failure
    values["SM_HOST_COUNT"] = len(hosts)
    values["SM_CURRENT_HOST_RANK"] = hosts.index(job.current_host)
    values["SM_HPS"] = job.hyperparameters
    values["SM_CHANNELS"] = list(channels)
    values["SM_SOURCE_DIR"] = f"{tree.data}/code"
    values["SM_ENTRY_SCRIPT"] = job.source.entry_script if job.source else ""
    if job.distribution:
        values["SM_DISTRIBUTED_DRIVER_DIR"] = f"{tree.data}/sm_drivers/distributed_drivers"
        values["SM_DISTRIBUTED_CONFIG"] = job.distribution
    values["SM_TRAINING_ENV"] = shared | {
        "channel_input_dirs": channels,
        "hyperparameters": job.hyperparameters,
        "job_name": os.environ.get("TRAINING_JOB_NAME", ""),
    }
    for name, path in channels.items():
        values[f"SM_CHANNEL_{name.upper()}"] = path
    for name, value in job.hyperparameters.items():
        values[f"SM_HP_{name.replace('-', '_').upper()}"] = value
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
    }
