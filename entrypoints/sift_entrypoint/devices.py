"""What this host can compute with. Counted by the vendors' own tools, never by importing torch."""

from __future__ import annotations

import json
import os

_TRN2_CORES = 64


class Devices:
    """How many processors of each kind the job sees."""

    __slots__ = ("cpus", "gpus", "neurons")

    def __init__(self, cpus: int, gpus: int, neurons: int) -> None:
        self.cpus = cpus
        self.gpus = gpus
        self.neurons = neurons

    @property
    def processes(self) -> int:
        """Ranks to start on this host where nobody says otherwise: one for each accelerator."""
        return self.gpus or self.neurons or 1


def count(instance_type: str) -> Devices:
    """Count this host's devices. A host without a vendor's tool has none of its devices."""
    return Devices(os.cpu_count() or 1, _gpus(), _neurons(instance_type))


def _gpus() -> int:
    listed = _output("nvidia-smi", "--list-gpus")
    return sum(line.startswith("GPU ") for line in listed.splitlines())


def _neurons(instance_type: str) -> int:
    if "trn2.48xlarge" in instance_type:
        return _TRN2_CORES
    listed = _output("neuron-ls", "-j")
    return sum(item.get("nc_count", 0) for item in json.loads(listed)) if listed else 0


def _output(tool: str, argument: str) -> str:
    """What ``tool argument`` prints, or nothing where it is absent or fails."""
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if not any(os.access(os.path.join(folder, tool), os.X_OK) for folder in folders):
        return ""
    import subprocess  # most hosts have no such tool, and the import costs start-up time

    done = subprocess.run(
        [tool, argument], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    )
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""
