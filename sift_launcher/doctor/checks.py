"""From what was seen to a line each: in order, or what to type. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sift_launcher.bundle import megabytes
from sift_launcher.doctor.facts import CloudFacts, Facts, PythonFacts
from sift_launcher.engine import EngineTraits, check_gpu
from sift_launcher.errors import DeviceUnavailable, ExtraMissing, InstanceNotServed
from sift_launcher.instances import LOCAL_GPU, PROCESS, check_instance, is_cloud, is_container

OLDEST_PYTHON = (3, 10)
ROOM_BYTES = 5_000_000_000  # our image, its build, and a job's outputs
SHM_BYTES = 1_000_000_000

_TRUST = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole",'
    '"Principal":{"Service":"sagemaker.amazonaws.com"}}]}'
)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    is_ok: bool
    is_needed: bool
    """Whether the wished instance cannot run without it."""

    told: str
    """What there is, or what is wrong."""

    mend: str = ""
    """What to type when it is not in order."""

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return asdict(self)


def examine(facts: Facts) -> list[Check]:
    """All checks, in the order in which a job meets them."""
    in_container = is_container(facts.instance)
    in_cloud = is_cloud(facts.instance)
    return [
        _instance(facts.instance),
        *_python(facts.python, facts.instance == PROCESS),
        _shm(facts, facts.instance == PROCESS),
        *_engine(facts, in_container),
        *_image(facts, in_container),
        _nvidia(facts.engine, facts.instance == LOCAL_GPU),
        *_cloud(facts.cloud, in_cloud),
    ]


def can_run(checks: list[Check]) -> bool:
    """Whether the wished instance can run."""
    return all(check.is_ok for check in checks if check.is_needed)


def _instance(instance: str) -> Check:
    try:
        check_instance(instance)
    except (InstanceNotServed, ExtraMissing) as error:
        return Check("instance", False, True, str(error))
    return Check("instance", True, True, instance)


def _python(python: PythonFacts, is_needed: bool) -> Iterator[Check]:
    if python.version is None:
        told = f"{python.where} does not answer: {python.problem}"
        yield Check("python", False, is_needed, told, "name another with --python")
        return
    version = ".".join(map(str, python.version))
    oldest = ".".join(map(str, OLDEST_PYTHON))
    yield Check(
        "python",
        python.version >= OLDEST_PYTHON,
        is_needed,
        f"{version} at {python.where}",
        f"install Python {oldest} or newer, and name it with --python",
    )
    yield Check(
        "torch",
        python.torch is not None,
        is_needed,
        f"{python.torch}" if python.torch else f"not installed in {python.where}",
        f"{python.where} -m pip install torch",
    )


def _shm(facts: Facts, is_needed: bool) -> Check:
    if is_container(facts.instance) and facts.engine is not None:
        half = megabytes(facts.engine.memory_bytes // 2)
        return Check("shm", True, True, f"up to {half} in each container (--shm-size sets it)")
    return Check(
        "shm",
        facts.shm_bytes >= SHM_BYTES,
        is_needed,
        f"{megabytes(facts.shm_bytes)} in /dev/shm, where DataLoader workers put their batches",
        "sudo mount -o remount,size=2g /dev/shm",
    )


def _engine(facts: Facts, is_needed: bool) -> Iterator[Check]:
    where = facts.address.removeprefix("unix://")
    if facts.socket == "closed":
        yield Check(
            "socket",
            False,
            is_needed,
            f"this user may not talk to {where}",
            "sudo usermod -aG docker $USER, then log in again",
        )
    elif facts.socket == "open":
        yield Check("socket", True, is_needed, f"{where} can be read and written")
    engine = facts.engine
    if engine is None:
        yield Check("engine", False, is_needed, facts.engine_problem)
        return
    rootless = ", rootless: outputs belong to you" if engine.is_rootless else ""
    if engine.is_remote:
        yield Check(
            "engine",
            False,
            is_needed,
            f"{facts.address} is another machine, which cannot mount a job's files",
            "unset DOCKER_HOST, or docker context use default",
        )
    else:
        told = f"{engine.product} at {where}, {engine.cpus} processors, "
        told += f"{megabytes(engine.memory_bytes)} of memory{rootless}"
        yield Check("engine", True, is_needed, told)
    yield Check("version", True, is_needed, f"{engine.product} {engine.version}")
    if facts.free_bytes is not None:
        yield Check(
            "disk",
            facts.free_bytes >= ROOM_BYTES,
            is_needed,
            f"{megabytes(facts.free_bytes)} free in {engine.data_root}, where images are kept",
            "docker image prune frees what no image uses",
        )


def _image(facts: Facts, is_needed: bool) -> Iterator[Check]:
    if facts.engine is None:
        return
    image = facts.image
    if image is None:
        yield Check("image", False, is_needed, facts.image_problem)
        return
    runtime = {
        "ours": "with the sifting runtime",
        "toolkit": "with SageMaker's toolkit; the sifting runtime travels with the code",
        "plain": "the sifting runtime travels with the code",
    }[image.kind]
    yield Check("image", True, is_needed, f"{image.name}, {runtime}")
    yield Check("architecture", True, is_needed, f"{image.architecture}, as the engine's")
    if facts.inside is None:
        return
    inside = facts.inside
    if inside.version is None:
        mend = "sift-launch build --base IMAGE, of one with Python 3.10 or newer"
        yield Check(
            "image python",
            False,
            is_needed,
            f"python3 does not start in it: {inside.problem}",
            mend,
        )
        return
    yield Check(
        "image python",
        inside.version >= OLDEST_PYTHON,
        is_needed,
        ".".join(map(str, inside.version)),
        "sift-launch build --base IMAGE, of one with Python 3.10 or newer",
    )
    lacks_gpu = facts.instance == LOCAL_GPU and (inside.torch or "").endswith("+cpu")
    yield Check(
        "image torch",
        inside.torch is not None and not lacks_gpu,
        is_needed,
        f"{inside.torch}, which knows no GPU" if lacks_gpu else inside.torch or "not in the image",
        "sift-launch build --device gpu" if lacks_gpu else "sift-launch build",
    )


def _nvidia(engine: EngineTraits | None, is_needed: bool) -> Check:
    if engine is None:
        return Check("nvidia", False, is_needed, "not known without an engine")
    try:
        check_gpu(engine)
    except DeviceUnavailable as error:
        return Check("nvidia", False, is_needed, str(error))
    return Check("nvidia", True, is_needed, "the engine hands GPUs to containers")


def _cloud(cloud: CloudFacts, is_needed: bool) -> Iterator[Check]:
    yield Check(
        "region",
        cloud.region is not None,
        is_needed,
        cloud.region or "none is set",
        "export AWS_REGION=us-east-1, or aws configure",
    )
    if not cloud.has_botocore:
        mend = f"{cloud.python} -m pip install 'sift-launcher[cloud]'"
        told = "not known without botocore"
        yield Check("credentials", False, is_needed, told, mend)
        yield Check("role", False, is_needed, told, mend)
        return
    # What is wrong with the credentials and the quota comes with its mend.
    yield Check(
        "credentials",
        cloud.identity is not None,
        is_needed,
        cloud.identity or cloud.identity_problem,
    )
    yield Check(
        "role",
        cloud.role is not None,
        is_needed,
        cloud.role or cloud.role_problem,
        "aws iam create-role --role-name SageMakerTraining --assume-role-policy-document "
        f"'{_TRUST}'",
    )
    if is_needed:
        yield Check("quota", cloud.quota is not None, True, cloud.quota or cloud.quota_problem)
