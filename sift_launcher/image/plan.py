"""From what is asked for, and what it stands on, to what the engine is told. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sift_launcher import __version__
from sift_launcher.errors import ImageUnfit, OptionError
from sift_launcher.image.base import BaseFacts
from sift_launcher.image.context import ContextFile, full_context, stock_context
from sift_launcher.image.spec import PYTHONS, ImageSpec
from sift_launcher.images import RUNTIME_LABEL
from sift_launcher.runtime import runtime_digest

_DLC = "com.amazonaws.ml.engines.sagemaker.dlc"
_DLC_MACHINES = {"amd64": "x86", "arm64": "arm64"}


@dataclass(frozen=True)
class BuildPlan:
    """One build, ready to run."""

    image: str
    """The name of the image to be."""

    files: Mapping[str, ContextFile]
    arguments: Mapping[str, str]
    labels: Mapping[str, str]
    """They stand at the end of the Dockerfile."""

    platform: str | None
    has_network: bool

    @property
    def dockerfile(self) -> str:
        """Its text."""
        return b"".join(self.files["Dockerfile"].chunks()).decode("utf-8")

    @property
    def context_bytes(self) -> int:
        """What the engine is sent."""
        return sum(file.size for file in self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """For `--dry-run --json`."""
        return {
            "image": self.image,
            "dockerfile": self.dockerfile,
            "arguments": dict(self.arguments),
            "labels": dict(self.labels),
            "platform": self.platform,
            "has_network": self.has_network,
            "context": {name: file.size for name, file in self.files.items()},
        }


def plan_build(spec: ImageSpec, base: BaseFacts | None) -> BuildPlan:
    """What to tell the engine. `base` is None while nobody has looked at it: it is then taken
    for one with Python and without torch.

    Raises ImageUnfit or OptionError when the base cannot become what is asked for.
    """
    if base is not None and base.torch is not None:
        return _on_top_of(spec, base)
    if base is not None:
        _check_plain(spec, base)
    labels = {
        **_dlc_labels(spec, base),
        "org.opencontainers.image.title": "sift-training",
        "org.opencontainers.image.version": __version__,
        "org.opencontainers.image.base.name": spec.base_image,
        **_own_labels(spec),
    }
    return BuildPlan(
        image=spec.image,
        files=full_context(spec, labels),
        arguments=_arguments(spec),
        labels=labels,
        platform=spec.platform,
        has_network=spec.wheelhouse is None,
    )


def _on_top_of(spec: ImageSpec, base: BaseFacts) -> BuildPlan:
    given = {
        "--python": spec.python,
        "--torch": spec.torch,
        "--requirements": spec.requirements,
        "--extra-index": spec.extra_indexes,
        "--wheelhouse": spec.wheelhouse,
        "--compiler": spec.with_compiler,
    }
    if surplus := [option for option, value in given.items() if value]:
        raise OptionError(
            f"image {base.name} has torch {base.torch}, and only the sifting runtime is added to "
            f"it: leave {surplus[0]} out, or name a --base without torch"
        )
    labels = _own_labels(spec)
    return BuildPlan(
        image=spec.image,
        # Who has a `train` command keeps it; who has none gets ours.
        files=stock_context(with_entrypoint=base.kind == "plain", labels=labels),
        arguments={"BASE": base.name},
        labels=labels,
        platform=spec.platform,
        has_network=False,
    )


def _check_plain(spec: ImageSpec, base: BaseFacts) -> None:
    minor = ".".join(base.python.split(".")[:2])
    if base.kind == "toolkit":
        raise ImageUnfit(
            f"image {base.name} is a training image, but its python3 imports no torch: name one "
            "of PyTorch, as in --base …/pytorch-training:TAG"
        )
    if minor not in PYTHONS:
        raise ImageUnfit(
            f"image {base.name} has Python {base.python}, and packages are locked for "
            f"{PYTHONS[0]} to {PYTHONS[-1]}: name another with --base"
        )
    if spec.python is not None and spec.python != minor:
        raise OptionError(
            f"image {base.name} has Python {base.python}: leave --python {spec.python} out, or "
            "name another --base"
        )


def _arguments(spec: ImageSpec) -> dict[str, str]:
    arguments = {
        "BASE": spec.base_image,
        "TORCH": spec.torch_version,
        "DEVICE": spec.device,
        "COMPILER": "g++" if spec.with_compiler else "",
    }
    if spec.device == "gpu":
        arguments["NVIDIA_VISIBLE_DEVICES"] = "all"
    if spec.wheelhouse is not None:
        arguments |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/build/wheelhouse"}
    if spec.extra_indexes:
        arguments["PIP_EXTRA_INDEX_URL"] = " ".join(spec.extra_indexes)
    return arguments


def _dlc_labels(spec: ImageSpec, base: BaseFacts | None) -> dict[str, str]:
    """By these AWS's tools tell what an image is for."""
    python = base.python if base else spec.python
    version = spec.torch_version.partition("+")[0]
    labels = {
        "dlc_major_version": "1",
        "framework": "pytorch",
        "framework_version": version,
        f"{_DLC}.framework.pytorch.v{version.replace('.', '-')}": "true",
        f"{_DLC}.device.{spec.device}": "true",
        f"{_DLC}.job.training": "true",
    }
    if python:
        labels[f"{_DLC}.python.py{''.join(python.split('.')[:2])}"] = "true"
    if base is not None:
        labels[f"{_DLC}.arch.{_DLC_MACHINES.get(base.architecture, base.architecture)}"] = "true"
    return labels


def _own_labels(spec: ImageSpec) -> dict[str, str]:
    return {
        "sift-launcher.version": __version__,
        RUNTIME_LABEL: runtime_digest(),
        **spec.labels,
    }
