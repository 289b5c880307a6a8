"""What the user asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from sift_launcher.local.machine import MachineShare
from smart_sifting.sift_config.job_config import SiftConfig

HyperParameter: TypeAlias = "str | int | float | bool | None"

DEFAULT_OUTPUT = "sift-output"
DEFAULT_MAX_RUN_SECONDS = 24 * 60 * 60  # SageMaker's own default
DEFAULT_VOLUME_SIZE_GB = 30  # the SDK's

FILE = "File"
FAST_FILE = "FastFile"
INPUT_MODES = (FILE, FAST_FILE)
S3 = "s3://"


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
        return self.place.startswith(S3)


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
    Docker container on it, `local_gpu` one with its GPUs; `ml.*` are SageMaker's instances."""

    count: int = 1
    """How many hosts the job has, each a container or an instance of its own."""

    image: str | None = None
    """The image of the containers; `stock` is AWS's own. None: ours on this machine, AWS's own in
    SageMaker."""

    share: MachineShare = field(default_factory=MachineShare)
    """What each container gets of this machine."""

    distribution: str | None = None
    """`torchrun` starts the script as ranks of one training over all hosts, `none` starts it once
    on each; None: torchrun when a Python script has more than one host."""

    source_dir: Path | None = None
    """The folder that travels with the job; None: the folder of the script."""

    hyperparameters: Mapping[str, HyperParameter] = field(default_factory=dict)
    """Typed values, as the estimator takes them; they reach the script as `--key value`."""

    channels: Mapping[str, Channel] = field(default_factory=dict)
    """Data by channel name; the script finds it in `SM_CHANNEL_<NAME>`."""

    input_mode: str = FILE
    """How the hosts get the channels that do not say so themselves: `File` or `FastFile`."""

    sift_config: SiftConfig | None = field(default_factory=SiftConfig)
    """How the job sifts its samples; None: a plain job."""

    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables of the job."""

    name: str | None = None
    """The job's name; None: made of the script's name, the time and a few random letters."""

    output: str | None = None
    """Where `<name>/output/model.tar.gz` and the rest are put: a folder, or `s3://bucket/prefix` of
    a job in SageMaker. None: `sift-output` here, the account's default bucket there."""

    checkpoint: str | None = None
    """Where checkpoints are kept, and found by the job when it starts: a folder, or `s3://...` of a
    job in SageMaker. None: a place of the job's own here, and there with `spot`; else nowhere."""

    max_run_seconds: int = DEFAULT_MAX_RUN_SECONDS
    """The job is stopped when it has trained this long."""

    metrics: Mapping[str, str] = field(default_factory=dict)
    """By name, the regular expression that finds its value in a line of the log."""

    tags: Mapping[str, str] = field(default_factory=dict)
    """The job's tags."""

    allow: tuple[str, ...] = ()
    """Files, or rules, of what looks like a secret and is none."""

    python: str | None = None
    """The interpreter of a process; None: the one that runs the launcher."""

    # What only SageMaker grants.

    role: str | None = None
    """The role that the job runs under, by ARN or name; None: the one that can be found."""

    region: str | None = None
    """None: the environment's, or the profile's."""

    profile: str | None = None
    """The AWS profile; None: the environment's."""

    spot: bool = False
    """On instances that cost less and can be taken away; the job then resumes on others."""

    max_wait_seconds: int | None = None
    """The most that the job may take with all its waiting for spot instances."""

    volume_size_gb: int | None = None
    """Of each host's volume; None: 30."""

    kms_key: str | None = None
    """What the code, the uploads and the outputs are encrypted with, by id, ARN or alias."""

    subnets: tuple[str, ...] = ()
    security_groups: tuple[str, ...] = ()
    network_isolation: bool = False
    """The hosts reach no network at all."""

    keep_alive_seconds: int | None = None
    """How long the instances are kept for the next job, and paid for."""

    retries: int | None = None
    """How often the job is tried again after an error of SageMaker's own."""

    price_dollars: float | None = None
    """What an hour of an instance costs, where AWS does not say."""
