"""A rehearsal whose instances are containers: as many hosts as the request asks for."""

from __future__ import annotations

from pathlib import Path

import pytest
from container_jobs import of_state
from rehearsed_aws import BUCKET, Rehearsed, rehearsal

pytestmark = pytest.mark.docker

WORDS = """
import os
print(os.environ["SM_CURRENT_HOST"], "of", os.environ["SM_HOSTS"])
for path in os.listdir(os.environ["SM_CHANNEL_TRAIN"]): print("found", path)
"""


@pytest.fixture
def rehearsed(tmp_path: Path, engine):
    with rehearsal(tmp_path / "state") as rehearsed:
        yield rehearsed
    assert of_state(engine, tmp_path / "state") == []


def test_two_hosts_train_on_their_shards_and_each_has_a_log(rehearsed: Rehearsed, image: str):
    for name in ("a", "b"):
        rehearsed("s3").put_object(Bucket=BUCKET, Key=f"train/{name}", Body=b"x")
    source = {
        "S3DataType": "S3Prefix",
        "S3Uri": f"s3://{BUCKET}/train/",
        "S3DataDistributionType": "ShardedByS3Key",
    }
    rehearsed.endpoint.stage("two", runs="local")
    rehearsed.start(
        "two",
        WORDS,
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 30},
        InputDataConfig=[{"ChannelName": "train", "DataSource": {"S3DataSource": source}}],
    )
    assert rehearsed.ended("two").get("FailureReason") is None
    assert sorted(rehearsed.streams("two").values()) == [
        ['algo-1 of ["algo-1","algo-2"]', "found a"],
        ['algo-2 of ["algo-1","algo-2"]', "found b"],
    ]
    assert [stream.partition("-")[0] for stream in rehearsed.streams("two")] == ["two/algo"] * 2


def test_an_image_that_the_engine_does_not_have_is_named(rehearsed: Rehearsed, engine):
    rehearsed.endpoint.stage("none", runs="local")
    with pytest.raises(rehearsed("s3").exceptions.ClientError, match="nowhere:1 is not on this"):
        rehearsed.start(
            "none",
            "pass",
            AlgorithmSpecification={"TrainingImage": "nowhere:1", "TrainingInputMode": "File"},
        )
