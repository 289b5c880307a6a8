"""What a job leaves, on its way to S3."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sift_launcher.cloud.client import Clients
from sift_launcher.errors import BucketError
from sift_launcher.local.outputs import put_outputs
from sift_launcher.local.records import JobRecord, JobRecords
from sift_launcher.local.status import created
from sift_launcher.local.tree import HostTree


def record_of(home: Path, **output: str) -> JobRecord:
    request = {"TrainingJobName": "job", "OutputDataConfig": output}
    record, lock = JobRecords(home).create("job", request, {}, created(1.0))
    os.close(lock)
    return record


def trees_of(record: JobRecord, count: int) -> dict[str, HostTree]:
    trees = {}
    for number in range(1, count + 1):
        tree = trees[f"algo-{number}"] = HostTree(record.hosts / f"algo-{number}")
        for folder in (tree.model, tree.output_data):
            folder.mkdir(parents=True)
        (tree.model / "weights").write_text(f"of {number}")
        (tree.output_data / "receipt.json").write_text("{}")
    return trees


def test_the_archives_of_all_hosts_are_put_and_nothing_else_and_encrypted_as_asked(aws, tmp_path):
    record = record_of(tmp_path, S3OutputPath="s3://bucket/out/", KmsKeyId="alias/mine")
    s3 = Clients()("s3")
    s3.create_bucket(Bucket="bucket")
    uri = put_outputs(record, trees_of(record, 2), {}, s3)
    assert uri == "s3://bucket/out/job/output/model.tar.gz"
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="bucket")["Contents"]]
    assert keys == [
        "out/job/output/algo-2/model.tar.gz",
        "out/job/output/algo-2/output.tar.gz",
        "out/job/output/model.tar.gz",
        "out/job/output/output.tar.gz",
    ]
    head = s3.head_object(Bucket="bucket", Key=keys[2])
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/mine")
    assert not (record.folder / "output").exists()


def test_a_bucket_that_is_gone_is_told_and_the_trees_are_left(aws, tmp_path: Path):
    record = record_of(tmp_path, S3OutputPath="s3://no-such-bucket")
    trees = trees_of(record, 1)
    with pytest.raises(BucketError, match="no such bucket"):
        put_outputs(record, trees, {}, Clients()("s3"))
    assert (trees["algo-1"].model / "weights").exists()
