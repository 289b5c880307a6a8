"""What `sift-launch doctor` has seen. Plain data, so that judging it is pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from sift_launcher.engine import EngineTraits
from sift_launcher.images import ImageFacts


@dataclass(frozen=True)
class PythonFacts:
    """An interpreter and the torch that it would import."""

    where: str
    version: tuple[int, int, int] | None = None
    torch: str | None = None
    """The version of torch, as 2.13.0+cpu; None when there is none."""

    problem: str = ""
    """Why it could not be asked, in one line."""


@dataclass(frozen=True)
class CloudFacts:
    """What AWS would need to know."""

    has_botocore: bool
    python: str
    """The interpreter that botocore would be installed in."""

    region: str | None = None
    identity: str | None = None
    """The ARN of whoever the credentials belong to."""

    identity_problem: str = ""
    role: str | None = None
    """The ARN of a role that SageMaker may take on."""

    role_problem: str = ""
    quota: str | None = None
    """How many instances of the wished type may train at once, in words; None also where the
    instance is none of SageMaker's."""

    quota_problem: str = ""


@dataclass(frozen=True)
class Facts:
    """This machine at one moment, as far as a job on `instance` depends on it."""

    instance: str
    image_name: str
    python: PythonFacts
    shm_bytes: int
    """The size of this machine's own /dev/shm."""

    address: str
    socket: str
    """What the address is: `open`, `closed` to this user, `none` (no such file), `remote`."""

    engine: EngineTraits | None = None
    engine_problem: str = ""
    free_bytes: int | None = None
    """Room where the engine keeps images; None when that cannot be seen from here."""

    image: ImageFacts | None = None
    image_problem: str = ""
    inside: PythonFacts | None = None
    """The Python in the image; None when it was not asked."""

    cloud: CloudFacts = field(default_factory=lambda: CloudFacts(False, "python3"))
