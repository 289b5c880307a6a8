"""From what the user asked for to the request that any training service takes. Pure.

spec, surroundings ─► plan ─► CreateTrainingJob request
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from sift_launcher import carried
from sift_launcher.bundle import CodeBundle, CodeFile
from sift_launcher.cloud.cost_limit import cost_limit
from sift_launcher.cloud.facts import Cloud
from sift_launcher.cloud.request import cloud_request, code_uri
from sift_launcher.errors import OptionError
from sift_launcher.instances import check_instance, check_options, is_cloud
from sift_launcher.job_spec import INPUT_MODES, S3, JobSpec
from sift_launcher.local.machine import MachineShare
from sift_launcher.local_request import local_request
from sift_launcher.request_parts import DISTRIBUTED, SUBMIT_DIRECTORY, Request, job_name
from sift_launcher.surroundings import Surroundings
from sift_launcher.validation import (
    MAX_KEEP_ALIVE_SECONDS,
    MAX_RETRIES,
    MAX_VOLUME_GB,
    check_channels,
    check_environment,
    check_hyperparameters,
    check_job_name,
    check_kms_key,
    check_max_run,
    check_max_wait,
    check_metrics,
    check_network,
    check_range,
    check_s3_uri,
    check_tags,
)


@dataclass(frozen=True)
class Plan:
    """What would be done, complete: printing it is the dry run, submitting it is the job."""

    request: Request
    """The CreateTrainingJob request, exactly as the service gets it."""

    bundle: CodeBundle
    """The code that is packed to `bundle_uri` before the request is sent."""

    bundle_uri: str
    image: str
    """What the job runs in: an image's name, or `file://` and the interpreter of a process."""

    max_cost_dollars: float | None
    """The most the job can cost, in US dollars; nothing on this machine. None: nobody knows."""

    spot_cost_dollars: float | None = None
    """The same at the price that spot instances are likely to have; an estimate."""

    share: MachineShare = field(default_factory=MachineShare)
    """What each container gets of this machine; a process gets what there is."""

    cloud: Cloud | None = None
    """Of a job in SageMaker: what the plan knows of the account."""

    is_rehearsal: bool = False
    """Whether this machine plays SageMaker for it."""

    note: str | None = None
    """What the user should know of it before it starts, in one line."""

    @property
    def name(self) -> str:
        """The job's name."""
        return str(self.request["TrainingJobName"])

    @property
    def place(self) -> str:
        """Which service takes the request: `local`, the one on this machine, or `cloud`."""
        return "local" if self.cloud is None else "cloud"

    def to_dict(self) -> dict[str, Any]:
        """The plan as plain data, for printing as JSON."""
        told = {
            "request": self.request,
            "bundle": asdict(self.bundle) | {"size_bytes": self.bundle.size},
            "bundle_uri": self.bundle_uri,
            "image": self.image,
            "max_cost_dollars": self.max_cost_dollars,
            "share": self.share.to_dict(),
            "note": self.note,
        }
        if self.cloud is not None:
            told["spot_cost_dollars"] = self.spot_cost_dollars
            told["is_rehearsal"] = self.is_rehearsal
            told["cloud"] = asdict(self.cloud)
        return told


def plan(spec: JobSpec, surroundings: Surroundings) -> Plan:
    """The plan of `spec`. Has no effects, and is equal for equal arguments.

    Raises InstanceNotServed, ValidationError or OptionError with what to type instead.
    """
    check(spec)
    name = job_name(spec, surroundings)
    check_job_name(name)
    made = (
        _in_cloud(spec, surroundings, surroundings.cloud, name)
        if surroundings.cloud is not None
        else _on_this_machine(spec, surroundings, name)
    )
    check_hyperparameters(made.request["HyperParameters"])
    check_environment(made.request.get("Environment", {}))
    return made


def check(spec: JobSpec) -> None:
    """All that can be said against `spec` without looking at this machine, or at AWS.

    Raises InstanceNotServed, ValidationError or OptionError.
    """
    check_instance(spec.instance)
    check_options(spec)
    if spec.distribution is not None and DISTRIBUTED in spec.hyperparameters:
        raise OptionError(
            f"--distribution and -p {DISTRIBUTED} say the same thing twice: give one of them"
        )
    if spec.name is not None:
        check_job_name(spec.name)
    check_channels(spec.channels)
    _check_modes(spec)
    _check_places(spec)
    check_environment(spec.environment)
    check_max_run(spec.max_run_seconds)
    check_metrics(spec.metrics)
    check_tags(spec.tags)
    if is_cloud(spec.instance):
        _check_cloud_options(spec)


def _check_modes(spec: JobSpec) -> None:
    for option, mode in {
        "--input-mode": spec.input_mode,
        **{f"channel {name}: input mode": each.input_mode for name, each in spec.channels.items()},
    }.items():
        if mode is not None and mode not in INPUT_MODES:
            raise OptionError(f"{option} {mode} is unknown: {' or '.join(INPUT_MODES)}")


def _check_places(spec: JobSpec) -> None:
    for name, channel in spec.channels.items():
        if channel.is_in_s3:
            check_s3_uri(f"--data {name}:", channel.place)
    for option, place in (("--output", spec.output), ("--checkpoint", spec.checkpoint)):
        if place is None:
            continue
        if not is_cloud(spec.instance):
            if place.startswith(S3):
                raise OptionError(
                    f"{option} {place} is for jobs in SageMaker: this machine writes to a folder, "
                    f"as in {option} sift-output"
                )
            continue
        if not place.startswith(S3):
            raise OptionError(
                f"{option} {place} is a folder of this machine, and SageMaker writes to S3: name "
                f"s3://BUCKET/PREFIX, or leave it out for one in the account's default bucket"
            )
        check_s3_uri(option, place)


def _check_cloud_options(spec: JobSpec) -> None:
    check_range("--volume-size", spec.volume_size_gb, 1, MAX_VOLUME_GB, "GB")
    check_range("--keep-alive", spec.keep_alive_seconds, 1, MAX_KEEP_ALIVE_SECONDS, "seconds")
    check_range("--retries", spec.retries, 1, MAX_RETRIES, "attempts")
    check_kms_key(spec.kms_key)
    check_network(spec.subnets, spec.security_groups)
    if spec.max_wait_seconds is not None:
        if not spec.spot:
            raise OptionError(
                f"--max-wait {spec.max_wait_seconds} is how long a job may wait for spot "
                "instances: add --spot, or leave it out"
            )
        check_max_wait(spec.max_wait_seconds, spec.max_run_seconds)
    if spec.spot and spec.keep_alive_seconds is not None:
        raise OptionError(
            f"--keep-alive {spec.keep_alive_seconds} and --spot contradict each other: SageMaker "
            "keeps no spot instances; leave one out"
        )
    if spec.price_dollars is not None and not 0 < spec.price_dollars < math.inf:
        raise OptionError(
            f"--price {spec.price_dollars:g} is no price: US dollars for an hour of one instance, "
            "as 1.41"
        )


def _on_this_machine(spec: JobSpec, surroundings: Surroundings, name: str) -> Plan:
    docker = surroundings.docker
    runtime: tuple[CodeFile, ...] = ()
    if docker is not None:
        spec.share.check(docker.engine)
        runtime = docker.runtime
    request = local_request(spec, surroundings, name)
    return Plan(
        request,
        _with_runtime(surroundings.bundle, runtime),
        bundle_uri=json.loads(request["HyperParameters"][SUBMIT_DIRECTORY]),
        image=request["AlgorithmSpecification"]["TrainingImage"],
        max_cost_dollars=0.0,
        share=spec.share,
        note=carried.note(docker.image) if docker and runtime else None,
    )


def _in_cloud(spec: JobSpec, surroundings: Surroundings, cloud: Cloud, name: str) -> Plan:
    request = cloud_request(spec, surroundings, cloud, name)
    limit = cost_limit(request, cloud.prices) if cloud.prices else None
    return Plan(
        request,
        _with_runtime(surroundings.bundle, cloud.runtime),
        bundle_uri=code_uri(surroundings, name),
        image=cloud.image.name,
        max_cost_dollars=limit.dollars if limit else None,
        spot_cost_dollars=limit.spot_dollars if limit else None,
        cloud=cloud,
        note=carried.note(cloud.image) if cloud.runtime else None,
    )


def _with_runtime(bundle: CodeBundle, runtime: tuple[CodeFile, ...]) -> CodeBundle:
    if not runtime:
        return bundle
    files = sorted((*bundle.files, *runtime), key=lambda file: file.path)
    return replace(bundle, files=tuple(files))
