"""Playing SageMaker's instances on this machine: what runs in place of an `ml.*` one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

NOTICE_SECONDS = 120.0  # AWS's notice before a spot instance is taken


@dataclass(frozen=True)
class StandIn:
    """How a service on this machine runs requests that were written for the cloud."""

    runs: str
    """`process` or `local`: what an `ml.*` instance is played by."""

    python: str
    """The interpreter of a process."""

    image: str | None = None
    """The containers' image in place of the request's; None: the request's own."""

    endpoint: str | None = None
    """Where S3 answers; None: AWS itself."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """What every host finds besides, such as credentials for the endpoint."""

    interruptions: tuple[str, ...] = ()
    """When a spot job is interrupted: `30s` after training began, `50%` of its epochs."""

    notice_seconds: float = NOTICE_SECONDS
    """Between SIGTERM and SIGKILL of an interruption."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for the job's record."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StandIn:
        """The stand-in that `to_dict` wrote."""
        return cls(**{**values, "interruptions": tuple(values["interruptions"])})
