"""Code and channels on their way to the hosts, from this machine and from S3."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from sift_launcher.cloud.client import Clients
from sift_launcher.errors import BucketError
from sift_launcher.local.fetch import Fetcher
from sift_launcher.local.inputs import bring
from sift_launcher.local.watch import CutShort, Halt

HOSTS = ("algo-1", "algo-2")


@pytest.fixture
def s3(aws) -> Any:
    """A client of a bucket with some data."""
    client = Clients()("s3")
    client.create_bucket(Bucket="bucket")
    for key in ("data/a", "data/b", "data/sub/c", "data/", "database/z"):
        client.put_object(Bucket="bucket", Key=key, Body=key.encode())
    return client


def request(uri: str, kind: str = "S3Prefix", distribution: str = "FullyReplicated", **more: Any):
    source = {"S3Uri": uri, "S3DataType": kind, "S3DataDistributionType": distribution}
    return {
        "AlgorithmSpecification": {"TrainingImage": "image"},
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
    } | more


def brought(wanted: dict[str, Any], folder: Path, s3: Any = None) -> list[Path]:
    fetcher = Fetcher(s3, lambda: None) if s3 else None
    found = bring(wanted, HOSTS, folder, fetcher).channels
    return [found[host]["train"] for host in HOSTS]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_local_folder_is_used_where_it_lies(tmp_path: Path):
    assert brought(request(f"file://{tmp_path}"), tmp_path / "inputs") == [tmp_path, tmp_path]
    assert not (tmp_path / "inputs").exists()


def test_a_local_folder_is_dealt_out_by_its_sorted_names(tmp_path: Path):
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for name in ("b", "a", "sub/c"):
        (tmp_path / "data" / name).write_text(name)
    wanted = request(f"file://{tmp_path}/data", distribution="ShardedByS3Key")
    first, second = brought(wanted, tmp_path / "inputs")
    assert (files(first), files(second)) == (["a", "sub/c"], ["b"])
    assert (first / "sub" / "c").samefile(tmp_path / "data" / "sub" / "c")


def test_a_single_file_is_one_hosts_share(tmp_path: Path):
    (tmp_path / "x.csv").write_text("1")
    wanted = request(f"file://{tmp_path}/x.csv", distribution="ShardedByS3Key")
    first, second = brought(wanted, tmp_path / "inputs")
    assert (files(first), files(second)) == (["x.csv"], [])


def test_one_host_has_the_whole_of_a_sharded_folder_where_it_lies(tmp_path: Path):
    wanted = request(f"file://{tmp_path}", distribution="ShardedByS3Key")
    found = bring(wanted, ("algo-1",), tmp_path / "inputs", None)
    assert found.channels == {"algo-1": {"train": tmp_path}}


def test_a_prefix_is_fetched_once_for_all_hosts(s3, tmp_path: Path):
    first, second = brought(request("s3://bucket/data/"), tmp_path, s3)
    assert first == second
    assert files(first) == ["a", "b", "sub/c"]
    assert (first / "sub" / "c").read_text() == "data/sub/c"


def test_objects_are_dealt_out_by_their_keys(s3, tmp_path: Path):
    wanted = request("s3://bucket/data/", distribution="ShardedByS3Key")
    first, second = brought(wanted, tmp_path, s3)
    assert (files(first), files(second)) == (["a", "sub/c"], ["b"])


def test_a_host_without_a_share_has_an_empty_folder(s3, tmp_path: Path):
    wanted = request("s3://bucket/data/a", distribution="ShardedByS3Key")
    first, second = brought(wanted, tmp_path, s3)
    assert (files(first), files(second)) == (["a"], [])
    assert second.is_dir()


def test_a_manifest_names_what_is_fetched(s3, tmp_path: Path):
    manifest = [{"prefix": "s3://bucket/data/"}, "sub/c", "a"]
    s3.put_object(Bucket="bucket", Key="m.json", Body=json.dumps(manifest).encode())
    first, _ = brought(request("s3://bucket/m.json", "ManifestFile"), tmp_path, s3)
    assert files(first) == ["a", "sub/c"]


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        ("a,b", "s3://bucket/m.json is no manifest"),
        ('["a"]', "s3://bucket/m.json is no manifest"),
        ('[{"prefix": "s3://bucket/data/"}, "a", "gone"]', "there is no data/gone below s3://"),
    ],
)
def test_a_manifest_that_names_nothing_is_told(s3, tmp_path: Path, manifest: str, told: str):
    s3.put_object(Bucket="bucket", Key="m.json", Body=manifest.encode())
    with pytest.raises(BucketError, match=told):
        brought(request("s3://bucket/m.json", "ManifestFile"), tmp_path, s3)


def test_code_in_s3_is_fetched(s3, tmp_path: Path):
    code = {"HyperParameters": {"sagemaker_submit_directory": '"s3://bucket/data/a"'}}
    wanted = request("s3://bucket/data", **code)
    found = bring(wanted, HOSTS, tmp_path, Fetcher(s3, lambda: None))
    assert found.code is not None
    assert found.code.read_text() == "data/a"


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("s3://bucket/nothing", "channel train: there is nothing at s3://bucket/nothing"),
        ("s3://no-such-bucket/x", "s3://no-such-bucket/x: there is no such bucket"),
    ],
)
def test_what_is_not_there_is_told(s3, tmp_path: Path, uri: str, told: str):
    with pytest.raises(BucketError, match=told):
        brought(request(uri), tmp_path, s3)


def test_nothing_more_is_fetched_once_the_job_is_called_off(s3, tmp_path: Path):
    for number in range(30):
        s3.put_object(Bucket="bucket", Key=f"many/{number:02}", Body=b"x")
    asked, called_off = threading.Event(), threading.Event()

    def answer_late(**_: object) -> None:
        asked.set()
        called_off.wait(120)

    s3.meta.events.register("before-call.s3.GetObject", answer_late)

    def check() -> None:
        if asked.is_set():
            called_off.set()
            raise CutShort(Halt("Stopped", 1.0))

    with pytest.raises(CutShort):
        bring(request("s3://bucket/many/"), HOSTS, tmp_path, Fetcher(s3, check))
    with pytest.raises(BucketError, match="not to go on"):
        s3.list_buckets()
