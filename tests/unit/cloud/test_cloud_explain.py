"""What AWS refuses, in the words that the user reads."""

from __future__ import annotations

from typing import Any

import pytest
from aws_stand_in import ROLE, StandInAws
from botocore import exceptions as of
from botocore.parsers import ResponseParserError
from stubbed import StubbedClients

from sift_launcher.cloud.buckets import check_bucket, check_channel
from sift_launcher.cloud.checks import check_name
from sift_launcher.cloud.explain import explained, refusal
from sift_launcher.cloud.facts import Cloud
from sift_launcher.cloud.gather import caller
from sift_launcher.cloud.images import check_is_there
from sift_launcher.cloud.network import check_key, check_network
from sift_launcher.cloud.permissions import check_permissions
from sift_launcher.cloud.prices import selling_regions, spot_share
from sift_launcher.cloud.quotas import instance_quota
from sift_launcher.cloud.roles import get_role, training_roles
from sift_launcher.errors import (
    AccessDenied,
    BucketError,
    BucketMissing,
    CloudRefused,
    CloudUnreachable,
    CredentialsError,
    ImageUnfit,
    QuotaError,
    RegionError,
    ResourceInUse,
    ResourceNotFound,
    RoleError,
    SiftLaunchError,
    ValidationError,
)
from sift_launcher.images import ImageFacts

WHO = "arn:aws:iam::123456789012:user/ann"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/mine:1"
CLOUD = Cloud(
    "eu-west-1",
    "123456789012",
    ROLE,
    "sagemaker-eu-west-1-123456789012",
    ImageFacts(IMAGE, "", "amd64", None, "plain"),
)
REQUEST = {"OutputDataConfig": {"S3OutputPath": "s3://out/"}}
NETWORK = {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}


def answer(code: str, message: str = "", status: int = 400, **headers: str) -> dict[str, Any]:
    return {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {
            "HTTPStatusCode": status,
            "HTTPHeaders": {name.replace("_", "-"): value for name, value in headers.items()},
        },
    }


@pytest.fixture(autouse=True)
def credentials(aws: StandInAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL")


# Each call that is made here, as (what makes it, service, operation, the permission it needs).
CALLS = [
    (caller, "sts", "get_caller_identity", "sts:GetCallerIdentity"),
    (lambda c: get_role(c, "R"), "iam", "get_role", "iam:GetRole on role R"),
    (lambda c: list(training_roles(c)), "iam", "list_roles", "iam:ListRoles"),
    (
        lambda c: check_permissions(REQUEST, CLOUD, c),
        "iam",
        "simulate_principal_policy",
        f"iam:SimulatePrincipalPolicy on {ROLE}",
    ),
    (
        lambda c: check_bucket("out", "--output", CLOUD, c),
        "s3",
        "head_bucket",
        "s3:ListBucket on arn:aws:s3:::out",
    ),
    (
        lambda c: check_channel("channel train", "s3://in/train", 1, False, c),
        "s3",
        "list_objects_v2",
        "s3:ListBucket on arn:aws:s3:::in",
    ),
    (
        lambda c: check_is_there(IMAGE, c),
        "ecr",
        "batch_get_image",
        "ecr:BatchGetImage on repository mine of 123456789012",
    ),
    (lambda c: check_key("k", c), "kms", "describe_key", "kms:DescribeKey on k"),
    (lambda c: check_network(NETWORK, c), "ec2", "describe_subnets", "ec2:DescribeSubnets"),
    (lambda c: spot_share("ml.g5.xlarge", c), "ec2", "describe_spot_price_history",
     "ec2:DescribeSpotPriceHistory"),
    (lambda c: selling_regions("ml.g5.xlarge", c), "pricing", "get_products",
     "pricing:GetProducts"),
    (lambda c: instance_quota("ml.g5.xlarge", False, c), "service-quotas", "list_service_quotas",
     "servicequotas:ListServiceQuotas"),
    (lambda c: check_name("n", c), "sagemaker", "describe_training_job",
     "sagemaker:DescribeTrainingJob on training-job/n"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "service", "operation", "permission"), CALLS)
def test_each_call_that_is_denied_names_the_permission(
    call, service, operation, permission, tmp_path, monkeypatch
):
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(tmp_path))
    clients = StubbedClients()
    for code, status in (("AccessDenied", 403), ("AccessDeniedException", 400), ("403", 403)):
        clients.stub(service).add_client_error(operation, code, "Access Denied", status)
        with pytest.raises(AccessDenied) as error:
            call(clients)
        assert (
            f"whoever the credentials belong to lacks the permission {permission}: "
            "have it added to a policy of that user or role"
        ) in str(error.value)


def test_aws_itself_knows_best_who_lacks_what_on_which_resource():
    told = (
        f"User: {WHO} is not authorized to perform: iam:PassRole on resource: {ROLE} because no "
        "identity-based policy allows the iam:PassRole action"
    )
    error = refusal(
        answer("AccessDeniedException", told), "sagemaker:CreateTrainingJob", "starting job j"
    )
    assert isinstance(error, AccessDenied)
    assert str(error) == (
        f"AWS refuses starting job j: {WHO} lacks the permission iam:PassRole on {ROLE}: have it "
        "added to a policy of that user or role"
    )


def test_a_denial_that_somebody_wrote_is_not_mended_by_another_policy():
    told = (
        f"User: {WHO} is not authorized to perform: sagemaker:CreateTrainingJob on resource: "
        "arn:aws:sagemaker:eu-west-1:123456789012:training-job/j with an explicit deny in a "
        "service control policy"
    )
    error = refusal(answer("AccessDeniedException", told), "sagemaker:CreateTrainingJob")
    assert str(error) == (
        "AWS refuses sagemaker:CreateTrainingJob: a policy denies sagemaker:CreateTrainingJob on "
        f"arn:aws:sagemaker:eu-west-1:123456789012:training-job/j to {WHO} explicitly: only "
        "whoever wrote that policy can allow it"
    )


EXPIRED = (
    "the AWS credentials have expired: aws sso login --profile dev renews them, else fetch new "
    "keys (aws configure --profile dev)"
)
UNKNOWN = (
    "aws configure --profile dev stores others; aws sts get-caller-identity --profile dev tries "
    "them; in a region that must be switched on first, aws account enable-region does that"
)
REFUSALS: list[tuple[dict[str, Any], type[SiftLaunchError], str]] = [
    (answer("ExpiredToken", status=403), CredentialsError, EXPIRED),
    (answer("ExpiredTokenException"), CredentialsError, EXPIRED),
    (answer("RequestExpired"), CredentialsError, EXPIRED),
    (
        answer("InvalidClientTokenId", "The security token is invalid.", 403),
        CredentialsError,
        f"AWS does not know these credentials (InvalidClientTokenId): {UNKNOWN}",
    ),
    (
        answer("InvalidAccessKeyId", status=403),
        CredentialsError,
        f"AWS does not know these credentials (InvalidAccessKeyId): {UNKNOWN}",
    ),
    (
        answer("SignatureDoesNotMatch", "The signature we calculated does not match", 403),
        CredentialsError,
        "the AWS secret key does not belong to the access key (SignatureDoesNotMatch): aws "
        "configure --profile dev stores others; aws sts get-caller-identity --profile dev tries "
        "them",
    ),
    (
        answer("SignatureDoesNotMatch", "Signature expired: 2020 is now earlier than 2026", 403),
        CredentialsError,
        "AWS refuses the request for its time: this machine's clock is wrong: set it, as with "
        "sudo timedatectl set-ntp true",
    ),
    (
        answer("OptInRequired", status=403),
        RegionError,
        "AWS refuses looking: this account has not switched the region or the service on: aws "
        "account enable-region --region-name REGION, or another --region",
    ),
    (
        answer("PermanentRedirect", status=301, x_amz_bucket_region="eu-west-3"),
        BucketError,
        "looking: the bucket lies in eu-west-3: --region eu-west-3, or another bucket; a job and "
        "its data share a region",
    ),
    (
        answer("301", "Moved Permanently", 301),
        BucketError,
        "looking: the bucket lies in another region: name that one, or another bucket; a job and "
        "its data share a region",
    ),
    (
        answer("AuthorizationHeaderMalformed", "the region 'us-east-1' is wrong; "
               "expecting 'eu-central-1'"),
        BucketError,
        "looking: the bucket lies in eu-central-1: --region eu-central-1, or another bucket; a "
        "job and its data share a region",
    ),
    (
        answer("NoSuchBucket", status=404),
        BucketMissing,
        "looking: there is no such bucket: see aws s3 ls for those there are",
    ),
    (
        answer("NoSuchKey", status=404),
        BucketError,
        "looking: there is no such object: see aws s3 ls for those there are",
    ),
    (
        answer("NoSuchEntity", "The role with name R cannot be found.", 404),
        RoleError,
        "looking: The role with name R cannot be found: see aws iam list-roles for those there are",
    ),
    (
        answer("RepositoryNotFoundException"),
        ImageUnfit,
        "looking: there is no such image: see aws ecr describe-images, or push it with "
        "sift-launch build --push",
    ),
    (
        answer("ValidationException", "Requested resource not found."),
        ResourceNotFound,
        "looking: there is no such thing in this account and region",
    ),
    (
        answer("ResourceNotFoundException", "The specified log group does not exist."),
        ResourceNotFound,
        "looking: there is no such thing in this account and region",
    ),
    (
        answer("ResourceInUse", "Training job names must be unique"),
        ResourceInUse,
        "looking: Training job names must be unique: choose another --name",
    ),
    (
        answer("ResourceLimitExceeded", "The account-level service limit is 0 Instances"),
        QuotaError,
        "AWS refuses looking: The account-level service limit is 0 Instances: aws service-quotas "
        "request-service-quota-increase asks for more, or choose another --instance or --region",
    ),
    (
        answer("ValidationException", "1 validation error detected: Value 'x' at 'y'"),
        ValidationError,
        "AWS refuses looking: 1 validation error detected: Value 'x' at 'y'",
    ),
    (
        answer("SlowDown", "Please reduce your request rate", 503),
        CloudUnreachable,
        "AWS does not take looking now, after several attempts (SlowDown): wait a minute and try "
        "again",
    ),
    (
        answer("InternalFailure", status=500),
        CloudUnreachable,
        "AWS does not take looking now, after several attempts (InternalFailure): wait a minute "
        "and try again",
    ),
    (
        answer("ConflictException", "two\nlines"),
        CloudRefused,
        "AWS refuses looking: ConflictException: two lines",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("told", "kind", "text"), REFUSALS, ids=[each[0]["Error"]["Code"] for each in REFUSALS]
)
def test_every_refusal_is_one_line_with_its_mend(told, kind, text):
    error = refusal(told, "s:A", "looking", profile="dev")
    assert type(error) is kind
    assert str(error) == text


def test_the_profile_of_the_environment_is_the_one_to_log_in_with(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "work")
    assert "aws sso login --profile work" in str(refusal(answer("ExpiredToken"), "s:A"))
    monkeypatch.delenv("AWS_PROFILE")
    assert "aws sso login renews them" in str(refusal(answer("ExpiredToken"), "s:A"))


FAILURES: list[tuple[Exception, type[SiftLaunchError], str]] = [
    (
        of.NoCredentialsError(),
        CredentialsError,
        "there are no AWS credentials: aws configure stores some, aws sso login fetches some, or "
        "set AWS_PROFILE",
    ),
    (
        of.UnauthorizedSSOTokenError(),
        CredentialsError,
        "aws sso login --profile dev renews them, else fetch new keys "
        "(aws configure --profile dev)",
    ),
    (
        of.TokenRetrievalError(provider="sso", error_msg="Token has expired and refresh failed"),
        CredentialsError,
        "the login has expired (Error when retrieving token from sso: Token has expired and "
        "refresh failed): aws sso login --profile dev renews them",
    ),
    (
        of.PartialCredentialsError(provider="env", cred_var="AWS_SECRET_ACCESS_KEY"),
        CredentialsError,
        "the AWS credentials cannot be used: Partial credentials found in env, missing: "
        "AWS_SECRET_ACCESS_KEY: aws configure",
    ),
    (of.ProfileNotFound(profile="dev"), CredentialsError, "see aws configure list-profiles"),
    (of.NoRegionError(), RegionError, "no AWS region is set: --region us-east-1"),
    (
        of.EndpointConnectionError(endpoint_url="https://sts.us-est-1.amazonaws.com/"),
        RegionError,
        "nobody answers in region us-est-1, which is not a known one: did you mean us-west-1",
    ),
    (
        of.EndpointConnectionError(endpoint_url="https://sts.us-east-1.amazonaws.com/"),
        CloudUnreachable,
        "AWS is not reached (looking): no connection to https://sts.us-east-1.amazonaws.com/: is "
        "this machine online?",
    ),
    (
        of.ConnectTimeoutError(endpoint_url="https://sts.us-east-1.amazonaws.com/"),
        CloudUnreachable,
        "AWS is not reached (looking): Connect timeout on endpoint URL",
    ),
    (
        of.ReadTimeoutError(endpoint_url="https://x"),
        CloudUnreachable,
        "AWS is not reached (looking): Read timeout",
    ),
    (
        of.ConnectionClosedError(endpoint_url="https://x"),
        CloudUnreachable,
        "AWS is not reached (looking): Connection was closed",
    ),
    (
        of.ResponseStreamingError(error="reset"),
        CloudUnreachable,
        "AWS is not reached (looking): An error occurred while reading",
    ),
    (
        of.ParamValidationError(report="Missing required parameter: Bucket"),
        ValidationError,
        "looking: Parameter validation failed: Missing required parameter: Bucket",
    ),
    (
        ResponseParserError("Unable to parse response, invalid XML received"),
        CloudUnreachable,
        "AWS is not reached (looking): what answers is none of its services: is there a proxy or a "
        "login page of the network in between?",
    ),
    (
        of.UnknownServiceError(service_name="x", known_service_names="y"),
        CloudRefused,
        "looking: Unknown service",
    ),
]


@pytest.mark.parametrize(
    ("failure", "kind", "text"),
    FAILURES,
    ids=[f"{type(each[0]).__name__}-{each[1].__name__}" for each in FAILURES],
)
def test_what_brings_no_answer_is_one_line_with_its_mend(failure, kind, text):
    with pytest.raises(SiftLaunchError) as error, explained("s:A", "looking", profile="dev"):
        raise failure
    assert type(error.value) is kind
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_other_errors_pass_unchanged():
    with pytest.raises(KeyError), explained("s:A"):
        raise KeyError("ours")


def test_no_credentials_at_all(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    from sift_launcher.cloud.client import Clients

    with pytest.raises(CredentialsError, match="there are no AWS credentials: aws configure"):
        caller(Clients("eu-west-1"))
