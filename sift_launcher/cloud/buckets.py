"""The buckets of a job: whether they are there, in its region, and hold what it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.cloud.facts import Cloud
from sift_launcher.errors import AccessDenied, BucketError

_MANY = 1000


def s3_places(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """All places in S3 that a request names: what each is for, and where."""
    if code := _code(request):
        yield "the code", code
    yield "--output", request["OutputDataConfig"]["S3OutputPath"]
    if checkpoints := request.get("CheckpointConfig", {}).get("S3Uri"):
        yield "--checkpoint", checkpoints
    yield from s3_channels(request)


def s3_channels(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """All channels of a request that lie in S3: `channel train`, and where."""
    for channel in request.get("InputDataConfig", []):
        if source := channel["DataSource"].get("S3DataSource"):
            yield f"channel {channel['ChannelName']}", source["S3Uri"]


def check_bucket(name: str, use: str, cloud: Cloud, clients: Clients) -> None:
    """Raises BucketError unless bucket `name`, which `use` is kept in, is there and in the job's
    region. The default bucket may be missing: it is made when it is needed."""
    is_default = name == cloud.bucket
    try:
        with explained(
            f"s3:ListBucket on arn:{cloud.partition}:s3:::{name}",
            f"looking at bucket {name} of {use}",
            clients.profile,
        ):
            answer = clients("s3").head_bucket(Bucket=name)
    except AccessDenied as error:
        if is_default:
            raise BucketError(
                f"the default bucket {name} is somebody else's, or closed to these credentials: "
                f"name one of account {cloud.account} with --output s3://BUCKET/PREFIX"
            ) from error
        raise
    except BucketError:
        if is_default:
            return
        raise BucketError(
            f"{use}: there is no bucket {name}{_similar_bucket(name, clients)}: aws s3 ls shows "
            f"those there are, aws s3 mb s3://{name} makes it"
        ) from None
    lies_in = answer.get("BucketRegion") or answer["ResponseMetadata"]["HTTPHeaders"].get(
        "x-amz-bucket-region"
    )
    if lies_in and lies_in != cloud.region:
        raise BucketError(
            f"{use}: bucket {name} lies in {lies_in}, and the job runs in {cloud.region}: run it "
            f"with --region {lies_in}, or name a bucket of {cloud.region}"
        )


def check_channel(use: str, uri: str, count: int, is_sharded: bool, clients: Clients) -> str | None:
    """Raises BucketError when nothing lies at `uri`. A note when `count` hosts cannot all get a
    share of it."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    with explained(
        f"s3:ListBucket on arn:aws:s3:::{bucket}", f"looking at {uri} of {use}", clients.profile
    ):
        answer = clients("s3").list_objects_v2(
            Bucket=bucket, Prefix=prefix, MaxKeys=count if is_sharded else 1
        )
    found = answer.get("KeyCount", len(answer.get("Contents", [])))
    if not found:
        raise BucketError(
            f"{use}: nothing lies at {uri}{_similar_prefix(bucket, prefix, clients)}: "
            f"aws s3 ls s3://{bucket}/ shows what does"
        )
    if is_sharded and found < count:
        return f"{use} holds {found} objects for {count} hosts: some hosts get none of them"
    return None


def _code(request: Mapping[str, Any]) -> str | None:
    import json

    text = request.get("HyperParameters", {}).get("sagemaker_submit_directory")
    place = str(json.loads(text)) if text else ""
    return place if place.startswith("s3://") else None


def _similar_bucket(name: str, clients: Clients) -> str:
    with explained("s3:ListAllMyBuckets", "listing the buckets", clients.profile):
        known = [each["Name"] for each in clients("s3").list_buckets()["Buckets"]]
    near = get_close_matches(name, known, n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _similar_prefix(bucket: str, prefix: str, clients: Clients) -> str:
    above, _, last = prefix.rstrip("/").rpartition("/")
    above = f"{above}/" if above else ""
    with explained(
        f"s3:ListBucket on arn:aws:s3:::{bucket}", f"listing s3://{bucket}/{above}", clients.profile
    ):
        answer = clients("s3").list_objects_v2(
            Bucket=bucket, Prefix=above, Delimiter="/", MaxKeys=_MANY
        )
    keys = [each["Key"] for each in answer.get("Contents", [])]
    folders = [each["Prefix"] for each in answer.get("CommonPrefixes", [])]
    names = {key.removeprefix(above).rstrip("/"): key for key in (*folders, *keys)}
    near = get_close_matches(last, names, n=1)
    return f" (did you mean s3://{bucket}/{names[near[0]]}?)" if near else ""
