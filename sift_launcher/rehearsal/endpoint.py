"""Where a rehearsal answers, and the environment that leads there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener

from sift_launcher.errors import RehearsalError

if TYPE_CHECKING:
    from sift_launcher.rehearsal.account import Credentials

_PATIENCE_SECONDS = 60  # a server that is gone refuses at once; one on a busy machine is slow
_HOST = "127.0.0.1"


@dataclass(frozen=True)
class Endpoint:
    """The rehearsal that answers at `url`."""

    url: str
    environment: dict[str, str] = field(repr=False)
    """Variables under which every client of AWS talks to it and to nothing else."""

    def is_alive(self) -> bool:
        """Whether a rehearsal answers there."""
        try:
            return "rehearsal" in self._ask("")
        except RehearsalError:
            return False

    def stage(self, job: str, **how: Any) -> None:
        """Says how the job that will be named so is played: `at`, `notice_seconds`, `runs`,
        `python`; see StandIn."""
        self._ask("/interruptions", {"job": job} | how)

    def interrupt(self, job: str) -> None:
        """Takes the instances of the spot job, as of now."""
        self._ask("/interrupt", {"job": job})

    def _ask(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        key = self.environment["AWS_ACCESS_KEY_ID"]
        request = Request(
            f"{self.url}/_rehearsal{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Credential={key}/"},
        )
        try:
            # No proxy leads to this machine.
            with build_opener(ProxyHandler({})).open(request, timeout=_PATIENCE_SECONDS) as answer:
                told: dict[str, Any] = json.load(answer)
        except HTTPError as error:
            with error:
                raise RehearsalError(f"the rehearsal refuses: {_message(error)}") from error
        except (URLError, OSError, ValueError) as error:
            raise RehearsalError(
                f"no rehearsal answers at {self.url} ({error}): sift-launch rehearsal serve "
                "starts one"
            ) from error
        return told


def environment(url: str, credentials: Credentials, sdk_config: Path) -> dict[str, str]:
    """The variables that lead to the rehearsal at `url`; see Endpoint."""
    from sift_launcher.rehearsal.account import REGION

    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret,
        "AWS_SESSION_TOKEN": credentials.token,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # SageMaker's SDK asks for its bucket at an STS that no variable leads elsewhere.
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(sdk_config),
    } | _no_proxy()


def in_the_way(variables: Mapping[str, str]) -> Sequence[str]:
    """The names among `variables` that would lead a client of AWS elsewhere."""
    keep = ("AWS_CA_BUNDLE",)  # a machine's own way to the world outside
    return [name for name in variables if name.startswith("AWS_") and name not in keep]


def lead_to_this_machine() -> None:
    """Takes out of this process's environment what would lead a client of AWS elsewhere."""
    for name in in_the_way(os.environ):
        del os.environ[name]
    os.environ.update(_no_proxy())


def _no_proxy() -> dict[str, str]:
    known = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    direct = (
        known if known and _HOST in known.split(",") else ",".join(filter(None, (known, _HOST)))
    )
    return {"NO_PROXY": direct, "no_proxy": direct}


def _message(error: HTTPError) -> str:
    try:
        return str(json.load(error)["message"])
    except (ValueError, KeyError, TypeError, OSError):
        return str(error)
