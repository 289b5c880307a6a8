"""The account, the region, the role, the image and the prices of a job, asked of AWS at once."""

from __future__ import annotations

from sift_launcher.bundle import CodeFile
from sift_launcher.carried import carried_files
from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.cloud.facts import Cloud
from sift_launcher.cloud.images import image_facts
from sift_launcher.cloud.prices import ask_prices
from sift_launcher.cloud.question import Question
from sift_launcher.cloud.regions import check_region
from sift_launcher.cloud.roles import find_role
from sift_launcher.images import ImageFacts
from sift_launcher.job_spec import JobSpec
from sift_launcher.runtime import runtime_digest

PRICE_SECONDS = 1.0
"""How long a plan waits for prices that are not known yet."""


def cloud_facts(
    spec: JobSpec, clients: Clients, needs_runtime: bool, price_seconds: float = PRICE_SECONDS
) -> Cloud:
    """What the plan of `spec` depends on in AWS; uploads are not looked at.

    `needs_runtime`: the job needs the sifting runtime, wherever it comes from. Prices that do not
    come within `price_seconds` are left out, with the reason.

    Raises RegionError, CredentialsError, RoleError, ImageUnfit, CloudUnreachable with what to type.
    """
    if clients.endpoint is None:  # a stand-in for AWS has every region
        check_region(clients.region)
    asked = ask_prices(spec, clients)
    who = Question(lambda: caller(clients))
    role = Question(lambda: find_role(spec.role, clients, who.answer))
    image = Question(lambda: image_facts(spec.image, spec.instance, clients))
    _, partition, _, _, account, *_ = who.answer().split(":")
    role_arn, facts = role.answer(), image.answer()
    prices, problem = asked.answer(price_seconds)
    return Cloud(
        region=clients.region,
        account=account,
        role_arn=role_arn,
        bucket=default_bucket(clients.region, account),
        image=facts,
        partition=partition,
        prices=prices,
        price_problem=problem,
        runtime=_travelling(facts, needs_runtime),
        profile=clients.profile,
        endpoint=clients.endpoint,
    )


def caller(clients: Clients) -> str:
    """The ARN of whoever the credentials belong to."""
    with explained("sts:GetCallerIdentity", "asking who this is", clients.profile):
        return str(clients("sts").get_caller_identity()["Arn"])


def default_bucket(region: str, account: str) -> str:
    """The bucket that the SDK makes and uses where none is named."""
    return f"sagemaker-{region}-{account}"


def _travelling(image: ImageFacts, is_needed: bool) -> tuple[CodeFile, ...]:
    if image.kind == "ours":
        return () if image.runtime == runtime_digest() or not is_needed else carried_files()
    # An image's own `train` does without it, unless there is something for it to do.
    return carried_files() if is_needed or image.kind == "plain" else ()
