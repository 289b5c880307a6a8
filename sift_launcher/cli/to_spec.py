"""From the options of `sift-launch SCRIPT` to the specification of the job."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sift_launcher.cli import options
from sift_launcher.job_spec import FILE, JobSpec

_PAIRS = {
    "hyperparameter": options.hyperparameters,
    "data": options.channels,
    "env": options.environment,
    "metric": options.metrics,
    "tag": options.tags,
}


def parse_pairs(typed: Mapping[str, Any]) -> dict[str, Any]:
    """The options by name, those of the form `KEY=VALUE` as one mapping each."""
    return {name: _PAIRS[name](value) if name in _PAIRS else value for name, value in typed.items()}


def to_spec(script: str, arguments: tuple[str, ...], values: Mapping[str, Any]) -> JobSpec:
    """The specification; `values` are the options by their names, pairs as mappings."""
    source_dir = values["source_dir"]
    return JobSpec(
        script=script,
        arguments=arguments,
        instance=values["instance"],
        count=values["count"],
        image=values["image"],
        share=options.machine_share(
            values["shm_size"], values["memory"], values["cpus"], values["platform"]
        ),
        distribution=values["distribution"],
        source_dir=None if source_dir is None else Path(source_dir),
        hyperparameters=values["hyperparameter"],
        channels=options.sharded(values["data"], values["shard"]),
        input_mode=values["input_mode"] or FILE,
        sift_config=options.sift_config(
            values["keep"],
            values["beta"],
            values["sift_delay"],
            values["sift_config"],
            values["loss"],
            values["no_sift"],
        ),
        environment=values["env"],
        name=values["name"],
        output=values["output"],
        checkpoint=values["checkpoint"],
        max_run_seconds=values["max_run"],
        metrics=values["metric"],
        tags=values["tag"],
        allow=tuple(values["allow"]),
        python=values["python"],
        role=values["role"],
        region=values["region"],
        profile=values["profile"],
        spot=values["spot"],
        max_wait_seconds=values["max_wait"],
        volume_size_gb=values["volume_size"],
        kms_key=values["kms_key"],
        subnets=tuple(values["subnet"]),
        security_groups=tuple(values["security_group"]),
        network_isolation=values["network_isolation"],
        keep_alive_seconds=values["keep_alive"],
        retries=values["retries"],
        price_dollars=values["price"],
    )
