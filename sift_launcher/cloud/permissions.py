"""Whether a role may do what a job does under it: IAM simulates it, without doing it.

Sources: the guide's page "SageMaker roles", section "CreateTrainingJob API: execution role
permissions", and the API reference of IAM (SimulatePrincipalPolicy).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sift_launcher.cloud.buckets import s3_channels, s3_places
from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.cloud.facts import Cloud
from sift_launcher.cloud.images import ecr_image
from sift_launcher.cloud.roles import SERVICE, get_role, trusts_sagemaker
from sift_launcher.errors import RoleError, SiftLaunchError
from sift_launcher.stock import is_stock_account

_LOG_GROUP = "/aws/sagemaker/TrainingJobs"
_FULL_ACCESS = "AmazonSageMakerFullAccess"


@dataclass(frozen=True)
class Need:
    """What a job does under its role."""

    actions: tuple[str, ...]
    resources: tuple[str, ...]
    purpose: str


def check_trust(cloud: Cloud, clients: Clients) -> None:
    """Raises RoleError unless the role is there and SageMaker may take it on."""
    name = _name(cloud.role_arn)
    role = get_role(clients, name)
    if role["Arn"] != cloud.role_arn:
        raise RoleError(f"there is no role {cloud.role_arn}: did you mean {role['Arn']}?")
    if not trusts_sagemaker(role):
        raise RoleError(
            f"SageMaker cannot take on role {name}: its trust policy must let {SERVICE} do "
            f"sts:AssumeRole (aws iam update-assume-role-policy --role-name {name} ...)"
        )


def check_permissions(request: Mapping[str, Any], cloud: Cloud, clients: Clients) -> str | None:
    """Raises RoleError, naming the permission, when the role may not do what the job does. A note
    when something else may grant it."""
    notes = []
    for need in needs(request, cloud):
        for refused in _refusals(need, cloud, clients):
            told = (
                f"role {_name(cloud.role_arn)} lacks {refused.action} on {refused.resource}, "
                f"{need.purpose}"
            )
            if not _may_be_granted(refused, clients):
                raise RoleError(f"{told}: {_mend(cloud)}")
            notes.append(f"{told}, unless something else than its own policies grants it")
    return "; ".join(notes) or None


def needs(request: Mapping[str, Any], cloud: Cloud) -> Iterator[Need]:
    """All that the job of `request` does under its role."""
    aws = f"arn:{cloud.partition}"
    places = dict(s3_places(request))
    reads = [places[use] for use in places if use not in ("--output", "--checkpoint")]
    if reads:
        objects = tuple(f"{aws}:s3:::{uri.removeprefix('s3://')}*" for uri in reads)
        yield Need(("s3:GetObject",), objects, "where it reads its code and data")
    listed = {uri.removeprefix("s3://").partition("/")[0] for _, uri in s3_channels(request)}
    if listed:
        buckets = tuple(f"{aws}:s3:::{bucket}" for bucket in sorted(listed))
        yield Need(("s3:ListBucket",), buckets, "where it finds its data")
    writes = [places[use] for use in ("--output", "--checkpoint") if use in places]
    objects = tuple(f"{aws}:s3:::{uri.removeprefix('s3://').rstrip('/')}/*" for uri in writes)
    yield Need(("s3:PutObject",), objects, "where it writes its results")
    group = f"{aws}:logs:{cloud.region}:{cloud.account}:log-group:{_LOG_GROUP}"
    yield Need(
        ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"),
        (f"{group}:log-stream:*",),
        "where it writes its log",
    )
    place = ecr_image(cloud.image.name, cloud.region)
    if not is_stock_account(place.account):
        repository = f"{aws}:ecr:{place.region}:{place.account}:repository/{place.name}"
        actions = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
        yield Need(actions, (repository,), "where its image lies")
        yield Need(("ecr:GetAuthorizationToken",), ("*",), "with which it pulls its image")
    if request.get("VpcConfig"):
        yield Need(
            ("ec2:CreateNetworkInterface", "ec2:DescribeSubnets", "ec2:DescribeVpcs"),
            ("*",),
            "with which it joins the network",
        )


@dataclass(frozen=True)
class _Refusal:
    """What IAM would deny the role."""

    action: str
    resource: str
    is_denied: bool
    """By a policy that says so; else no policy of the role's allows it."""

    is_conditional: bool
    """It hangs on what only the real call tells, as the network that it comes from."""


def _refusals(need: Need, cloud: Cloud, clients: Clients) -> Iterator[_Refusal]:
    with explained(
        f"iam:SimulatePrincipalPolicy on {cloud.role_arn}",
        f"asking what role {_name(cloud.role_arn)} may do",
        clients.profile,
    ):
        answer = clients("iam").simulate_principal_policy(
            PolicySourceArn=cloud.role_arn,
            ActionNames=list(need.actions),
            ResourceArns=list(need.resources),
        )
    for each in answer["EvaluationResults"]:
        if each["EvalDecision"] != "allowed":
            yield _Refusal(
                each["EvalActionName"],
                each.get("EvalResourceName", "*"),
                each["EvalDecision"] == "explicitDeny",
                bool(each.get("MissingContextValues")),
            )


def _may_be_granted(refusal: _Refusal, clients: Clients) -> bool:
    """Whether the real call may be allowed all the same."""
    if refusal.is_conditional:
        return True
    return not refusal.is_denied and _has_policy(refusal.resource, clients)


def _has_policy(resource: str, clients: Clients) -> bool:
    """Whether a bucket has a policy of its own, which the simulation does not look at."""
    _, is_s3, place = resource.partition(":s3:::")
    if not is_s3:
        return False
    bucket = place.partition("/")[0].rstrip("*")
    try:
        with explained(
            f"s3:GetBucketPolicy on {bucket}", f"asking for the policy of {bucket}", clients.profile
        ):
            clients("s3").get_bucket_policy(Bucket=bucket)
    except SiftLaunchError as error:
        # The job's role is refused for what is known, not for what may not be looked at.
        return "NoSuchBucketPolicy" not in str(error)
    return True


def _mend(cloud: Cloud) -> str:
    name = _name(cloud.role_arn)
    return (
        f"allow it in a policy of the role, or aws iam attach-role-policy --role-name {name} "
        f"--policy-arn arn:{cloud.partition}:iam::aws:policy/{_FULL_ACCESS}"
    )


def _name(role_arn: str) -> str:
    return role_arn.rpartition("/")[2]
