"""`sift-launch build`: a training image, made on the Docker engine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sift_launcher.errors import JobInterrupted

if TYPE_CHECKING:
    from sift_launcher.image.plan import BuildPlan
    from sift_launcher.image.spec import ImageSpec

_PATIENCE_SECONDS = 24 * 3600
"""A step of a build, or of a pull, may be silent for as long as it takes."""

HELP = """Build a training image: Python, torch, and the sifting runtime.

It trains on this machine (sift-launch SCRIPT --instance local) and in SageMaker alike. On a base
that has torch already, such as AWS's training images, only the runtime is added.
"""


@click.command("build", help=HELP)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    metavar="cpu|gpu",
    help="What its torch computes on.",
)
@click.option(
    "--base", metavar="IMAGE", help="What it stands on.  [default: python:<--python>-slim-bookworm]"
)
@click.option("--python", metavar="VERSION", help="Python's version.  [default: 3.11]")
@click.option("--torch", metavar="VERSION", help="torch's version.  [default: 2.13.0]")
@click.option(
    "--requirements",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Packages to install besides, one a line, as pip reads them.",
)
@click.option(
    "--extra-index",
    multiple=True,
    metavar="URL",
    help="A package index to look into besides pip's own, as for torch's CPU wheels.",
)
@click.option(
    "--wheelhouse",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of wheels to install from; the build then has no network.",
)
@click.option("--platform", metavar="PLATFORM", help="As in linux/amd64.  [default: the engine's]")
@click.option(
    "--tag",
    metavar="NAME:TAG",
    help="The image's name.  [default: sift-training:cpu or sift-training:gpu]",
)
@click.option("--label", multiple=True, metavar="KEY=VALUE", help="A label of the image.")
@click.option("--compiler", is_flag=True, help="Add g++ and torch's headers, for torch.compile.")
@click.option("--no-cache", is_flag=True, help="Repeat the steps of earlier builds.")
@click.option("--push", is_flag=True, help="Push it to the ECR repository that --tag names.")
@click.option(
    "--dry-run", is_flag=True, help="Print the Dockerfile and the context; build nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    device: str,
    base: str | None,
    python: str | None,
    torch: str | None,
    requirements: Path | None,
    extra_index: tuple[str, ...],
    wheelhouse: Path | None,
    platform: str | None,
    tag: str | None,
    label: tuple[str, ...],
    compiler: bool,
    no_cache: bool,
    push: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Plans the build of what was typed, and prints it or runs it."""
    from sift_launcher.cli.options import labels
    from sift_launcher.image.spec import ImageSpec

    spec = ImageSpec(
        device=device,
        base=base,
        python=python,
        torch=torch,
        requirements=requirements,
        extra_indexes=extra_index,
        wheelhouse=wheelhouse,
        platform=platform,
        tag=tag,
        labels=labels(label),
        with_compiler=compiler,
    )
    if dry_run:
        from sift_launcher.cli.show_build import show_build

        show_build(_plan_without_engine(spec), as_json)
        return
    try:
        _build(spec, use_cache=not no_cache, push=push, as_json=as_json)
    except KeyboardInterrupt:
        raise JobInterrupted(
            f"building image {spec.image} was interrupted; steps that had ended are kept"
        ) from None


def _plan_without_engine(spec: ImageSpec) -> BuildPlan:
    """The plan of a dry run: of a base that cannot be looked at, the usual is assumed."""
    from sift_launcher.console import say
    from sift_launcher.engine import connect, traits
    from sift_launcher.errors import EngineUnavailable, ImageMissing
    from sift_launcher.image.base import find_base
    from sift_launcher.image.plan import plan_build

    try:
        client = connect()
        base = find_base(client, spec.base_image, traits(client), spec.platform, report=None)
    except (EngineUnavailable, ImageMissing) as error:
        say(f"taken for a base with Python and without torch: {spec.base_image} ({error})")
        base = None
    return plan_build(spec, base)


def _build(spec: ImageSpec, use_cache: bool, push: bool, as_json: bool) -> None:
    from sift_launcher.bundle import megabytes
    from sift_launcher.cli.build_progress import BuildProgress
    from sift_launcher.console import say
    from sift_launcher.engine import connect, traits
    from sift_launcher.image.base import find_base
    from sift_launcher.image.build import build
    from sift_launcher.image.plan import plan_build
    from sift_launcher.image.push import log_in, parse_repository
    from sift_launcher.image.push import push as push_image

    # What a push lacks is told before the minute that a build takes.
    repository = parse_repository(spec.image) if push else None
    client = connect()
    engine = traits(client)
    login = log_in(repository) if repository else None
    client.api.timeout = _PATIENCE_SECONDS
    with BuildProgress(sys.stderr) as progress:
        base = find_base(client, spec.base_image, engine, spec.platform, progress.pulling)
        plan = plan_build(spec, base)
        built = build(client, plan, use_cache, progress.building)
        say_built = f"built {plan.image}: {megabytes(built.size)}, in {progress.seconds:.0f} s"
        digest = push_image(client, plan.image, login, progress.pulling) if login else None
    if as_json:
        told = {"image": plan.image, "id": built.id, "bytes": built.size, "digest": digest}
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
        return
    say(say_built)
    if digest:
        say(f"pushed {plan.image}@{digest}")
