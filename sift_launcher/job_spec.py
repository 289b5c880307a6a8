"""What the user asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from sift_launcher.local.machine import MachineShare
from smart_sifting.sift_config.job_config import SiftConfig

HyperParameter: TypeAlias = "str | int | float | bool | None"

DEFAULT_OUTPUT = Path("sift-output")
DEFAULT_MAX_RUN_SECONDS = 24 * 60 * 60  # SageMaker's own default


@dataclass(frozen=True)
class Channel:
    """Where the data of a channel lies, and how the hosts get it."""

    place: str
    """A folder or file of this machine, or `s3://bucket/prefix`."""

    sharded: bool = False
    """Each host gets its share of the files (SageMaker's ShardedByS3Key), not all of them."""

    input_mode: str | None = None
    """`File` or `FastFile`; None: the job's."""

    @property
    def is_in_s3(self) -> bool:
        """Whether the data lies in S3 already."""
        return self.place.startswith("s3://")


@dataclass(frozen=True)
class JobSpec:
    """A training job in the user's own terms; `plan` turns it into a request.

    Paths may be relative: they are read from the folder of the command.
    """

    script: str
    """The training script, a `.py` or `.sh` file."""

    arguments: tuple[str, ...] = ()
    """What the script gets on its command line, exactly as typed."""

    instance: str = "process"
    """Where the job runs: `process` is the user's own interpreter on this machine, `local` a
    Docker container on it, `local_gpu` one with its GPUs."""

    count: int = 1
    """How many hosts the job has, each a container of its own."""

    image: str | None = None
    """The image of the containers; `stock` is AWS's own, None ours."""

    share: MachineShare = field(default_factory=MachineShare)
    """What each container gets of this machine."""

    distribution: str | None = None
    """`torchrun` starts the script as ranks of one training over all hosts, `none` starts it once
    on each; None: torchrun when a Python script has more than one host."""

    source_dir: Path | None = None
    """The folder that travels with the job; None: the folder of the script."""

    hyperparameters: Mapping[str, HyperParameter] = field(default_factory=dict)
    """Typed values, as the estimator takes them; they reach the script as `--key value`."""

    channels: Mapping[str, Path] = field(default_factory=dict)
    """Data folders or files by channel name; the script finds them in `SM_CHANNEL_<NAME>`."""

    sift_config: SiftConfig | None = field(default_factory=SiftConfig)
    """How the job sifts its samples; None: a plain job."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the job."""

    name: str | None = None
    """The job's name; None: made of the script's name, the time and a few random letters."""

    output: Path = DEFAULT_OUTPUT
    """The folder in which `<name>/output/model.tar.gz` and the rest are put."""

    max_run_seconds: int = DEFAULT_MAX_RUN_SECONDS
    """The job is stopped when it has trained this long."""

    python: str | None = None
    """The interpreter of a process; None: the one that runs the launcher."""
