"""What our image weighs, and how long it takes to build it again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.container_peers import MODULE, python_of
from benchmarks.measure import Figure, Part, medians, time_command

if TYPE_CHECKING:
    from docker import DockerClient

ROOT = Path(__file__).parents[1]
BASE_WITH_COMPILER = "sift-bench:base-with-compiler"
WITH_COMPILER = "sift-bench:compiler"
REBUILT = "sift-bench:rebuilt"
GB = 1e9

_WEIGH = """
import json, sys
from pathlib import Path
found = dict(torch=0, bytecode=0, sources=0, compiled=0)
for path in Path(sys.prefix).rglob("*"):
    if path.is_symlink() or not path.is_file():
        continue
    size = path.stat().st_size
    if "/site-packages/torch/" in str(path):
        found["torch"] += size
    if path.suffix == ".pyc":
        found["bytecode"] += size
    if path.suffix == ".py":
        found["sources"] += 1
        tag = sys.implementation.cache_tag
        found["compiled"] += (path.parent / "__pycache__" / f"{path.stem}.{tag}.pyc").exists()
print(json.dumps(found))
"""

_COMPILE = """
import torch
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
torch.compile(model)(torch.randn(4, 8)).sum().backward()
"""


def image_size(
    scratch: Path, engine: DockerClient, base: str, image: str, wheelhouse: Path
) -> Part:
    """Unpacked, as the engine counts its layers; of that, what is torch's own and bytecode."""
    ours, peer = (_size(engine, each) for each in (image, MODULE))
    found = json.loads(subprocess.check_output([*python_of(image), "-c", _WEIGH]))
    is_compiled = found["compiled"] >= 0.99 * found["sources"]
    torch = found["torch"] / GB
    whole = "the whole image"
    figures = [
        Figure(
            "our CPU image, unpacked, with bytecode",
            ours,
            "GB",
            "PyTorch module's",
            peer,
            "at most 0.9 GB",
            ours <= 0.9 and is_compiled,
        ),
        Figure("of that, torch", torch, "GB", whole, ours, ""),
        Figure("of that, bytecode", found["bytecode"] / GB, "GB", whole, ours, ""),
        Figure("of that, the base", _size(engine, base), "GB", whole, ours, ""),
    ]
    notes = [
        f"- {found['compiled']:,} of the image's {found['sources']:,} Python files have bytecode "
        "(the others are no Python of this version)."
    ]
    with_compiler, seconds = _with_compiler(scratch, engine, wheelhouse)
    figures.append(Figure("the image with --compiler", with_compiler, "GB", "without", ours, ""))
    notes.append(
        "- The image with --compiler stands on a base with Debian's g++ and python3-dev; "
        f"torch.compile took {seconds:.0f} s there to compile and train its first step."
    )
    return Part(figures, {}, notes)


def _with_compiler(scratch: Path, engine: DockerClient, wheelhouse: Path) -> tuple[float, float]:
    """What an image with --compiler weighs, and the seconds of torch.compile in it."""
    scratch.mkdir(parents=True)
    bootstrap = [ROOT / "container" / "bootstrap", BASE_WITH_COMPILER, "g++", "python3-dev"]
    subprocess.run(bootstrap, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    build = [*_build_command(BASE_WITH_COMPILER, wheelhouse, WITH_COMPILER), "--compiler"]
    time_command(build, cwd=scratch)
    return _size(engine, WITH_COMPILER), time_command([*python_of(WITH_COMPILER), "-c", _COMPILE])


def rebuild(scratch: Path, base: str, wheelhouse: Path, rounds: int) -> Part:
    """`sift-launch build` after a change of the runtime, in a copy of the checkout."""
    copy = scratch / "checkout"
    for name in ("sift_launcher", "container", "entrypoints"):
        shutil.copytree(ROOT / name, copy / name)
    changed = copy / "container" / "smart_sifting" / "receipt.py"
    below = os.pathsep.join(str(copy / name) for name in ("", "container", "entrypoints"))
    env = os.environ | {"PYTHONPATH": below}
    build = _build_command(base, wheelhouse, REBUILT)

    def timed(*more: str) -> float:
        return round(time_command([*build, *more], env=env, cwd=scratch), 5)

    def changed_and_built(what: object) -> float:
        with changed.open("a") as file:
            file.write(f"# change {what}\n")
        return timed()

    whole = timed("--no-cache")
    changed_and_built("while the whole image is still on its way to the disk")
    samples = [changed_and_built(number) for number in range(rounds)]
    again = medians({REBUILT: samples})[REBUILT]
    return Part(
        [
            Figure(
                "building again after a change of the runtime",
                again,
                "s",
                "building everything",
                whole,
                "at most 10 s",
                again <= 10,
                rounds,
            )
        ],
        {"rebuild": samples, "build": [whole]},
    )


def _build_command(base: str, wheelhouse: Path, tag: str) -> list[str]:
    launcher = [sys.executable, "-m", "sift_launcher"]
    return [*launcher, "build", "--base", base, "--wheelhouse", str(wheelhouse), "--tag", tag]


def _size(engine: DockerClient, image: str) -> float:
    return float(engine.images.get(image).attrs["Size"]) / GB
