"""What a user asks an image to be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sift_launcher.errors import OptionError
from sift_launcher.images import CPU_IMAGE, GPU_IMAGE

DEVICES = ("cpu", "gpu")
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
"""Those that the lock has hashes for."""

DEFAULT_PYTHON = "3.11"
DEFAULT_TORCH = "2.13.0"

_OWN_LABELS = "sift-launcher"
_TORCH = re.compile(r"\d+\.\d+\.\d+[A-Za-z0-9.+]*")
_PLATFORM = re.compile(r"linux/(amd64|arm64)(/v\d)?")
_WORD = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_TAG = re.compile(
    rf"(?:[A-Za-z0-9.-]+(?::\d+)?/)?{_WORD}(?:/{_WORD})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
)


@dataclass(frozen=True)
class ImageSpec:
    """An image, as asked for. Raises OptionError for what can be no image."""

    device: str = "cpu"
    base: str | None = None
    python: str | None = None
    torch: str | None = None
    requirements: Path | None = None
    extra_indexes: tuple[str, ...] = ()
    wheelhouse: Path | None = None
    """A folder of wheels: the build then has no network."""

    platform: str | None = None
    tag: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    with_compiler: bool = False

    def __post_init__(self) -> None:
        _check_choice("--device", self.device, DEVICES)
        if self.python is not None:
            _check_choice("--python", self.python, PYTHONS)
        if self.torch is not None and not _TORCH.fullmatch(self.torch):
            raise OptionError(f"--torch {self.torch} is no version: write it as --torch 2.13.0")
        if self.platform is not None and not _PLATFORM.fullmatch(self.platform):
            raise OptionError(
                f"--platform {self.platform} is none: linux/amd64 and linux/arm64 are"
            )
        check_tag("--tag", self.image)
        check_tag("--base", self.base_image)
        _check_labels(self.labels)
        _check_file(self.requirements)
        _check_wheelhouse(self.wheelhouse)
        if self.wheelhouse is not None and self.extra_indexes:
            raise OptionError(
                "--wheelhouse builds without a network, so no --extra-index is reached: "
                "leave one out"
            )

    @property
    def image(self) -> str:
        """The name of the image to be."""
        return self.tag or (CPU_IMAGE if self.device == "cpu" else GPU_IMAGE)

    @property
    def base_image(self) -> str:
        """What it stands on. torch's CUDA wheels bring CUDA along, so both devices share one."""
        return self.base or f"python:{self.python or DEFAULT_PYTHON}-slim-bookworm"

    @property
    def torch_version(self) -> str:
        """The version of torch to install."""
        return self.torch or DEFAULT_TORCH


def check_tag(option: str, name: str) -> None:
    """Raises OptionError unless an image can have this name."""
    if not _TAG.fullmatch(name):
        raise OptionError(
            f"{option} {name!r} is no image's name: write it as NAME:TAG, NAME in small letters"
        )


def wheels(folder: Path) -> list[Path]:
    """The wheels and source archives in a wheelhouse, by name."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.name.endswith((".whl", ".tar.gz")) and path.is_file()
    )


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(f"{option} {value} is not served: choose {', '.join(choices)}")


def _check_labels(labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        if not key.isprintable() or not value.isprintable():
            raise OptionError(f"--label {key}: write it in one line of printable characters")
        if key == _OWN_LABELS or key.startswith(f"{_OWN_LABELS}."):
            raise OptionError(
                f"--label {key}: labels that begin with {_OWN_LABELS} are this command's own: "
                "choose another name"
            )


def _check_file(requirements: Path | None) -> None:
    if requirements is not None and not requirements.is_file():
        raise OptionError(f"--requirements {requirements}: there is no such file")


def _check_wheelhouse(folder: Path | None) -> None:
    if folder is None:
        return
    if not folder.is_dir():
        raise OptionError(f"--wheelhouse {folder}: there is no such folder")
    if not wheels(folder):
        raise OptionError(
            f"--wheelhouse {folder} holds no wheels: pip download -d {folder} torch fills it"
        )
