"""What is in an image, and what takes the space: asked of the image, without a job."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sift_launcher.engine import EngineTraits, engine_address, reached
from sift_launcher.image.ask import ask_python
from sift_launcher.images import inspect_image
from sift_launcher.runtime import runtime_digest

if TYPE_CHECKING:
    from docker import DockerClient

_TORCH = ("torch", "triton", "nvidia-")
"""What torch's own distributions are called, or begin with."""

# Every file below site-packages goes to the distribution that records it or, as bytecode and
# what else came later, to the one that records a neighbour.
_QUESTION = """
import json, os, sys, sysconfig
from importlib import metadata
site = sysconfig.get_path("purelib")
owners, versions = {}, {}
for each in metadata.distributions(path=[site]):
    name = each.metadata["Name"].lower()
    versions[name] = each.version
    for path in each.files or ():
        full = os.path.normpath(os.path.join(site, path))
        owners[full] = name
        owners.setdefault(os.path.dirname(full), name)
owners.pop(site, None)
sizes = {}
for where, folders, files in os.walk(site):
    nearest = where
    while nearest not in owners and len(nearest) > len(site):
        nearest = os.path.dirname(nearest)
    top = os.path.relpath(where, site).split(os.sep)[0]
    for file in files:
        full = os.path.join(where, file)
        owner = owners.get(full) or owners.get(nearest) or (top if top != "." else file)
        sizes[owner] = sizes.get(owner, 0) + os.lstat(full).st_size
print(json.dumps({
    "python": sys.version.split()[0],
    "uid": os.getuid(),
    "packages": [[name, versions.get(name), size] for name, size in sizes.items()],
}))
"""


@dataclass(frozen=True)
class Layer:
    """A layer of an image, or a step that made none (0 bytes)."""

    size: int
    made_by: str


@dataclass(frozen=True)
class Package:
    """A distribution in the image's site-packages; without a version, a file or folder there."""

    name: str
    version: str | None
    size: int


@dataclass(frozen=True)
class ImageContents:
    """What an image is and holds. Sizes are in bytes, unpacked."""

    name: str
    id: str
    kind: str
    architecture: str
    size: int
    user: str
    uid: int
    entrypoint: list[str]
    command: list[str]
    labels: dict[str, str]
    runtime: str | None
    is_runtime_current: bool
    """The runtime in it is the one that this command would send along."""

    python: str
    torch: str | None
    torch_size: int
    """torch and what is only there for it: triton, and NVIDIA's libraries."""

    layers: list[Layer]
    """From the base's to the last."""

    packages: list[Package]
    """The largest first."""

    def to_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def read_contents(client: DockerClient, name: str, engine: EngineTraits) -> ImageContents:
    """What is in the image `name`. Raises ImageUnfit when it is not here or has no Python."""
    facts = inspect_image(client, name, engine)
    with reached(engine_address()):
        image = client.images.get(name)
        history = image.history()
    attributes: dict[str, Any] = image.attrs
    config: dict[str, Any] = attributes["Config"]
    answer = json.loads(ask_python(client, name, _QUESTION))
    packages = [Package(*each) for each in answer["packages"]]
    packages.sort(key=lambda package: (-package.size, package.name))
    versions = {package.name: package.version for package in packages}
    return ImageContents(
        name=name,
        id=facts.id,
        kind=facts.kind,
        architecture=facts.architecture,
        size=int(attributes["Size"]),
        user=config.get("User") or "root",
        uid=int(answer["uid"]),
        entrypoint=config.get("Entrypoint") or [],
        command=config.get("Cmd") or [],
        labels=dict(sorted((config.get("Labels") or {}).items())),
        runtime=facts.runtime,
        is_runtime_current=facts.runtime == runtime_digest(),
        python=answer["python"],
        torch=versions.get("torch"),
        torch_size=sum(each.size for each in packages if each.name.startswith(_TORCH)),
        layers=[Layer(int(each["Size"]), _made_by(each)) for each in reversed(history)],
        packages=packages,
    )


def _made_by(step: dict[str, Any]) -> str:
    text = str(step.get("CreatedBy") or step.get("Comment") or "")
    return " ".join(text.replace("/bin/sh -c #(nop)", "").split())
