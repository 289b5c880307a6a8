"""What each container of a job gets of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class MachineShare:
    """A host's share of the machine; it is not SageMaker's to grant, so no request has it.

    None leaves each to the engine, but for `shm_bytes`: then half of the memory that the host has.
    """

    shm_bytes: int | None = None
    """The most that /dev/shm may hold, where DataLoader workers put their batches."""

    memory_bytes: int | None = None
    """A host that wants more is killed."""

    cpus: float | None = None
    """Processors' worth of time."""

    platform: str | None = None
    """Operating system and architecture of the image, such as `linux/amd64`."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for the job's record."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MachineShare:
        """The share that `to_dict` wrote."""
        return cls(**values)
