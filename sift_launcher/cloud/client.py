"""The way to AWS's APIs: which account, which region, and one client a service.

On botocore alone: boto3 adds a tenth of a second to every command, and nothing that is used here.
"""

from __future__ import annotations

import os
import re
import threading
from difflib import get_close_matches
from functools import cache
from typing import Any

from sift_launcher.errors import CredentialsError, ExtraMissing, RegionError

_CONNECT_SECONDS = 5
_READ_SECONDS = 60
_ATTEMPTS = 5  # with waits between them that grow: throttling ends within seconds
_ASKED_ONCE = ("pricing",)  # no plan waits for prices
_CONNECTIONS = 32
_REGION = re.compile(r"[a-z]{2,4}(-[a-z]+){1,3}-\d")
_SET_REGION = "--region us-east-1, or export AWS_REGION=us-east-1"


class Clients:
    """Clients of one account and region, made when they are first asked for, once each.

    Threads may share it, and the clients. Nothing is asked of AWS before a client is used.
    """

    def __init__(
        self,
        region: str | None = None,
        profile: str | None = None,
        endpoint: str | None = None,
        *,
        connect_seconds: float = _CONNECT_SECONDS,
        read_seconds: float = _READ_SECONDS,
        attempts: int = _ATTEMPTS,
    ) -> None:
        """None stands for what the environment, else the profile, says.

        Raises ExtraMissing without botocore, CredentialsError for a profile that nobody wrote,
        and RegionError when no region is set.
        """
        require_botocore()
        from botocore.config import Config
        from botocore.session import Session

        self.session: Any = Session(profile=profile or None)
        """botocore's own: whoever needs other clients of the same account may build on it, and
        does not read the service's models again."""

        self.profile: str | None = profile or os.environ.get("AWS_PROFILE") or None
        """The profile that counts, None when it is the default one."""

        self.region: str = self._region(region)
        self.endpoint: str | None = endpoint or self._endpoint()
        """Of a stand-in for AWS; None: AWS itself."""

        self._wished_endpoint = endpoint
        folders = self.session.get_config_variable("data_path")
        self.session.register_component("data_loader", _descriptions(folders))
        self._config = Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            max_pool_connections=_CONNECTIONS,
            user_agent_extra="sift-launcher",
        )
        self._lock = threading.RLock()
        self._made: dict[str, Any] = {}

    def __call__(self, service: str) -> Any:
        """The client of `service`, as botocore names it: `s3`, `logs`, `service-quotas`."""
        with self._lock:  # sessions are not made for threads; clients are
            if service not in self._made:
                config = self._config
                if service in _ASKED_ONCE:
                    config = config.merge(type(config)(retries={"total_max_attempts": 1}))
                self._made[service] = self.session.create_client(
                    service,
                    region_name=_home(service, self.region),
                    endpoint_url=self._wished_endpoint,  # others botocore finds, by service
                    config=config,
                )
            return self._made[service]

    def _region(self, wished: str | None) -> str:
        from botocore.exceptions import ProfileNotFound

        try:
            # botocore itself does not read AWS_REGION, which AWS's other tools do.
            found = (
                wished
                or os.environ.get("AWS_REGION")
                or os.environ.get("AWS_DEFAULT_REGION")
                or self.session.get_config_variable("region")
            )
            self.session.get_scoped_config()  # a profile that is not there shows itself here
        except ProfileNotFound:
            raise CredentialsError(self._no_such_profile()) from None
        if not found:
            raise RegionError(f"no AWS region is set: {_SET_REGION}")
        region = str(found)
        if not _REGION.fullmatch(region):
            raise RegionError(f"{region!r} is not a region's name: write {_SET_REGION}")
        return region

    def _endpoint(self) -> str | None:
        if self.session.get_config_variable("ignore_configured_endpoint_urls"):
            return None
        settings = self.session.get_scoped_config()
        return os.environ.get("AWS_ENDPOINT_URL") or settings.get("endpoint_url") or None

    def _no_such_profile(self) -> str:
        known = sorted(self.session.available_profiles)
        near = get_close_matches(str(self.profile), known, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        there = f"there are {', '.join(known)}" if known else "there is none at all"
        return (
            f"there is no AWS profile {self.profile!r}{hint}: {there}; "
            f"aws configure --profile {self.profile} writes it"
        )


def require_botocore() -> str:
    """The folder of botocore, found without importing it. Raises ExtraMissing when it is not
    installed."""
    from importlib.util import find_spec

    spec = find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise ExtraMissing(
            "jobs in SageMaker need AWS's packages: pip install 'sift-launcher[cloud]'"
        )
    return str(spec.submodule_search_locations[0])


@cache
def _descriptions(folders: str | None) -> Any:
    """botocore's reader of the services' descriptions, which are read once in a process."""
    from botocore.loaders import create_loader

    return create_loader(folders)


def _home(service: str, region: str) -> str:
    """The region in which `service` answers. Source: the Pricing API's guide, which has three
    homes and tells every region's prices in each."""
    if service != "pricing":
        return region
    return "cn-northwest-1" if region.startswith("cn-") else "us-east-1"
