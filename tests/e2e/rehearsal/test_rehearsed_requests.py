"""What SageMaker refuses, a rehearsal refuses in the same words."""

from __future__ import annotations

from typing import Any

import pytest
from rehearsed_aws import BUCKET, ROLE

NAME = "[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"


def channel(uri: str) -> dict[str, Any]:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}
    return {"InputDataConfig": [{"ChannelName": "train", "DataSource": source}]}


def resources(**more: Any) -> dict[str, Any]:
    base = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 30}
    return {"ResourceConfig": base | more}


def one(text: str) -> str:
    return f"1 validation error detected: {text}"


REFUSED = [
    (
        {"TrainingJobName": "a_b"},
        one(
            "Value 'a_b' at 'trainingJobName' failed to satisfy constraint: Member must satisfy "
            f"regular expression pattern: {NAME}"
        ),
    ),
    (
        {"RoleArn": "arn:aws:iam::1:role/r"},
        one(
            "Value 'arn:aws:iam::1:role/r' at 'roleArn' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: "
            r"arn:aws[a-z\\-]*:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+"
        ).replace("\\\\", "\\"),
    ),
    (
        {"OutputDataConfig": None},
        one(
            "Value null at 'outputDataConfig' failed to satisfy constraint: Member must not be null"
        ),
    ),
    (
        {"Tags": [{"Key": "", "Value": "v"}]},
        one(
            "Value '' at 'tags.1.member.key' failed to satisfy constraint: Member must have length "
            "greater than or equal to 1"
        ),
    ),
    (
        {"StoppingCondition": {"MaxRuntimeInSeconds": 0}},
        one(
            "Value '0' at 'stoppingCondition.maxRuntimeInSeconds' failed to satisfy constraint: "
            "Member must have value greater than or equal to 1"
        ),
    ),
    (
        {"AlgorithmSpecification": {"TrainingImage": "i", "TrainingInputMode": "Stream"}},
        one(
            "Value 'Stream' at 'algorithmSpecification.trainingInputMode' failed to satisfy "
            "constraint: Member must satisfy enum value set: [Pipe, File, FastFile]"
        ),
    ),
    (
        {"OutputDataConfig": {"S3OutputPath": "/tmp/out"}},
        one(
            "Value '/tmp/out' at 'outputDataConfig.s3OutputPath' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: (https|s3)://([^/]+)/?(.*)"
        ),
    ),
    (
        channel("s3://nobodys-bucket/train"),
        'No S3 objects found under S3 URL "s3://nobodys-bucket/train" given in input data source. '
        "Please ensure that the bucket exists in the selected region (us-east-1), that objects "
        f'exist under that S3 prefix, and that the role "{ROLE}" has "s3:ListBucket" permissions '
        'on bucket "nobodys-bucket".',
    ),
    (
        channel(f"s3://{BUCKET}/nothing-here/"),
        f'No S3 objects found under S3 URL "s3://{BUCKET}/nothing-here/" given in input data '
        "source. Please ensure that the bucket exists in the selected region (us-east-1), that "
        f'objects exist under that S3 prefix, and that the role "{ROLE}" has "s3:ListBucket" '
        f'permissions on bucket "{BUCKET}".',
    ),
    (
        {"RoleArn": "arn:aws:iam::123456789012:role/Nobody"},
        "Could not assume role arn:aws:iam::123456789012:role/Nobody. Please ensure that the role "
        "exists and allows principal 'sagemaker.amazonaws.com' to assume the role.",
    ),
    (
        {"EnableManagedSpotTraining": True},
        "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
        "MaxRuntimeInSeconds",
    ),
    (
        {
            "EnableManagedSpotTraining": True,
            "StoppingCondition": {"MaxRuntimeInSeconds": 20, "MaxWaitTimeInSeconds": 10},
        },
        "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
        "MaxRuntimeInSeconds",
    ),
    (
        {"StoppingCondition": {"MaxRuntimeInSeconds": 10, "MaxWaitTimeInSeconds": 20}},
        "Invalid MaxWaitTimeInSeconds. It is only supported when EnableManagedSpotTraining is set "
        "to true",
    ),
]


@pytest.mark.parametrize(("wrong", "message"), REFUSED)
def test_an_invalid_request_is_a_validation_exception(rehearsed, wrong, message):
    assert refusal(rehearsed, "never", **wrong) == {
        "Code": "ValidationException",
        "Message": message,
    }
    missing = rehearsed("sagemaker").list_training_jobs(NameContains="never")
    assert missing["TrainingJobSummaries"] == []


def test_several_violations_are_told_at_once(rehearsed):
    told = refusal(rehearsed, "never", TrainingJobName="-", Environment={"1": "x"})
    assert told["Code"] == "ValidationException"
    assert told["Message"].startswith("2 validation errors detected: Value '-' at ")
    assert "; Value '{'key': '1'}' at 'environment' failed to satisfy" in told["Message"]


def test_a_name_is_taken_once(rehearsed):
    arn = rehearsed.start("taken", "pass")
    error = {
        "Code": "ResourceInUse",
        "Message": "Training job names must be unique within an AWS account and region, and a "
        f"training job with this name already exists ({arn})",
    }
    assert refusal(rehearsed, "taken") == error
    rehearsed.ended("taken")
    assert refusal(rehearsed, "taken") == error


def test_more_instances_than_the_quota_are_refused(rehearsed):
    told = refusal(rehearsed, "many", **resources(InstanceType="ml.g5.xlarge", InstanceCount=21))
    assert told["Code"] == "ResourceLimitExceeded"
    assert told["Message"].startswith(
        "The account-level service limit 'ml.g5.xlarge for training job usage' is 20 Instances, "
        "with current utilization of 0 Instances and a request delta of 21 Instances."
    )


def test_a_role_that_only_others_may_assume_is_refused(rehearsed):
    trust = (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", '
        '"Principal": {"Service": "lambda.amazonaws.com"}}]}'
    )
    role = rehearsed("iam").create_role(RoleName="Lambda", AssumeRolePolicyDocument=trust)["Role"]
    told = refusal(rehearsed, "untrusted", RoleArn=role["Arn"])
    assert told["Message"].startswith(f"Could not assume role {role['Arn']}. ")


def test_what_this_machine_cannot_play_is_said_in_our_words(rehearsed):
    told = refusal(rehearsed, "two", **resources(InstanceCount=2))
    assert told["Code"] == "ValidationException"
    assert "--rehearse-on local" in told["Message"]


def test_what_nobody_would_compute_is_refused_rather_than_invented(rehearsed):
    client = rehearsed("sagemaker")
    with pytest.raises(client.exceptions.ClientError, match="plays training jobs alone"):
        client.create_hyper_parameter_tuning_job(
            HyperParameterTuningJobName="tuned", HyperParameterTuningJobConfig={}
        )


@pytest.mark.parametrize("operation", ["describe_training_job", "stop_training_job"])
def test_a_job_that_is_not_there_is_not_found(rehearsed, operation):
    client = rehearsed("sagemaker")
    with pytest.raises(client.exceptions.ClientError) as caught:
        getattr(client, operation)(TrainingJobName="nobody")
    assert caught.value.response["Error"] == {
        "Code": "ValidationException",
        "Message": "Requested resource not found.",
    }


def refusal(rehearsed: Any, name: str, **wrong: Any) -> dict[str, str]:
    """AWS's error for a request that holds what is `wrong`, or lacks what is None."""
    client = rehearsed("sagemaker")
    with pytest.raises(client.exceptions.ClientError) as caught:
        request = rehearsed.request(name, "pass", **wrong)
        client.create_training_job(**{key: value for key, value in request.items() if value})
    error = caught.value.response["Error"]
    return {key: error[key] for key in ("Code", "Message")}
