"""The plan on the screen: all of it in a dry run, and in short before a job is launched."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from sift_launcher.bundle import CodeFile, megabytes
from sift_launcher.cli.confirm import price_unknown
from sift_launcher.cloud.cost_limit import cost_limit, in_hours
from sift_launcher.cloud.facts import Cloud
from sift_launcher.instances import in_words
from sift_launcher.paths import local_path
from sift_launcher.plan import Plan

_FILES_SHOWN = 5
_LEFT_OUT_SHOWN = 8


def show_plan(plan: Plan, as_json: bool) -> None:
    """Prints the plan on stdout, as JSON or for a reader; the request is exact in both."""
    if as_json:
        sys.stdout.write(json.dumps(plan.to_dict(), indent=2) + "\n")
        return
    request = json.dumps(plan.request, indent=2).replace("\n", "\n          ")
    sys.stdout.write(f"{in_short(plan)}\nrequest   {request}\n")


def end_dry_run(as_json: bool) -> None:
    """The last line of a dry run, for a reader."""
    if not as_json:
        sys.stdout.write("Nothing was started: this was a dry run.\n")


def in_short(plan: Plan) -> str:
    """What the job is and what it can cost, without the request."""
    lines = [
        f"{title if n == 0 else '':<9} {line}"
        for title, texts in _parts(plan)
        for n, line in enumerate(texts)
    ]
    return "\n".join(lines)


def _parts(plan: Plan) -> Iterator[tuple[str, list[str]]]:
    request, cloud = plan.request, plan.cloud
    yield "job", [plan.name + (" (a rehearsal on this machine)" if plan.is_rehearsal else "")]
    yield "image", [plan.image]
    if plan.note:
        yield "note", [plan.note]
    yield "hosts", [_hosts(plan) if cloud is None else _instances(plan.request, cloud)]
    yield "code", _code(plan)
    if plan.bundle.left_out:
        yield "left out", [_left_out(plan.bundle.left_out)]
    if channels := request.get("InputDataConfig"):
        yield "data", [_channel(channel, cloud) for channel in channels]
    output = _place(request["OutputDataConfig"]["S3OutputPath"])
    yield "output", [f"{output.rstrip('/')}/{plan.name}/output/"]
    if checkpoints := request.get("CheckpointConfig"):
        yield "kept", [f"{_place(checkpoints['S3Uri'])} (checkpoints)"]
    if cloud is not None:
        yield "role", [request["RoleArn"]]
    yield "cost", _cost(plan)


def _hosts(plan: Plan) -> str:
    resources = plan.request["ResourceConfig"]
    share = plan.share
    granted = [
        f"{option} {value}"
        for option, value in {
            "/dev/shm": None if share.shm_bytes is None else megabytes(share.shm_bytes),
            "memory": None if share.memory_bytes is None else megabytes(share.memory_bytes),
            "processors": None if share.cpus is None else f"{share.cpus:g}",
            "platform": share.platform,
        }.items()
        if value is not None
    ]
    granted_text = f" with {', '.join(granted)}" if granted else ""
    where = in_words(resources | {"InstanceCount": 1})
    return f"{resources['InstanceCount']}, each {where}{granted_text}"


def _instances(request: dict[str, Any], cloud: Cloud) -> str:
    resources, stopping = request["ResourceConfig"], request["StoppingCondition"]
    kinds = [
        f"{resources['InstanceCount']} x {resources['InstanceType']} in {cloud.region}",
        f"{resources['VolumeSizeInGB']} GB each",
        f"for {in_hours(stopping['MaxRuntimeInSeconds'])} at most",
    ]
    if wait := stopping.get("MaxWaitTimeInSeconds"):
        kinds.append(f"on spot instances, within {in_hours(wait)} with the waiting")
    if network := request.get("VpcConfig"):
        kinds.append(f"in {', '.join(network['Subnets'])}")
    if request.get("EnableNetworkIsolation"):
        kinds.append("without any network")
    return ", ".join(kinds)


def _code(plan: Plan) -> list[str]:
    own = [file for file in plan.bundle.files if file.source is None]
    runtime = tuple(file for file in plan.bundle.files if file.source is not None)
    told = [f"{_size(own)}, from {plan.bundle.source_dir}"]
    largest = sorted(own, key=lambda file: (-file.size, file.path))[:_FILES_SHOWN]
    told += [f"{megabytes(file.size):>9}  {file.path}" for file in largest]
    if len(own) > len(largest):
        told.append(f"and {len(own) - len(largest)} smaller")
    if runtime:
        told.append(f"and the sifting runtime: {_size(runtime)}")
    return told


def _left_out(names: tuple[str, ...]) -> str:
    more = len(names) - _LEFT_OUT_SHOWN
    return ", ".join(names[:_LEFT_OUT_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _channel(channel: dict[str, Any], cloud: Cloud | None) -> str:
    name, source = channel["ChannelName"], channel["DataSource"]
    kinds = []
    if (here := source.get("FileDataSource")) is not None:
        place, distribution = _place(here["FileUri"]), here["FileDataDistributionType"]
    else:
        place = source["S3DataSource"]["S3Uri"]
        distribution = source["S3DataSource"]["S3DataDistributionType"]
    for upload in cloud.uploads if cloud else ():
        if upload.channel == name:
            kinds.append(f"{_size(upload.files)} of {upload.source}, uploaded once")
    if distribution == "ShardedByS3Key":
        kinds.append("a share for each host")
    if "InputMode" in channel:
        kinds.append(channel["InputMode"])
    return f"{name}: {place}" + (f" ({'; '.join(kinds)})" if kinds else "")


def _size(files: Sequence[CodeFile]) -> str:
    count = "1 file" if len(files) == 1 else f"{len(files)} files"
    return f"{count}, {megabytes(sum(file.size for file in files))}"


def _place(uri: str) -> str:
    return str(local_path(uri) or uri)


def _cost(plan: Plan) -> list[str]:
    cloud = plan.cloud
    if cloud is None:
        return [f"at most ${plan.max_cost_dollars or 0:.2f}"]
    if cloud.prices is None:
        return [price_unknown(cloud)]
    limit = cost_limit(plan.request, cloud.prices)
    source = f" ({cloud.prices.source})" if cloud.prices.source else ""
    told = [f"at most ${limit.dollars:.2f} = {limit.formula}{source}"]
    if limit.spot_dollars is not None:
        told.append(f"about ${limit.spot_dollars:.2f} on spot instances, as an estimate")
    elif limit.is_spot:
        told.append("less on spot instances; how much less is not known")
    if plan.is_rehearsal:
        told.append("nothing in this rehearsal")
    return told
