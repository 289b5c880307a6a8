"""What a plan for SageMaker depends on beyond the job's specification, read from AWS once."""

from __future__ import annotations

from dataclasses import dataclass

from sift_launcher.bundle import CodeFile
from sift_launcher.images import ImageFacts


@dataclass(frozen=True)
class Prices:
    """US dollars per hour and instance."""

    on_demand: float
    spot_estimate: float | None = None
    """What managed spot is likely to cost; nobody publishes it, so it is told as an estimate."""

    source: str = ""
    """Where it is from, in a few words: `AWS Pricing API, 2026-11-21`, `--price`."""


@dataclass(frozen=True)
class Upload:
    """A channel's local data, to be uploaded to `uri` unless it is there already."""

    channel: str
    source: str
    """The absolute path of the folder or file."""

    uri: str
    """`s3://bucket/sift-data/<digest of the content>/`, or a file below it."""

    files: tuple[CodeFile, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Cloud:
    """An account and a region at one moment, as far as a plan depends on them."""

    region: str
    account: str
    """Twelve digits."""

    role_arn: str
    bucket: str
    """The default bucket, `sagemaker-<region>-<account>`."""

    image: ImageFacts
    partition: str = "aws"
    prices: Prices | None = None
    """None: they could not be had, and `price_problem` says why."""

    price_problem: str = ""
    runtime: tuple[CodeFile, ...] = ()
    """The sifting runtime's files, where they travel with the code."""

    uploads: tuple[Upload, ...] = ()
    profile: str | None = None
    endpoint: str | None = None
    """Of a stand-in for AWS, such as a rehearsal's; None: AWS itself."""
