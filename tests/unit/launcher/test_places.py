"""Where a request keeps its things."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest

from sift_launcher.errors import ValidationError
from sift_launcher.local.places import (
    ChannelPlace,
    channels_of,
    checkpoints_path,
    code_path,
    code_uri,
    needs_s3,
    output_uri,
)


def request(**more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "job",
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "FastFile"},
        "OutputDataConfig": {"S3OutputPath": "file:///out"},
    } | more


def channel(source: dict[str, str], kind: str = "S3DataSource", **more: Any) -> dict[str, Any]:
    return {"ChannelName": "train", "DataSource": {kind: source}} | more


def submitted(text: str) -> dict[str, Any]:
    return request(HyperParameters={"sagemaker_submit_directory": text})


def one(made: dict[str, Any]) -> ChannelPlace:
    return channels_of(request(InputDataConfig=[made]))[0]


def test_a_channel_has_the_jobs_input_mode_unless_it_has_its_own():
    assert one(channel({"S3Uri": "s3://b/x"})) == ChannelPlace(
        "train", "s3://b/x", "FastFile", "FullyReplicated"
    )
    assert one(channel({"S3Uri": "s3://b/x"}, InputMode="File")).input_mode == "File"


def test_both_of_sagemakers_forms_tell_how_a_channel_is_distributed():
    s3 = channel({"S3Uri": "s3://b/x", "S3DataDistributionType": "ShardedByS3Key"})
    file = channel(
        {"FileUri": "file:///x", "FileDataDistributionType": "ShardedByS3Key"}, "FileDataSource"
    )
    assert one(s3).is_sharded
    assert one(file).is_sharded
    assert not one(channel({"FileUri": "file:///x"}, "FileDataSource")).is_sharded


def test_a_manifest_is_told_from_a_prefix():
    assert one(channel({"S3Uri": "s3://b/x", "S3DataType": "ManifestFile"})).is_manifest
    assert not one(channel({"S3Uri": "s3://b/x", "S3DataType": "S3Prefix"})).is_manifest


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (channel({}), "channel train is at no address"),
        (channel({"S3Uri": "http://x"}), "channel train is at http://x"),
        (channel({"S3Uri": "s3://b", "S3DataType": "Converse"}), "S3DataType Converse is not"),
        (
            channel({"S3Uri": "s3://b", "S3DataDistributionType": "Half"}),
            "S3DataDistributionType Half is not served on this machine, FullyReplicated and",
        ),
    ],
)
def test_what_is_not_served_is_refused(made, told):
    with pytest.raises(ValidationError, match=told):
        one(made)


def test_the_code_is_at_an_address_or_with_the_image_or_in_a_channel():
    assert code_uri(submitted('"s3://b/code.tar.gz"')) == "s3://b/code.tar.gz"
    assert code_uri(submitted("s3://b/code.tar.gz")) == "s3://b/code.tar.gz"
    assert code_uri(request()) is None
    assert code_uri(submitted('"/opt/ml/code"')) is None
    assert code_path(submitted('"/opt/ml/code"')) is None
    in_channel = "/opt/ml/input/data/code/sourcedir.tar.gz"
    assert code_path(submitted(f'"{in_channel}"')) == PurePosixPath(in_channel)


@pytest.mark.parametrize("root", ["s3://b", "s3://b/"])
def test_outputs_lie_below_the_jobs_name(root):
    assert output_uri(request(OutputDataConfig={"S3OutputPath": root})) == "s3://b/job/output"


def test_checkpoints_have_a_place_in_the_tree_unless_the_request_names_another():
    assert checkpoints_path(request()) == PurePosixPath("/opt/ml/checkpoints")
    named = request(CheckpointConfig={"S3Uri": "s3://b", "LocalPath": "/opt/ml/checkpoints/"})
    assert checkpoints_path(named) == PurePosixPath("/opt/ml/checkpoints")


@pytest.mark.parametrize(
    ("made", "needs"),
    [
        (request(), False),
        (submitted('"s3://b/code.tar.gz"'), True),
        (request(OutputDataConfig={"S3OutputPath": "s3://b"}), True),
        (request(CheckpointConfig={"S3Uri": "s3://b"}), True),
        (request(InputDataConfig=[channel({"S3Uri": "s3://b"})]), True),
        (request(InputDataConfig=[channel({"S3Uri": "file:///b"})]), False),
    ],
)
def test_s3_is_asked_for_where_something_lies_there(made, needs):
    assert needs_s3(made) is needs
