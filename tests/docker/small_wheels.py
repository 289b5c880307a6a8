"""Wheels of a few bytes, to build images from in seconds."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sift_launcher.engine import traits
from sift_launcher.image.base import find_base
from sift_launcher.image.build import Built, build
from sift_launcher.image.context import ContextFile, container_folder
from sift_launcher.image.plan import plan_build
from sift_launcher.image.spec import ImageSpec

if TYPE_CHECKING:
    from docker import DockerClient


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    requires: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> None:
    """A wheel that any Python on any machine takes."""
    stem = name.replace("-", "_")
    info = f"{stem}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {each}\n" for each in requires)
    content = dict(files or {f"{stem}.py": ""})
    content[f"{info}/METADATA"] = metadata
    content[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*content, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{stem}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in content.items():
            wheel.writestr(zipfile.ZipInfo(path), text)


def small_wheelhouse(folder: Path, real: Path) -> Path:
    """pip, from a real wheelhouse, and a torch that is none."""
    folder.mkdir()
    shutil.copy(next(real.glob("pip-*.whl")), folder)
    torch = {"torch/__init__.py": '__version__ = "2.13.0+cpu"\n', "torch/test/test_a.py": ""}
    write_wheel(folder, "torch", "2.13.0+cpu", files=torch)
    return folder


def build_small(client: DockerClient, spec: ImageSpec, use_cache: bool = True) -> Built:
    """Builds as the command does, but for the lock: of it only pip is left."""
    base = find_base(client, spec.base_image, traits(client), spec.platform, report=None)
    plan = plan_build(spec, base)
    entries = (
        (container_folder() / "requirements.lock").read_text().replace("\\\n", " ").splitlines()
    )
    lock = next(entry for entry in entries if entry.startswith("pip=="))
    files = {**plan.files, "requirements.lock": ContextFile(lock.encode())}
    return build(client, replace(plan, files=files), use_cache, report=lambda progress: None)
