"""Pushing an image to Amazon's registry. The token is held in memory and nowhere else."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sift_launcher.engine import engine_address, reached
from sift_launcher.errors import OptionError, PushFailed

if TYPE_CHECKING:
    from docker import DockerClient

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?"
    r"/(?P<name>[a-z0-9][a-z0-9._/-]*)(?::[A-Za-z0-9_.-]+)?"
)


@dataclass(frozen=True)
class Repository:
    """A repository of ECR."""

    account: str
    region: str
    name: str


@dataclass(frozen=True)
class Login:
    """What a registry asks for."""

    username: str
    password: str = field(repr=False)


def parse_repository(image: str) -> Repository:
    """The repository that an image's name speaks of. Raises OptionError when it is not ECR's."""
    found = _ECR.fullmatch(image)
    if found is None:
        raise OptionError(
            f"--push goes to Amazon's ECR, and {image} is no name there: write it as "
            "--tag ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME:TAG, ACCOUNT in twelve digits"
        )
    return Repository(**found.groupdict())


def log_in(repository: Repository) -> Login:
    """Creates the repository if it is missing, and asks for a token, which holds 12 hours.

    Raises PushFailed, with the mend: no boto3, no credentials, or no permission.
    """
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
    except ImportError as error:
        raise PushFailed("pushing needs boto3: pip install 'sift-launcher[cloud]'") from error
    where = f"ECR of account {repository.account} in {repository.region}"
    try:
        ecr = boto3.client("ecr", region_name=repository.region)
        _create_repository(ecr, repository)
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    except NoCredentialsError as error:
        raise PushFailed(
            "there are no AWS credentials: aws configure stores some, or set AWS_PROFILE"
        ) from error
    except ClientError as error:
        raise PushFailed(f"{where} refuses: {_refusal(error.response)}") from error
    except BotoCoreError as error:
        raise PushFailed(f"{where} is not reached: {error}") from error
    username, _, password = base64.b64decode(token).decode("utf-8").partition(":")
    return Login(username, password)


def push(client: DockerClient, image: str, login: Login, report: Callable[[str], None]) -> str:
    """Pushes the image and gives its digest, `sha256:…`; `report` gets how far it is.

    Raises PushFailed with the registry's own words.
    """
    from docker.errors import APIError

    auth = {"username": login.username, "password": login.password}
    digest = ""
    with reached(engine_address()):
        try:
            for event in client.api.push(image, auth_config=auth, stream=True, decode=True):
                if "error" in event:
                    raise PushFailed(f"pushing {image} failed: {event['error']}")
                digest = (event.get("aux") or {}).get("Digest", digest)
                if event.get("id"):
                    progress = event.get("progress", "")
                    report(f"push · {event['id']} {event.get('status', '')} {progress}".rstrip())
        except APIError as error:
            told = error.explanation or str(error)
            raise PushFailed(f"pushing {image} failed: {told}") from error
    return digest


def _create_repository(ecr: Any, repository: Repository) -> None:
    named = {"registryId": repository.account}
    try:
        ecr.describe_repositories(repositoryNames=[repository.name], **named)
    except ecr.exceptions.RepositoryNotFoundException:
        ecr.create_repository(repositoryName=repository.name, **named)


def _refusal(response: dict[str, Any]) -> str:
    error = response.get("Error", {})
    code, text = error.get("Code", ""), error.get("Message", "")
    if "AccessDenied" in code:
        return (
            f"{text}; it needs ecr:DescribeRepositories, ecr:CreateRepository, "
            "ecr:GetAuthorizationToken and the permissions to push"
        )
    if code in ("ExpiredTokenException", "UnrecognizedClientException", "InvalidClientTokenId"):
        return f"{text}; log in anew (aws sso login, or aws configure)"
    return f"{code}: {text}"
