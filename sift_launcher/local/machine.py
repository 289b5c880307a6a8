"""What each container of a job gets of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sift_launcher.bundle import megabytes
from sift_launcher.errors import OptionError

if TYPE_CHECKING:
    from sift_launcher.engine import EngineTraits

_LEAST_MEMORY = 6 * 1024 * 1024  # Docker's own
_LEAST_CPUS = 0.01


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

    def check(self, engine: EngineTraits) -> None:
        """Raises OptionError for more than `engine` has, or less than it grants."""
        for option, limit in (("--memory", self.memory_bytes), ("--cpus", self.cpus)):
            if limit is not None and not engine.has_limits:
                raise OptionError(
                    f"{option}: this engine cannot hold a container to a limit, as a rootless one "
                    f"without cgroups v2; leave {option} out"
                )
        if self.memory_bytes is not None and self.memory_bytes < _LEAST_MEMORY:
            raise OptionError(
                f"--memory: the engine grants no less than {megabytes(_LEAST_MEMORY)}"
            )
        if self.cpus is not None and self.cpus < _LEAST_CPUS:
            raise OptionError(f"--cpus {self.cpus:g}: the engine grants no less than {_LEAST_CPUS}")
        if self.cpus is not None and self.cpus > engine.cpus:
            raise OptionError(
                f"--cpus {self.cpus:g}: the engine has {engine.cpus}; ask for no more"
            )
        for option, size in (("--memory", self.memory_bytes), ("--shm-size", self.shm_bytes)):
            if size is not None and size > engine.memory_bytes:
                raise OptionError(
                    f"{option}: {megabytes(size)} is more than the "
                    f"{megabytes(engine.memory_bytes)} that the engine has; ask for less"
                )
