"""`sift-launch image inspect NAME`: what is in a training image, and what takes the space."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from sift_launcher.image.contents import ImageContents

_PACKAGES_SHOWN = 8
_LONGEST_STEP = 60


@click.group("image", help="Look at training images.")
def command() -> None:
    """Holds the commands below."""


@command.command("inspect", help="Show what is in the image NAME, and what takes the space.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
def inspect(name: str, as_json: bool) -> None:
    """Prints what an image holds."""
    from sift_launcher.engine import connect, traits
    from sift_launcher.image.contents import read_contents
    from sift_launcher.image.spec import check_tag

    check_tag("the image", name)
    client = connect()
    contents = read_contents(client, name, traits(client))
    if as_json:
        sys.stdout.write(json.dumps(contents.to_dict(), indent=2) + "\n")
        return
    _show(contents)


def _show(contents: ImageContents) -> None:
    from sift_launcher.bundle import megabytes
    from sift_launcher.console import print_facts, print_table

    facts = [
        ("id", contents.id),
        ("kind", _KINDS[contents.kind]),
        ("machine", contents.architecture),
        ("python", contents.python),
        ("torch", contents.torch or "none"),
        ("runtime", _runtime(contents)),
        ("user", f"{contents.user} (uid {contents.uid})"),
        ("entrypoint", json.dumps(contents.entrypoint) if contents.entrypoint else "none"),
        ("command", json.dumps(contents.command) if contents.command else "none"),
        ("size", f"{megabytes(contents.size)}, {_share(contents)} of it torch's"),
    ]
    facts += [("label", f"{key}={value}") for key, value in contents.labels.items()]
    print_facts(contents.name, facts)
    sys.stdout.write("\n")
    shown = contents.packages[:_PACKAGES_SHOWN]
    rows = [(each.name, each.version or "", megabytes(each.size)) for each in shown]
    if rest := contents.packages[_PACKAGES_SHOWN:]:
        rows.append((f"{len(rest)} more", "", megabytes(sum(each.size for each in rest))))
    print_table(("package", "version", "size:"), rows)
    sys.stdout.write("\n")
    layers = [each for each in contents.layers if each.size]
    print_table(
        ("layer", "size:"), [(_step(each.made_by), megabytes(each.size)) for each in layers]
    )


_KINDS = {
    "ours": "has the sifting runtime",
    "toolkit": "a training image without the sifting runtime",
    "plain": "no training image",
}


def _runtime(contents: ImageContents) -> str:
    if contents.runtime is None:
        return "none; a job brings it along"
    if contents.is_runtime_current:
        return f"{contents.runtime}, as this command's"
    return f"{contents.runtime}, not this command's: sift-launch build renews it"


def _step(text: str) -> str:
    return text if len(text) <= _LONGEST_STEP else f"{text[: _LONGEST_STEP - 1]}…"


def _share(contents: ImageContents) -> str:
    return f"{100 * contents.torch_size / contents.size:.0f} %"
