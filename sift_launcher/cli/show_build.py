"""A build's dry run, and what became of a build, for a reader."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from sift_launcher.bundle import megabytes

if TYPE_CHECKING:
    from sift_launcher.image.plan import BuildPlan


def show_build(plan: BuildPlan, as_json: bool) -> None:
    """Prints the plan on stdout. A password in an index's address is not shown."""
    shown = plan.to_dict()
    shown["arguments"] = {key: _masked(value) for key, value in plan.arguments.items()}
    if as_json:
        sys.stdout.write(json.dumps(shown, indent=2) + "\n")
        return
    lines = [
        f"image      {plan.image}",
        f"platform   {plan.platform or 'the engine’s own'}",
        f"network    {'as the engine gives it' if plan.has_network else 'none'}",
    ]
    lines += _listed("argument", [f"{k}={shlex.quote(v)}" for k, v in shown["arguments"].items()])
    lines += _listed("label", [f"{key}={value}" for key, value in plan.labels.items()])
    files = [f"{megabytes(file.size):>9}  {name}" for name, file in plan.files.items()]
    lines += _listed("context", [*files, f"{megabytes(plan.context_bytes):>9}  in all"])
    lines += ["Dockerfile", *(f"    {line}".rstrip() for line in plan.dockerfile.splitlines())]
    lines.append("Nothing was built: this was a dry run.")
    sys.stdout.write("\n".join(lines) + "\n")


def _listed(name: str, values: list[str]) -> list[str]:
    return [f"{name if n == 0 else '':<9}  {value}" for n, value in enumerate(values)]


def _masked(value: str) -> str:
    return " ".join(_without_password(word) for word in value.split(" "))


def _without_password(word: str) -> str:
    parts = urlsplit(word)
    if "@" not in parts.netloc:
        return word
    return urlunsplit(parts._replace(netloc="***@" + parts.netloc.rpartition("@")[2]))
