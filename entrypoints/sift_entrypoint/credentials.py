"""The AWS credentials of a job, from where AWS's own libraries find them, in their order.

docs.aws.amazon.com/sdkref/latest/guide/feature-container-credentials.html and
docs.aws.amazon.com/sdkref/latest/guide/feature-imds-credentials.html
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from .errors import CodeError
from .web import Refused, get, repeated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_CONTAINER = "http://169.254.170.2"
_MACHINE = "http://169.254.169.254"
_ROLES = "/latest/meta-data/iam/security-credentials/"
# A token is sent in the clear to these alone.
_WITHOUT_TLS = frozenset(
    {"localhost", "127.0.0.1", "::1", "169.254.170.2", "169.254.170.23", "fd00:ec2::23"}
)
_TIMEOUT = 2.0  # outside of AWS nobody answers
_WAITS = (0.5, 1.0)
_MEND = "give the job a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


class Credentials:
    """What a request is signed with, and ``owner``: in words, whose it is."""

    __slots__ = ("key", "owner", "secret", "token")

    def __init__(self, key: str, secret: str, token: str, owner: str) -> None:
        self.key = key
        self.secret = secret
        self.token = token
        self.owner = owner


def find(variables: Mapping[str, str], pause: Callable[[float], None]) -> Credentials:
    """Those of the environment, else of the container's role, else of the machine's."""
    key, secret = variables.get("AWS_ACCESS_KEY_ID"), variables.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:
        token = variables.get("AWS_SESSION_TOKEN", "")
        return Credentials(key, secret, token, f"the owner of access key {key}")
    if relative := variables.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        return _of_container(_CONTAINER + relative, variables, pause)
    if full := variables.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return _of_container(full, variables, pause)
    if variables.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        raise CodeError(f"no AWS credentials: {_MEND}")
    return _of_machine(variables, pause)


def _of_container(
    url: str, variables: Mapping[str, str], pause: Callable[[float], None]
) -> Credentials:
    parts = urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in _WITHOUT_TLS:
        raise CodeError(
            f"AWS_CONTAINER_CREDENTIALS_FULL_URI is {url}: without https it must be this machine's"
        )
    token = variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    if path := variables.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        token = _read(path)
    headers = {"Authorization": token} if token else {}
    return _parsed(_ask(url, headers, pause), url, "the job's role")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except OSError as error:
        raise CodeError(
            f"cannot read {path}, which AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names: "
            f"{error.strerror}"
        ) from error


def _of_machine(variables: Mapping[str, str], pause: Callable[[float], None]) -> Credentials:
    machine = variables.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", _MACHINE).rstrip("/")
    wish = {"X-aws-ec2-metadata-token-ttl-seconds": "21600"}
    token = _ask(f"{machine}/latest/api/token", wish, pause, "PUT").decode()
    headers = {"X-aws-ec2-metadata-token": token}
    role = _ask(f"{machine}{_ROLES}", headers, pause).decode().strip()
    url = f"{machine}{_ROLES}{role}"
    return _parsed(_ask(url, headers, pause), url, f"role {role}")


def _ask(
    url: str, headers: Mapping[str, str], pause: Callable[[float], None], method: str = "GET"
) -> bytes:
    def attempt() -> bytes:
        with get(url, headers, _TIMEOUT, method, proxied=False) as answer:
            return answer.read()

    try:
        return repeated(attempt, f"no AWS credentials ({_MEND})", pause, _WAITS)
    except Refused as error:
        raise CodeError(f"no AWS credentials: {url} answers {error}: {_MEND}") from error


def _parsed(answer: bytes, url: str, owner: str) -> Credentials:
    try:
        found = json.loads(answer)
        owner = found.get("RoleArn") or owner
        return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["Token"], owner)
    except (ValueError, KeyError, AttributeError) as error:
        raise CodeError(f"no AWS credentials: {url} answers none: {_MEND}") from error
