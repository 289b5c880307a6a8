"""SageMaker's own words for a request that it would not take."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sift_launcher.cloud.shapes import in_words, violations

GOOD: dict[str, Any] = {
    "TrainingJobName": "job-1",
    "RoleArn": "arn:aws:iam::123456789012:role/service-role/R",
    "AlgorithmSpecification": {
        "TrainingImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/x:1",
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "loss", "Regex": "loss=([0-9.]+)"}],
    },
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/"},
    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
    "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    "HyperParameters": {"lr": "0.1"},
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/train"}},
        }
    ],
    "Environment": {"A": "one\ntwo"},
    "Tags": [{"Key": "größe", "Value": "a b"}],
    "EnableManagedSpotTraining": True,
}


def test_a_request_that_sagemaker_takes_has_none():
    assert violations("CreateTrainingJob", GOOD) == []


DELETED = object()
CASES: list[tuple[str, Any, list[str]]] = [
    (
        "TrainingJobName",
        "a_b",
        [
            "Value 'a_b' at 'trainingJobName' failed to satisfy constraint: Member must satisfy "
            "regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
        ],
    ),
    (
        "TrainingJobName",
        "a" * 64,
        [
            f"Value '{'a' * 64}' at 'trainingJobName' failed to satisfy constraint: Member must "
            "have length less than or equal to 63",
            f"Value '{'a' * 64}' at 'trainingJobName' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}",
        ],
    ),
    (
        "RoleArn",
        DELETED,
        ["Value null at 'roleArn' failed to satisfy constraint: Member must not be null"],
    ),
    (
        "OutputDataConfig.S3OutputPath",
        None,
        [
            "Value null at 'outputDataConfig.s3OutputPath' failed to satisfy constraint: Member "
            "must not be null"
        ],
    ),
    (
        "AlgorithmSpecification.TrainingInputMode",
        "Fast",
        [
            "Value 'Fast' at 'algorithmSpecification.trainingInputMode' failed to satisfy "
            "constraint: Member must satisfy enum value set: [Pipe, File, FastFile]"
        ],
    ),
    (
        "StoppingCondition.MaxRuntimeInSeconds",
        0,
        [
            "Value '0' at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy constraint: "
            "Member must have value greater than or equal to 1"
        ],
    ),
    (
        "ResourceConfig.KeepAlivePeriodInSeconds",
        21601,
        [
            "Value '21601' at 'resourceConfig.keepAlivePeriodInSeconds' failed to satisfy "
            "constraint: Member must have value less than or equal to 21600"
        ],
    ),
    (
        "ResourceConfig.InstanceCount",
        "1",
        [
            "Value '1' at 'resourceConfig.instanceCount' failed to satisfy constraint: Member must "
            "be of type integer"
        ],
    ),
    (
        "ResourceConfig.InstanceCount",
        True,
        [
            "Value 'True' at 'resourceConfig.instanceCount' failed to satisfy constraint: Member "
            "must be of type integer"
        ],
    ),
    (
        "EnableManagedSpotTraining",
        1,
        [
            "Value '1' at 'enableManagedSpotTraining' failed to satisfy constraint: Member must be "
            "of type boolean"
        ],
    ),
    (
        "ResourceConfig.Instances",
        1,
        [
            "Value '1' at 'resourceConfig.instances' failed to satisfy constraint: Member must be "
            "one that the operation has"
        ],
    ),
    (
        "InputDataConfig",
        [],
        [
            "Value '[]' at 'inputDataConfig' failed to satisfy constraint: Member must have length "
            "greater than or equal to 1"
        ],
    ),
    (
        "InputDataConfig",
        [GOOD["InputDataConfig"][0], {"ChannelName": "a b", "DataSource": {}}],
        [
            "Value 'a b' at 'inputDataConfig.2.member.channelName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [A-Za-z0-9\\.\\-_]+"
        ],
    ),
    (
        "HyperParameters",
        {"text": "x" * 2501},
        [
            f"Value '{'x' * 253}...' at 'hyperParameters' failed to satisfy constraint: Map value "
            "must satisfy constraint: [Member must have length less than or equal to 2500, Member "
            "must have length greater than or equal to 0, Member must satisfy regular expression "
            "pattern: .*]"
        ],
    ),
    (
        "HyperParameters",
        {"lr": 0.1},
        [
            "Value '0.1' at 'hyperParameters' failed to satisfy constraint: Map value must satisfy "
            "constraint: [Member must have length less than or equal to 2500, Member must have "
            "length greater than or equal to 0, Member must satisfy regular expression pattern: .*]"
        ],
    ),
    (
        "Environment",
        {"1A": "x"},
        [
            "Value '{'key': '1A'}' at 'environment' failed to satisfy constraint: Map key must "
            "satisfy constraint: [Member must have length less than or equal to 512, Member must "
            "have length greater than or equal to 0, Member must satisfy regular expression "
            "pattern: [a-zA-Z_][a-zA-Z0-9_]*]"
        ],
    ),
    (
        "Tags",
        [{"Key": "a#", "Value": ""}],
        [
            "Value 'a#' at 'tags.1.member.key' failed to satisfy constraint: Member must satisfy "
            "regular expression pattern: ([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)"
        ],
    ),
]


@pytest.mark.parametrize(
    ("path", "value", "texts"), CASES, ids=[f"{case[0]}={case[1]!s:.12}" for case in CASES]
)
def test_each_constraint_is_told_as_sagemaker_tells_it(path, value, texts):
    request = copy.deepcopy(GOOD)
    *above, last = path.split(".")
    place = request
    for name in above:
        place = place[name]
    if value is DELETED:
        del place[last]
    else:
        place[last] = value
    assert violations("CreateTrainingJob", request) == texts


def test_other_operations_have_constraints_too():
    assert violations("StopTrainingJob", {}) == [
        "Value null at 'trainingJobName' failed to satisfy constraint: Member must not be null"
    ]
    assert violations("ListTrainingJobs", {"MaxResults": 101, "StatusEquals": "Done"}) == [
        "Value '101' at 'maxResults' failed to satisfy constraint: Member must have value less "
        "than or equal to 100",
        "Value 'Done' at 'statusEquals' failed to satisfy constraint: Member must satisfy enum "
        "value set: [InProgress, Completed, Failed, Stopping, Stopped, Deleting]",
    ]


def test_all_of_them_are_one_message():
    assert in_words(["a"]) == "1 validation error detected: a"
    assert in_words(["a", "b"]) == "2 validation errors detected: a; b"
