"""The dry run's printout."""

from __future__ import annotations

import json
import sys

from sift_launcher.bundle import megabytes
from sift_launcher.instances import in_words
from sift_launcher.plan import Plan

_FILES_SHOWN = 5
_LEFT_OUT_SHOWN = 8


def show_plan(plan: Plan, as_json: bool) -> None:
    """Prints the plan on stdout, as JSON or for a reader; the request is exact in both."""
    if as_json:
        sys.stdout.write(json.dumps(plan.to_dict(), indent=2) + "\n")
        return
    bundle = plan.bundle
    lines = [
        f"job       {plan.name}",
        f"image     {plan.image}",
        f"hosts     {_hosts(plan)}",
        f"code      {len(bundle.files)} files, {megabytes(bundle.size)}, from {bundle.source_dir}",
    ]
    largest = sorted(bundle.files, key=lambda file: (-file.size, file.path))[:_FILES_SHOWN]
    lines += [f"          {megabytes(file.size):>9}  {file.path}" for file in largest]
    if len(bundle.files) > len(largest):
        lines.append(f"          and {len(bundle.files) - len(largest)} smaller")
    if plan.note:
        lines.insert(3, f"note      {plan.note}")
    if bundle.left_out:
        named = ", ".join(bundle.left_out[:_LEFT_OUT_SHOWN])
        more = len(bundle.left_out) - _LEFT_OUT_SHOWN
        lines.append(f"left out  {named}" + (f" and {more} more" if more > 0 else ""))
    lines += [
        f"cost      at most ${plan.max_cost_dollars:.2f}",
        "request   " + json.dumps(plan.request, indent=2).replace("\n", "\n          "),
        "Nothing was started: this was a dry run.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _hosts(plan: Plan) -> str:
    resources = plan.request["ResourceConfig"]
    share = plan.share
    granted = [
        f"{option} {value}"
        for option, value in {
            "/dev/shm": None if share.shm_bytes is None else megabytes(share.shm_bytes),
            "memory": None if share.memory_bytes is None else megabytes(share.memory_bytes),
            "processors": None if share.cpus is None else f"{share.cpus:g}",
            "platform": share.platform,
        }.items()
        if value is not None
    ]
    granted_text = f" with {', '.join(granted)}" if granted else ""
    where = in_words(resources | {"InstanceCount": 1})
    return f"{resources['InstanceCount']}, each {where}{granted_text}"
