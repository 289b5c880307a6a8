"""The role that a job runs under: which one, and whether SageMaker may take it on.

Source: the guide's page "How to use SageMaker execution roles".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.errors import AccessDenied, RoleError, SiftLaunchError

SERVICE = "sagemaker.amazonaws.com"
ROLE_ARN = re.compile(
    r"arn:(?P<partition>aws[a-z-]*):iam::(?P<account>\d{12}):role/(?P<path>(?:[^/\s]+/)*)(?P<name>[\w+=,.@-]+)"
)
_ASSUMED = re.compile(r"arn:[a-z-]+:sts::\d{12}:assumed-role/(?P<name>[\w+=,.@-]+)/")
# Where SageMaker's notebooks say whose they are.
NOTEBOOK = Path("/opt/ml/metadata/resource-metadata.json")
_SHOWN = 3
_MAKE = "https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html says how to make one"


def find_role(wished: str | None, clients: Clients, identity: Callable[[], str]) -> str:
    """The ARN of the role `wished`, a name or an ARN. None: that of the SageMaker notebook that
    this runs in, else the caller's own, else the only one of the account, if SageMaker may take it
    on. `identity` tells the caller's ARN.

    Raises RoleError with what to type when there is none, it is of another account, or several
    could be meant.
    """
    if wished is None:
        return _own_role(clients, identity())
    if not wished.startswith("arn:"):
        return str(get_role(clients, wished.rpartition("/")[2])["Arn"])
    account = identity().split(":")[4]
    found = ROLE_ARN.fullmatch(wished)
    if found is None:
        raise RoleError(
            f"--role {wished} is no role's ARN: write a role's name, or "
            f"arn:aws:iam::{account}:role/NAME"
        )
    if found["account"] != account:
        raise RoleError(
            f"--role {wished} is of account {found['account']}, and these credentials are of "
            f"{account}: name a role of {account}, or --profile one of {found['account']}"
        )
    return wished


def get_role(clients: Clients, name: str) -> Mapping[str, Any]:
    """What IAM knows of role `name`. Raises RoleError when there is none of that name."""
    with explained(f"iam:GetRole on role {name}", f"looking up role {name}", clients.profile):
        role: Mapping[str, Any] = clients("iam").get_role(RoleName=name)["Role"]
    return role


def trusts_sagemaker(role: Mapping[str, Any]) -> bool:
    """Whether SageMaker may take on `role`, as IAM describes it."""
    document = role.get("AssumeRolePolicyDocument") or {}
    if isinstance(document, str):
        document = json.loads(unquote(document))
    return any(_lets_in(statement) for statement in _listed(document.get("Statement")))


def training_roles(clients: Clients) -> Iterator[str]:
    """The ARNs of all roles that SageMaker may take on."""
    with explained("iam:ListRoles", "listing the roles", clients.profile):
        for page in clients("iam").get_paginator("list_roles").paginate():
            for role in page["Roles"]:
                if trusts_sagemaker(role):
                    yield str(role["Arn"])


def _own_role(clients: Clients, identity: str) -> str:
    with suppress(OSError, ValueError, KeyError):  # no notebook of SageMaker's
        return str(json.loads(NOTEBOOK.read_text("utf-8"))["ExecutionRoleArn"])
    if assumed := _ASSUMED.match(identity):
        with suppress(AccessDenied, RoleError):  # one that may look up nothing is no training role
            role = get_role(clients, assumed["name"])
            if trusts_sagemaker(role):
                return str(role["Arn"])
    try:
        known = sorted(islice(training_roles(clients), _SHOWN))
    except SiftLaunchError:  # what is missing is the role, not the right to list roles
        known = []
    if len(known) == 1:
        return known[0]
    names = [arn.rpartition("/")[2] for arn in known]
    raise RoleError(
        f"a job in SageMaker runs under a role: name one that {SERVICE} may take on, "
        f"--role NAME, {'such as ' + ' or '.join(names) if names else _MAKE}"
    )


def _lets_in(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal", {})
    services = _listed(principal.get("Service")) if isinstance(principal, Mapping) else [principal]
    actions = _listed(statement.get("Action"))
    return (
        statement.get("Effect") == "Allow"
        and any(each in (SERVICE, "*") for each in services)
        and any(each in ("sts:AssumeRole", "sts:*", "*") for each in actions)
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
