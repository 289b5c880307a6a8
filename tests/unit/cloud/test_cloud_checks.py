"""What SageMaker would refuse is refused before: asked of a stand-in of AWS, or of written
answers where that has none."""

from __future__ import annotations

import copy
import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aws_stand_in import ACCOUNT, REGION, ROLE, StandInAws
from botocore.stub import ANY
from stubbed import StubbedClients, answer_always

from sift_launcher.cloud.checks import preflight
from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.facts import Cloud, Upload
from sift_launcher.cloud.network import check_network
from sift_launcher.cloud.permissions import check_permissions, needs
from sift_launcher.cloud.quotas import check_quota, instance_quota
from sift_launcher.errors import (
    BucketError,
    CloudUnreachable,
    ImageUnfit,
    QuotaError,
    RegionError,
    ResourceInUse,
    RoleError,
    ValidationError,
)
from sift_launcher.images import ImageFacts

STOCK = f"763104351884.dkr.ecr.{REGION}.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker"
BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"
CLOUD = Cloud(REGION, ACCOUNT, ROLE, BUCKET, ImageFacts(STOCK, "", "amd64", None, "toolkit"))
REQUEST: dict[str, Any] = {
    "TrainingJobName": "job-1",
    "RoleArn": ROLE,
    "AlgorithmSpecification": {"TrainingImage": STOCK, "TrainingInputMode": "File"},
    "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/"},
    "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 2, "VolumeSizeInGB": 30},
    "StoppingCondition": {"MaxRuntimeInSeconds": 86400},
    "HyperParameters": {
        "sagemaker_submit_directory": json.dumps(f"s3://{BUCKET}/job-1/source/sourcedir.tar.gz")
    },
    "InputDataConfig": [
        {
            "ChannelName": "train",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": "s3://data/train/",
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
        }
    ],
}
STAND_IN = (
    "not checked: quota, the role's permissions and AWS's own image, which a stand-in for AWS "
    "does not have"
)
DENIED = {"Error": {"Code": "AccessDeniedException", "Message": "no"}}


@pytest.fixture(autouse=True)
def made(aws: StandInAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clients:
    """An account in which the request is in order, to be changed."""
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(tmp_path / "state"))
    made = Clients()
    make_role(made, "SageMakerRole", "sagemaker.amazonaws.com")
    made("s3").create_bucket(Bucket="data")
    for name in ("train/a", "train/b", "test/a"):
        made("s3").put_object(Bucket="data", Key=name, Body=b"x")
    return made


def make_role(made: Clients, name: str, service: str) -> None:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    trust = {"Version": "2012-10-17", "Statement": [statement]}
    made("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))


def changed(**values: Any) -> dict[str, Any]:
    """The request with other values at `A__B` paths."""
    request = copy.deepcopy(REQUEST)
    for path, value in values.items():
        *above, last = path.split("__")
        place: Any = request
        for name in above:
            place = place[int(name) if name.isdigit() else name]
        place[last] = value
    return request


def checked(
    request: dict[str, Any] = REQUEST,
    cloud: Cloud = CLOUD,
    clients: Clients | None = None,
    patience_seconds: float = 240,
) -> tuple[str, ...]:
    plan: Any = SimpleNamespace(request=request)
    return preflight(plan, cloud, clients or Clients(), patience_seconds)


def test_a_request_in_order_passes_and_says_what_a_stand_in_cannot_know():
    assert checked() == (STAND_IN,)


SHARDED = "InputDataConfig__0__DataSource__S3DataSource__S3DataDistributionType"
URI = "InputDataConfig__0__DataSource__S3DataSource__S3Uri"


def test_what_the_request_itself_gets_wrong_is_told_first():
    request = changed(TrainingJobName="a_b", RoleArn="nobody")
    with pytest.raises(ValidationError) as error:
        checked(request)
    assert str(error.value).startswith(
        "3 validation errors detected: Value 'a_b' at 'trainingJobName' failed to satisfy "
        "constraint: Member must satisfy regular expression pattern: "
    )


# ---- buckets and channels


def test_a_missing_default_bucket_is_made_later(made):
    assert checked() == (STAND_IN,)
    made("s3").create_bucket(Bucket=BUCKET)
    assert checked() == (STAND_IN,)


def test_another_missing_bucket_is_told_with_the_nearest():
    with pytest.raises(BucketError) as error:
        checked(changed(OutputDataConfig={"S3OutputPath": "s3://dat/out"}))
    assert str(error.value) == (
        "--output: there is no bucket dat (did you mean data?): aws s3 ls shows those there are, "
        "aws s3 mb s3://dat makes it"
    )


@pytest.mark.parametrize(
    ("change", "use"),
    [
        ({URI: "s3://far/train"}, "channel train"),
        ({"CheckpointConfig": {"S3Uri": "s3://far/c"}}, "--checkpoint"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://far/"}}, "--output"),
    ],
)
def test_a_bucket_in_another_region_is_told_with_its_region(made, change, use):
    made("s3").create_bucket(
        Bucket="far", CreateBucketConfiguration={"LocationConstraint": "eu-west-3"}
    )
    made("s3").put_object(Bucket="far", Key="train/a", Body=b"x")
    with pytest.raises(BucketError) as error:
        checked(changed(**change))
    assert str(error.value) == (
        f"{use}: bucket far lies in eu-west-3, and the job runs in us-east-1: run it with --region "
        "eu-west-3, or name a bucket of us-east-1"
    )


def test_a_default_bucket_that_is_somebody_elses_is_told_as_such():
    clients = Clients()
    answer_always(clients("s3"), "HeadBucket", {"Error": {"Code": "403", "Message": "no"}}, 403)
    with pytest.raises(BucketError) as error:
        checked(clients=clients)
    assert str(error.value) == (
        f"the default bucket {BUCKET} is somebody else's, or closed to these credentials: name one "
        f"of account {ACCOUNT} with --output s3://BUCKET/PREFIX"
    )


def test_another_bucket_that_may_not_be_looked_at_is_noted_with_the_permission():
    clients = Clients()
    denied = {"Error": {"Code": "403", "Message": "Forbidden"}}
    answer_always(clients("s3"), "HeadBucket", denied, 403)
    request = changed(
        OutputDataConfig={"S3OutputPath": "s3://data/"}, HyperParameters={"lr": "0.1"}
    )
    assert checked(request, clients=clients) == (
        "not checked: bucket data: AWS refuses looking at bucket data of --output: whoever the "
        "credentials belong to lacks the permission s3:ListBucket on arn:aws:s3:::data: have it "
        "added to a policy of that user or role",
        STAND_IN,
    )


def test_an_object_that_vanished_since_the_plan_is_missed(made):
    for name in ("train/a", "train/b"):
        made("s3").delete_object(Bucket="data", Key=name)
    with pytest.raises(BucketError) as error:
        checked()
    assert str(error.value) == (
        "channel train: nothing lies at s3://data/train/: aws s3 ls s3://data/ shows what does"
    )


def test_a_misspelled_prefix_is_told_with_the_nearest():
    with pytest.raises(BucketError, match=r"\(did you mean s3://data/train/\?\)"):
        checked(changed(**{URI: "s3://data/trian/"}))


def test_a_prefix_that_is_one_object_is_enough():
    assert checked(changed(**{URI: "s3://data/test/a"})) == (STAND_IN,)


def test_a_channel_with_fewer_objects_than_hosts_is_noted(made):
    sharded = changed(**{SHARDED: "ShardedByS3Key"})
    assert checked(sharded) == (STAND_IN,)
    made("s3").delete_object(Bucket="data", Key="train/b")
    assert checked(sharded) == (
        "channel train holds 1 objects for 2 hosts: some hosts get none of them",
        STAND_IN,
    )


def test_a_channel_that_is_yet_to_be_uploaded_may_be_empty():
    request = changed(**{URI: "s3://data/sift-data/123/"})
    upload = Upload("train", "/data", "s3://data/sift-data/123/", ())
    assert checked(request, replace(CLOUD, uploads=(upload,))) == (STAND_IN,)
    with pytest.raises(BucketError):
        checked(request)


def test_a_channel_that_brings_the_code_may_be_empty():
    request = changed(
        **{URI: "s3://data/job-1/source/sourcedir.tar.gz"},
        InputDataConfig__0__ChannelName="code",
        HyperParameters={
            "sagemaker_submit_directory": '"/opt/ml/input/data/code/sourcedir.tar.gz"'
        },
    )
    assert checked(request) == (STAND_IN,)


# ---- the role


def test_a_missing_role_is_told():
    with pytest.raises(RoleError, match="looking up role Gone: Role Gone not found: see aws iam"):
        checked(cloud=replace(CLOUD, role_arn=f"arn:aws:iam::{ACCOUNT}:role/Gone"))


def test_a_role_that_sagemaker_may_not_take_on_is_told(made):
    make_role(made, "Lambdas", "lambda.amazonaws.com")
    with pytest.raises(RoleError) as error:
        checked(cloud=replace(CLOUD, role_arn=f"arn:aws:iam::{ACCOUNT}:role/Lambdas"))
    assert str(error.value) == (
        "SageMaker cannot take on role Lambdas: its trust policy must let sagemaker.amazonaws.com "
        "do sts:AssumeRole (aws iam update-assume-role-policy --role-name Lambdas ...)"
    )


def test_a_role_under_another_path_is_told():
    with pytest.raises(RoleError) as error:
        checked(cloud=replace(CLOUD, role_arn=f"arn:aws:iam::{ACCOUNT}:role/a/SageMakerRole"))
    assert str(error.value) == (
        f"there is no role arn:aws:iam::{ACCOUNT}:role/a/SageMakerRole: did you mean {ROLE}?"
    )


def simulated(*decisions: tuple[str, str, str], missing: list[str] | None = None) -> dict[str, Any]:
    return {
        "EvaluationResults": [
            {
                "EvalActionName": action,
                "EvalResourceName": resource,
                "EvalDecision": decision,
                "MissingContextValues": missing or [],
            }
            for action, resource, decision in decisions
        ]
    }


DATA = "arn:aws:s3:::data/train/*"
LACKS = (
    f"role SageMakerRole lacks s3:GetObject on {DATA}, where it reads its code and data: allow it "
    "in a policy of the role, or aws iam attach-role-policy --role-name SageMakerRole "
    "--policy-arn arn:aws:iam::aws:policy/AmazonSageMakerFullAccess"
)


def permissions(first: dict[str, Any], policy: str | None = None) -> str | None:
    clients = StubbedClients(REGION)
    iam = clients.stub("iam")
    iam.add_response("simulate_principal_policy", first)
    for _ in list(needs(REQUEST, CLOUD))[1:]:
        iam.add_response("simulate_principal_policy", simulated(("a:B", "*", "allowed")))
    if policy is None:
        clients.stub("s3").add_client_error("get_bucket_policy", "NoSuchBucketPolicy", "", 404)
    else:
        clients.stub("s3").add_response("get_bucket_policy", {"Policy": policy})
    return check_permissions(REQUEST, CLOUD, clients)


def test_a_role_that_may_do_all_is_in_order():
    assert permissions(simulated(("s3:GetObject", DATA, "allowed"))) is None


@pytest.mark.parametrize("decision", ["implicitDeny", "explicitDeny"])
def test_a_role_that_lacks_a_permission_is_told_which(decision):
    with pytest.raises(RoleError) as error:
        permissions(simulated(("s3:GetObject", DATA, decision)))
    assert str(error.value) == LACKS


def test_what_the_buckets_own_policy_may_grant_is_noted():
    note = permissions(simulated(("s3:GetObject", DATA, "implicitDeny")), policy="{}")
    assert note == (
        f"role SageMakerRole lacks s3:GetObject on {DATA}, where it reads its code and data, "
        "unless something else than its own policies grants it"
    )


def test_what_no_bucket_may_grant_because_it_is_denied_is_refused():
    with pytest.raises(RoleError):
        permissions(simulated(("s3:GetObject", DATA, "explicitDeny")), policy="{}")


def test_what_hangs_on_a_condition_is_noted():
    first = simulated(("s3:GetObject", DATA, "implicitDeny"), missing=["aws:SourceVpc"])
    assert "unless something else" in str(permissions(first))


def test_what_a_job_needs_of_its_role():
    image = replace(CLOUD.image, name=f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/team/mine:1")
    request = changed(
        CheckpointConfig={"S3Uri": "s3://keep/c"},
        VpcConfig={"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    )
    logs = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/sagemaker/TrainingJobs:log-stream:*"
    found = [(need.actions, need.resources) for need in needs(request, replace(CLOUD, image=image))]
    assert found == [
        (
            ("s3:GetObject",),
            (f"arn:aws:s3:::{BUCKET}/job-1/source/sourcedir.tar.gz*", "arn:aws:s3:::data/train/*"),
        ),
        (("s3:ListBucket",), ("arn:aws:s3:::data",)),
        (("s3:PutObject",), (f"arn:aws:s3:::{BUCKET}/*", "arn:aws:s3:::keep/c/*")),
        (("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"), (logs,)),
        (
            ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
            (f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/team/mine",),
        ),
        (("ecr:GetAuthorizationToken",), ("*",)),
        (("ec2:CreateNetworkInterface", "ec2:DescribeSubnets", "ec2:DescribeVpcs"), ("*",)),
    ]


# ---- name, key and network


def test_a_name_that_is_taken_is_told(made):
    request = changed()
    made("sagemaker").create_training_job(**request)
    with pytest.raises(ResourceInUse) as error:
        checked(request)
    assert str(error.value) == (
        "there is a training job job-1 already, and SageMaker never gives a name twice: choose "
        "another --name, or leave it out"
    )


def test_a_key_must_be_there_and_switched_on(made):
    kms = made("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    output = {"S3OutputPath": f"s3://{BUCKET}/", "KmsKeyId": key}
    assert checked(changed(OutputDataConfig=output)) == (STAND_IN,)
    kms.disable_key(KeyId=key)
    with pytest.raises(ValidationError, match=f"--kms-key {key} is Disabled: aws kms enable-key"):
        checked(changed(OutputDataConfig=output))
    with pytest.raises(ValidationError, match=r"looking up --kms-key 0000: .* name one of this"):
        checked(changed(OutputDataConfig={**output, "KmsKeyId": "0000"}))


NETWORK = {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}


def network(subnet_vpc: str, group_vpc: str) -> StubbedClients:
    clients = StubbedClients()
    subnets = [{"VpcId": subnet_vpc}, {"VpcId": subnet_vpc}]
    ec2 = clients.stub("ec2")
    ec2.add_response(
        "describe_subnets", {"Subnets": subnets}, {"SubnetIds": ["subnet-1", "subnet-2"]}
    )
    ec2.add_response(
        "describe_security_groups",
        {"SecurityGroups": [{"VpcId": group_vpc}]},
        {"GroupIds": ["sg-1"]},
    )
    return clients


def test_subnets_and_groups_must_lie_in_one_vpc():
    check_network(NETWORK, network("vpc-1", "vpc-1"))
    with pytest.raises(ValidationError) as error:
        check_network(NETWORK, network("vpc-2", "vpc-1"))
    assert str(error.value) == (
        "--subnet and --security-group lie in several VPCs, vpc-1 and vpc-2: name those of one"
    )


def test_a_subnet_that_is_not_there_is_told():
    clients = StubbedClients()
    told = "The subnet ID 'subnet-1' does not exist"
    clients.stub("ec2").add_client_error("describe_subnets", "InvalidSubnetID.NotFound", told)
    with pytest.raises(ValidationError) as error:
        check_network(NETWORK, clients)
    assert str(error.value) == (
        f"looking up --subnet subnet-1, subnet-2: {told}: name one of this account and region"
    )


def test_a_network_that_may_not_be_looked_at_is_noted():
    clients = Clients()
    answer_always(clients("ec2"), "DescribeSubnets", DENIED, 403)
    notes = checked(changed(VpcConfig=NETWORK), clients=clients)
    assert "lacks the permission ec2:DescribeSubnets" in notes[0]


# ---- the quota and the region

QUOTA = "ml.g5.xlarge for training job usage"
SPOT_QUOTA = "ml.g5.xlarge for spot training job usage"


def quota(name: str, value: float, code: str = "L-1") -> dict[str, Any]:
    return {"QuotaName": name, "QuotaCode": code, "Value": value}


def stub_quotas(clients: StubbedClients, *pages: list[dict[str, Any]]) -> None:
    for number, page in enumerate(pages):
        more = {"NextToken": str(number)} if number + 1 < len(pages) else {}
        clients.stub("service-quotas").add_response(
            "list_service_quotas", {"Quotas": page, **more}, None
        )


def test_a_quota_that_is_too_small_is_told_with_how_to_ask_for_more():
    clients = StubbedClients()
    stub_quotas(clients, [quota("other", 9)], [quota(SPOT_QUOTA, 8), quota(QUOTA, 1, "L-2")])
    with pytest.raises(QuotaError) as error:
        check_quota(REQUEST, clients)
    assert str(error.value) == (
        "this account's quota of 'ml.g5.xlarge for training job usage' is 1 in eu-west-1, and the "
        "job needs 2: aws service-quotas request-service-quota-increase --service-code sagemaker "
        "--quota-code L-2 --desired-value 2 --region eu-west-1 asks for more"
    )


def test_spot_has_a_quota_of_its_own():
    clients = StubbedClients()
    stub_quotas(clients, [quota(QUOTA, 1), quota(SPOT_QUOTA, 2)])
    assert check_quota(changed(EnableManagedSpotTraining=True), clients) is None


def test_instances_that_are_kept_warm_have_one_too():
    clients = StubbedClients()
    warm = quota("ml.g5.xlarge for training warm pool usage", 0)
    stub_quotas(clients, [quota(QUOTA, 2)])
    stub_quotas(clients, [quota(QUOTA, 2), warm])
    with pytest.raises(QuotaError, match=r"'ml.g5.xlarge for training warm pool usage' is 0 in"):
        check_quota(changed(ResourceConfig__KeepAlivePeriodInSeconds=60), clients)


@pytest.mark.parametrize(("days", "is_asked"), [(5, False), (6, True)])
def test_so_have_jobs_that_may_run_longer_than_all_accounts_are_granted(days, is_asked):
    clients = StubbedClients()
    stub_quotas(clients, [quota(QUOTA, 2)])
    request = changed(StoppingCondition={"MaxRuntimeInSeconds": days * 24 * 60 * 60})
    if not is_asked:
        assert check_quota(request, clients) is None
        return
    stub_quotas(clients, [quota("Longest run time for a training job", 432000)])
    with pytest.raises(QuotaError, match="'Longest run time for a training job' is 432000 in"):
        check_quota(request, clients)


def test_the_second_time_the_quota_is_asked_by_its_code_but_its_value_anew():
    clients = StubbedClients()
    stub_quotas(clients, [quota(SPOT_QUOTA, 8, "L-1"), quota(QUOTA, 2, "L-2")])
    assert check_quota(REQUEST, clients) is None
    clients.stub("service-quotas").add_response(
        "get_service_quota",
        {"Quota": quota(QUOTA, 0, "L-2")},
        {"ServiceCode": "sagemaker", "QuotaCode": "L-2"},
    )
    with pytest.raises(QuotaError, match="is 0 in eu-west-1, and the job needs 2"):
        check_quota(REQUEST, clients)


def test_a_code_that_is_gone_is_searched_anew():
    clients = StubbedClients()
    stub_quotas(clients, [quota(QUOTA, 2, "L-2")])
    instance_quota("ml.g5.xlarge", False, clients)
    stub = clients.stub("service-quotas")
    stub.add_client_error("get_service_quota", "NoSuchResourceException", "", 400)
    stub_quotas(clients, [quota(QUOTA, 3, "L-3")])
    found = instance_quota("ml.g5.xlarge", False, clients)
    assert found is not None
    assert (found.value, found.code) == (3, "L-3")


def listed(region: str) -> str:
    attributes = {"usagetype": f"{region}-Train:ml.g5.xlarge", "regionCode": region}
    return json.dumps({"product": {"attributes": attributes}, "terms": {}})


def test_a_region_without_the_instance_is_told_with_those_that_have_it():
    clients = StubbedClients("eu-south-2")
    stub_quotas(clients, [quota("other", 9)])
    clients.stub("pricing").add_response(
        "get_products",
        {"PriceList": [listed("us-east-1"), listed("eu-west-1")]},
        {"ServiceCode": "AmazonSageMaker", "Filters": ANY, "FormatVersion": "aws_v1"},
    )
    with pytest.raises(RegionError) as error:
        check_quota(REQUEST, clients)
    assert str(error.value) == (
        "region eu-south-2 has no ml.g5.xlarge for training: eu-west-1, us-east-1 have it "
        "(--region)"
    )


def test_a_quota_that_has_no_name_is_noted():
    clients = StubbedClients("eu-west-1")
    stub_quotas(clients, [quota("other", 9)])
    clients.stub("pricing").add_response("get_products", {"PriceList": [listed("eu-west-1")]})
    assert check_quota(REQUEST, clients) == (
        "not checked: the quota of ml.g5.xlarge, which AWS does not name"
    )


# ---- in AWS itself, which has what a stand-in lacks


def real() -> Clients:
    """Clients that take the stand-in for AWS itself; what moto lacks is written here."""
    clients = Clients()
    clients.endpoint = None
    answers = {
        ("iam", "SimulatePrincipalPolicy"): simulated(("a:B", "*", "allowed")),
        ("service-quotas", "ListServiceQuotas"): {"Quotas": [quota(QUOTA, 2)]},
        ("ecr", "BatchGetImage"): {"images": [{"imageId": {}, "imageManifest": "{}"}]},
    }
    for (service, operation), answer in answers.items():
        answer_always(clients(service), operation, answer)
    return clients


def test_in_aws_itself_everything_is_checked():
    assert checked(clients=real()) == ()


def test_an_image_that_aws_does_not_have_is_told():
    clients = real()
    clients._made.pop("ecr")
    gone = {"images": [], "failures": [{"failureReason": "Requested image not found"}]}
    answer_always(clients("ecr"), "BatchGetImage", gone)
    with pytest.raises(ImageUnfit, match=r"there is no image .* \(Requested image not found\)"):
        checked(clients=clients)


@pytest.mark.parametrize(
    ("service", "operation", "subject", "permission"),
    [
        ("iam", "GetRole", "the role", "iam:GetRole on role SageMakerRole"),
        (
            "iam",
            "SimulatePrincipalPolicy",
            "the role's permissions",
            f"iam:SimulatePrincipalPolicy on {ROLE}",
        ),
        ("s3", "ListObjectsV2", "channel train", "s3:ListBucket on arn:aws:s3:::data"),
        (
            "ecr",
            "BatchGetImage",
            f"image {STOCK}",
            "ecr:BatchGetImage on repository pytorch of 763104351884",
        ),
        (
            "sagemaker",
            "DescribeTrainingJob",
            "the name",
            "sagemaker:DescribeTrainingJob on training-job/job-1",
        ),
        (
            "service-quotas",
            "ListServiceQuotas",
            "the quota",
            "servicequotas:ListServiceQuotas",
        ),
    ],
)
def test_what_may_not_be_looked_at_is_noted_with_the_permission(
    service, operation, subject, permission
):
    clients = real()
    clients._made.pop(service, None)
    if service == "iam" and operation == "GetRole":
        answer_always(clients("iam"), "SimulatePrincipalPolicy", simulated(("a:B", "*", "allowed")))
    answer_always(clients(service), operation, DENIED, 403)
    (note,) = checked(clients=clients)
    assert note.startswith(f"not checked: {subject}: AWS refuses ")
    assert f"lacks the permission {permission}: have it added" in note


def test_a_quota_service_that_fails_ends_no_launch_but_s3_does():
    broken = {"Error": {"Code": "InternalFailure", "Message": "no"}}
    clients = real()
    clients._made.pop("service-quotas")
    answer_always(clients("service-quotas"), "ListServiceQuotas", broken, 500)
    (note,) = checked(clients=clients)
    assert note.startswith("not checked: the quota: AWS does not take asking for the quota now")
    answer_always(clients("s3"), "ListObjectsV2", broken, 500)
    with pytest.raises(CloudUnreachable, match="AWS does not take looking at s3://data/train/"):
        checked(clients=clients)


def test_the_first_of_several_errors_is_always_the_same(made):
    make_role(made, "Lambdas", "lambda.amazonaws.com")
    cloud = replace(CLOUD, role_arn=f"arn:aws:iam::{ACCOUNT}:role/Lambdas")
    request = changed(
        **{URI: "s3://data/nothing/"}, OutputDataConfig={"S3OutputPath": "s3://gone/"}
    )
    made("sagemaker").create_training_job(**REQUEST)
    for _ in range(3):
        with pytest.raises(RoleError):
            checked(request, cloud)
        with pytest.raises(BucketError, match="there is no bucket gone"):
            checked(request)
        with pytest.raises(BucketError, match="nothing lies at"):
            checked(changed(**{URI: "s3://data/nothing/"}))


def test_everything_is_asked_at_once():
    """Each of these answers only when all the others have been asked too."""
    clients = real()
    operations = [
        ("iam", "GetRole"),
        ("s3", "HeadBucket"),
        ("s3", "ListObjectsV2"),
        ("sagemaker", "DescribeTrainingJob"),
        ("service-quotas", "ListServiceQuotas"),
    ]
    together = threading.Barrier(len(operations), timeout=120)
    first = threading.Lock()
    seen: set[str] = set()

    def meet(operation: str) -> None:
        with first:
            is_new = operation not in seen
            seen.add(operation)
        if is_new:
            together.wait()

    for service, operation in operations:
        client = clients(service)
        name = client.meta.service_model.service_id.hyphenize()
        client.meta.events.register_first(
            f"before-parameter-build.{name}.{operation}",
            lambda operation=operation, **_: meet(operation),
        )
    assert checked(clients=clients) == ()
    assert not together.broken


def test_an_answer_that_does_not_come_is_noted_and_not_waited_for():
    never, answered = threading.Event(), threading.Event()
    clients = real()

    def answer(**_: object) -> None:
        never.wait(120)
        answered.set()

    clients("service-quotas").meta.events.register_first(
        "before-parameter-build.service-quotas.ListServiceQuotas", answer
    )
    notes = checked(clients=clients, patience_seconds=1)
    assert not answered.is_set()
    never.set()
    assert "not checked: the quota: AWS did not answer in time" in notes
