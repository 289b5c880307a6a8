"""What a plan learns of AWS: account, role, image. Asked of a stand-in of AWS."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aws_stand_in import ACCOUNT, ROLE, StandInAws
from botocore.stub import ANY, Stubber
from stubbed import answer_always

from sift_launcher.cloud import gather, roles
from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.gather import cloud_facts
from sift_launcher.errors import (
    AccessDenied,
    CloudUnreachable,
    CredentialsError,
    ImageUnfit,
    RegionError,
    RoleError,
)
from sift_launcher.images import ImageFacts
from sift_launcher.job_spec import JobSpec

SPEC = JobSpec("train.py", instance="ml.g5.xlarge", role=ROLE, price_dollars=1.5)
MINE = f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/team/mine:1"
STOCK = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-{}-amzn2023-sagemaker"


@pytest.fixture(autouse=True)
def here(aws: StandInAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(roles, "NOTEBOOK", tmp_path / "no notebook")
    monkeypatch.setattr(gather, "runtime_digest", lambda: "this")


def make_role(name: str, service: str, path: str = "/") -> None:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        ],
    }
    Clients()("iam").create_role(
        RoleName=name, Path=path, AssumeRolePolicyDocument=json.dumps(trust)
    )


def be(clients: Clients, arn: str) -> None:
    """From now on the credentials belong to `arn`."""
    who = {"UserId": "x", "Account": arn.split(":")[4], "Arn": arn}
    answer_always(clients("sts"), "GetCallerIdentity", who)


def test_the_facts_of_a_plain_call(aws):
    found = cloud_facts(SPEC, Clients(), needs_runtime=False)
    assert found.region == "us-east-1"
    assert found.account == ACCOUNT
    assert found.partition == "aws"
    assert found.role_arn == ROLE
    assert found.bucket == f"sagemaker-us-east-1-{ACCOUNT}"
    assert found.image == ImageFacts(STOCK.format("cu133"), "", "amd64", None, "toolkit")
    assert found.prices is not None
    assert (found.prices.on_demand, found.prices.source) == (1.5, "--price")
    assert found.runtime == ()
    assert found.uploads == ()
    assert (found.profile, found.endpoint) == (None, aws.endpoint)


def test_where_all_is_named_only_the_account_is_asked_for():
    clients = Clients()
    asked = []
    clients.session.register("before-call", lambda model, **_: asked.append(model.name))
    cloud_facts(SPEC, clients, needs_runtime=True)
    assert asked == ["GetCallerIdentity"]


def test_a_region_that_there_is_not_is_told_at_once(monkeypatch):
    def nobody(*_: Any) -> None:
        raise socket.gaierror

    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setattr("socket.getaddrinfo", nobody)
    clients = Clients("eu-wets-1")
    asked = []
    clients.session.register("before-call", lambda model, **_: asked.append(model.name))
    with pytest.raises(RegionError) as error:
        cloud_facts(SPEC, clients, needs_runtime=False)
    assert asked == []  # botocore would try again and again
    assert str(error.value) == (
        "nobody answers in region eu-wets-1, which is not a known one: did you mean eu-west-1 or "
        "us-west-1?"
    )


def test_a_region_that_is_newer_than_botocore_is_taken(monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: [])
    clients = Clients("eu-new-1")
    be(clients, f"arn:aws:iam::{ACCOUNT}:user/ann")
    assert cloud_facts(SPEC, clients, needs_runtime=False).region == "eu-new-1"


def test_the_partition_is_the_accounts():
    clients = Clients("cn-north-1")
    be(clients, "arn:aws-cn:iam::210987654321:user/ann")
    spec = replace(SPEC, role="arn:aws-cn:iam::210987654321:role/R")
    found = cloud_facts(spec, clients, needs_runtime=False)
    assert (found.partition, found.account) == ("aws-cn", "210987654321")
    assert found.image.name.startswith("727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/pytorch:")


@pytest.mark.parametrize(
    ("instance", "image", "tag"),
    [
        ("ml.m5.large", None, "cpu"),
        ("ml.m5.large", "stock", "cpu"),
        ("ml.p4d.24xlarge", None, "cu133"),
        ("ml.g5.xlarge", STOCK.format("cpu"), "cpu"),
    ],
)
def test_awss_own_image_is_known_without_asking(instance, image, tag):
    found = cloud_facts(replace(SPEC, instance=instance, image=image), Clients(), False)
    assert found.image == ImageFacts(STOCK.format(tag), "", "amd64", None, "toolkit")


def test_no_stock_image_computes_on_awss_own_chips():
    with pytest.raises(
        ImageUnfit, match=r"ml.trn1.2xlarge computes on AWS's own chips, .* --image"
    ):
        cloud_facts(replace(SPEC, instance="ml.trn1.2xlarge"), Clients(), False)


def test_without_credentials_nothing_is_planned(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(CredentialsError, match="there are no AWS credentials"):
        cloud_facts(SPEC, Clients(), False)


# ---- the role


def test_a_roles_name_is_looked_up_with_its_path(aws):
    make_role("Deep", "sagemaker.amazonaws.com", "/service-role/")
    arn = f"arn:aws:iam::{ACCOUNT}:role/service-role/Deep"
    for name in ("Deep", "service-role/Deep"):
        assert cloud_facts(replace(SPEC, role=name), Clients(), False).role_arn == arn


@pytest.mark.parametrize(
    ("role", "text"),
    [
        (
            "Nobody",
            "looking up role Nobody: Role Nobody not found: see aws iam list-roles for those "
            "there are",
        ),
        (
            "arn:aws:iam::1:role/R",
            "--role arn:aws:iam::1:role/R is no role's ARN: write a role's name, or "
            "arn:aws:iam::123456789012:role/NAME",
        ),
        (
            "arn:aws:iam::210987654321:role/R",
            "--role arn:aws:iam::210987654321:role/R is of account 210987654321, and these "
            "credentials are of 123456789012: name a role of 123456789012, or --profile one of "
            "210987654321",
        ),
        (
            None,
            "a job in SageMaker runs under a role: name one that sagemaker.amazonaws.com may take "
            "on, --role NAME, such as Deep or Training",
        ),
    ],
)
def test_a_role_that_cannot_be_used_is_told_with_one_that_can(aws, role, text):
    make_role("Lambdas", "lambda.amazonaws.com")
    make_role("Training", "sagemaker.amazonaws.com")
    make_role("Deep", "sagemaker.amazonaws.com")
    with pytest.raises(RoleError) as error:
        cloud_facts(replace(SPEC, role=role), Clients(), False)
    assert str(error.value) == text


def test_the_only_role_that_sagemaker_may_take_on_needs_no_name():
    make_role("Lambdas", "lambda.amazonaws.com")
    make_role("Training", "sagemaker.amazonaws.com")
    found = cloud_facts(replace(SPEC, role=None), Clients(), False)
    assert found.role_arn == f"arn:aws:iam::{ACCOUNT}:role/Training"


def test_without_any_role_the_error_says_how_one_is_made():
    with pytest.raises(RoleError, match=r"--role NAME, https://docs.aws.amazon.com/.* how to make"):
        cloud_facts(replace(SPEC, role=None), Clients(), False)


def test_in_a_notebook_of_sagemakers_its_own_role_is_taken(monkeypatch, tmp_path):
    arn = f"arn:aws:iam::{ACCOUNT}:role/service-role/Notebook"
    (tmp_path / "metadata.json").write_text(json.dumps({"ExecutionRoleArn": arn}))
    monkeypatch.setattr(roles, "NOTEBOOK", tmp_path / "metadata.json")
    assert cloud_facts(replace(SPEC, role=None), Clients(), False).role_arn == arn


def test_a_role_that_was_taken_on_is_the_jobs_if_sagemaker_may_take_it_on(aws):
    make_role("Training", "sagemaker.amazonaws.com", "/service-role/")
    make_role("Other", "sagemaker.amazonaws.com")
    make_role("Admin", "ec2.amazonaws.com")
    spec = replace(SPEC, role=None)
    clients = Clients()
    be(clients, f"arn:aws:sts::{ACCOUNT}:assumed-role/Training/SageMaker")
    found = cloud_facts(spec, clients, False)
    assert found.role_arn == f"arn:aws:iam::{ACCOUNT}:role/service-role/Training"
    clients = Clients()
    be(clients, f"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/ann")
    with pytest.raises(RoleError, match="--role NAME, such as Other or Training"):
        cloud_facts(spec, clients, False)


SAGEMAKER = "sagemaker.amazonaws.com"


@pytest.mark.parametrize(
    ("statement", "trusts"),
    [
        ({"Principal": {"Service": SAGEMAKER}, "Action": "sts:AssumeRole"}, True),
        ({"Principal": {"Service": ["a", SAGEMAKER]}, "Action": ["sts:TagSession", "sts:*"]}, True),
        ({"Principal": "*", "Action": "*"}, True),
        ({"Principal": {"Service": SAGEMAKER}, "Action": "sts:TagSession"}, False),
        ({"Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}, False),
        ({"Principal": {"AWS": SAGEMAKER}, "Action": "sts:AssumeRole"}, False),
        (
            {"Principal": {"Service": SAGEMAKER}, "Action": "sts:AssumeRole", "Effect": "Deny"},
            False,
        ),
    ],
)
def test_whom_a_role_trusts(statement, trusts):
    document = {"Statement": [{"Effect": "Allow", **statement}]}
    assert roles.trusts_sagemaker({"AssumeRolePolicyDocument": document}) is trusts
    as_iam_sends_it = quote(json.dumps(document))
    assert roles.trusts_sagemaker({"AssumeRolePolicyDocument": as_iam_sends_it}) is trusts
    assert not roles.trusts_sagemaker({})


def test_a_role_that_may_not_be_looked_up_names_the_permission():
    clients = Clients()
    denied = {"Error": {"Code": "AccessDenied", "Message": "no"}}
    answer_always(clients("iam"), "GetRole", denied, 403)
    with pytest.raises(AccessDenied, match="lacks the permission iam:GetRole on role Training"):
        cloud_facts(replace(SPEC, role="Training"), clients, False)


# ---- the image

CONFIG_DIGEST = "sha256:" + "c" * 64
MANIFEST = {"schemaVersion": 2, "config": {"digest": CONFIG_DIGEST}, "layers": []}
WHERE = {"registryId": ACCOUNT, "repositoryName": "team/mine"}


def stub_image(
    clients: Clients, tmp_path: Path, config: dict[str, Any], architectures: tuple[str, ...] = ()
) -> Stubber:
    """MINE with that configuration; with `architectures`: one of several under that name."""
    place = tmp_path / "config.json"
    place.write_text(json.dumps(config))
    ecr = Stubber(clients("ecr"))
    tagged = {"imageTag": "1"}
    if architectures:
        digests = {name: f"sha256:{number:064}" for number, name in enumerate(architectures)}
        entries = [
            {"digest": digest, "platform": {"os": "linux", "architecture": name}}
            for name, digest in digests.items()
        ]
        entries.append(
            {"digest": "sha256:a", "platform": {"os": "unknown", "architecture": "unknown"}}
        )
        add_manifest(ecr, tagged, {"manifests": entries}, "sha256:1")
        tagged = {"imageDigest": digests.get(config["architecture"], "none")}
    add_manifest(ecr, tagged, MANIFEST, "sha256:2")
    ecr.add_response(
        "get_download_url_for_layer",
        {"downloadUrl": place.as_uri()},
        {**WHERE, "layerDigest": CONFIG_DIGEST},
    )
    ecr.activate()
    return ecr


def add_manifest(ecr: Stubber, tagged: dict[str, str], manifest: Any, digest: str) -> None:
    image = {"imageId": {"imageDigest": digest}, "imageManifest": json.dumps(manifest)}
    asked = {**WHERE, "imageIds": [tagged], "acceptedMediaTypes": ANY}
    ecr.add_response("batch_get_image", {"images": [image], "failures": []}, asked)


def config(architecture: str = "amd64", **own: Any) -> dict[str, Any]:
    return {"architecture": architecture, "os": "linux", "config": own}


@pytest.mark.parametrize(
    ("own", "kind", "python_path", "travels"),
    [
        ({"Cmd": ["python3"]}, "plain", "", True),
        ({"Env": ["SAGEMAKER_PROGRAM=train.py", "PYTHONPATH=/a"]}, "toolkit", "/a", False),
        ({"Entrypoint": ["/usr/local/bin/train"]}, "toolkit", "", False),
        ({"Labels": {"sift-launcher.runtime": "this"}}, "ours", "", False),
    ],
)
def test_an_image_of_ecr_is_what_its_configuration_says(own, kind, python_path, travels, tmp_path):
    clients = Clients()
    ecr = stub_image(clients, tmp_path, config(**own))
    found = cloud_facts(replace(SPEC, image=MINE), clients, needs_runtime=False)
    assert (found.image.name, found.image.id) == (MINE, "sha256:2")
    assert (found.image.kind, found.image.python_path) == (kind, python_path)
    assert bool(found.runtime) == travels
    ecr.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("own", "travels"),
    [
        ({"Labels": {"sift-launcher.runtime": "this"}}, False),
        ({"Labels": {"sift-launcher.runtime": "of another release"}}, True),
        ({"Entrypoint": ["train"]}, True),
    ],
)
def test_a_runtime_that_is_needed_travels_unless_the_image_has_it(own, travels, tmp_path):
    clients = Clients()
    stub_image(clients, tmp_path, config(**own))
    found = cloud_facts(replace(SPEC, image=MINE), clients, needs_runtime=True)
    assert bool(found.runtime) == travels
    assert all(file.path.startswith(".sift/") for file in found.runtime)


def test_of_several_architectures_the_instances_is_read(tmp_path):
    clients = Clients()
    ecr = stub_image(clients, tmp_path, config("amd64"), architectures=("arm64", "amd64"))
    found = cloud_facts(replace(SPEC, image=MINE), clients, needs_runtime=False)
    assert (found.image.architecture, found.image.id) == ("amd64", "sha256:2")
    ecr.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("instance", "architecture", "architectures", "text"),
    [
        (
            "ml.g5.xlarge",
            "arm64",
            (),
            f"image {MINE} is for arm64, and ml.g5.xlarge runs amd64: build one for it, or choose "
            "another --instance",
        ),
        (
            "ml.p6e-gb200.36xlarge",
            "amd64",
            (),
            f"image {MINE} is for amd64, and ml.p6e-gb200.36xlarge runs arm64: build one for it, "
            "or choose another --instance",
        ),
        (
            "ml.g5.xlarge",
            "arm64",
            ("arm64", "riscv64"),
            f"image {MINE} is for arm64 and riscv64, and ml.g5.xlarge runs amd64: build one for "
            "it, or choose another --instance",
        ),
    ],
)
def test_an_image_of_another_architecture_is_refused(
    instance, architecture, architectures, text, tmp_path
):
    clients = Clients()
    stub_image(clients, tmp_path, config(architecture), architectures)
    with pytest.raises(ImageUnfit) as error:
        cloud_facts(replace(SPEC, image=MINE, instance=instance), clients, False)
    assert str(error.value) == text


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (
            "sift-training:cpu",
            "SageMaker pulls images from ECR alone, and sift-training:cpu is not there: "
            "sift-launch build --tag ACCOUNT.dkr.ecr.us-east-1.amazonaws.com/NAME:TAG --push puts "
            "one there, and --image stock is AWS's own",
        ),
        (
            "public.ecr.aws/deep-learning-containers/pytorch:2.13-cpu",
            "SageMaker pulls images from ECR alone, and "
            "public.ecr.aws/deep-learning-containers/pytorch:2.13-cpu is not there: sift-launch "
            "build --tag ACCOUNT.dkr.ecr.us-east-1.amazonaws.com/NAME:TAG --push puts one there, "
            "and --image stock is AWS's own",
        ),
        (
            f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/team/mine:1",
            f"image {ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/team/mine:1 lies in eu-west-1, and "
            "the job runs in us-east-1: push it to ECR of us-east-1, or run the job with --region "
            "eu-west-1",
        ),
        (
            MINE,
            f"looking up {MINE}: there is no such image: see aws ecr describe-images, or push it "
            "with sift-launch build --push",
        ),
    ],
)
def test_an_image_that_sagemaker_cannot_pull_is_refused(image, text):
    with pytest.raises(ImageUnfit) as error:
        cloud_facts(replace(SPEC, image=image), Clients(), False)
    assert str(error.value) == text


def test_a_tag_that_the_repository_lacks_is_refused(aws):
    Clients()("ecr").create_repository(repositoryName="team/mine")
    with pytest.raises(ImageUnfit) as error:
        cloud_facts(replace(SPEC, image=MINE), Clients(), False)
    assert str(error.value) == (
        f"there is no image {MINE} (Requested image not found): aws ecr list-images "
        "--repository-name team/mine shows those there are"
    )


def test_labels_that_cannot_be_fetched_are_told_as_such(tmp_path):
    clients = Clients()
    stub_image(clients, tmp_path, config())
    (tmp_path / "config.json").unlink()
    with pytest.raises(CloudUnreachable, match=f"the labels of image {MINE} cannot be read"):
        cloud_facts(replace(SPEC, image=MINE), clients, False)
