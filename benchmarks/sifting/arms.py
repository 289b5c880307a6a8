"""The ways to train that stand beside each other: plain, the controls, the peers, and ours.

An arm's name is its family and, where the family has one, the share that it keeps: `memory-0.5`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

from benchmarks.sifting.workloads import Options
from smart_sifting.sift_config.job_config import AUTO, LEAST_AUTO


@dataclass(frozen=True)
class Arm:
    """One way to train a workload.

    `launch` are options of sift-launch, `script` options of the script; `epochs` is the part of
    the workload's epochs that is trained.
    """

    name: str
    family: str
    label: str
    keep: float
    launch: tuple[str, ...] = ("--no-sift",)
    script: Options = field(default_factory=dict)
    epochs: float = 1.0

    @property
    def sifted(self) -> bool:
        """Whether it goes through this project's runtime."""
        return "--no-sift" not in self.launch


LABELS = {
    "full": "full training",
    "shortened": "plain, shortened, schedule fitted",
    "random": "plain, on a random share",
    "aws": "AWS's rule, schedule as the script has it",
    "selective-backprop": "SelectiveBackprop (our code, its published rule)",
    "infobatch": "InfoBatch (its own code)",
    "forward": "ours, forward scoring",
    "memory": "ours, memory",
    "auto": "ours, memory, keep auto",
}
FAMILIES = tuple(LABELS)
OURS = ("memory", "auto", "forward")
PEERS = ("aws", "selective-backprop", "infobatch")
CONTROLS = ("shortened", "random")

_FIXED = {"full": 1.0, "selective-backprop": 0.8, "infobatch": 0.5, "auto": LEAST_AUTO}
"""Families without a share of their own, and what share of the samples they train on, or of the
easy ones, or at least."""

DEFAULT = {
    "cpu": (
        "full",
        "shortened-0.7",
        "shortened-0.5",
        "shortened-0.3",
        "random-0.5",
        "aws-0.5",
        "selective-backprop",
        "infobatch",
        "forward-0.5",
        "memory-0.7",
        "memory-0.5",
        "memory-0.3",
        "auto",
    ),
    "full": (
        "full",
        *(
            f"{family}-{share}"
            for family in ("shortened", "random", "aws", "forward", "memory")
            for share in (0.7, 0.5, 0.3)
        ),
        "selective-backprop",
        "infobatch",
        "auto",
    ),
}


def arm(name: str) -> Arm:
    """The arm of that name. Raises ``ValueError`` for one that does not exist."""
    family, share = _parts(name)
    label = LABELS[family] if family in _FIXED else f"{LABELS[family]}, keep {share:g}"
    plain = Arm(name, family, label, share)
    if family == "shortened":
        return replace(plain, epochs=share)
    if family == "random":
        return replace(plain, script={"share": share})
    if family in ("selective-backprop", "infobatch"):
        return replace(plain, script={"peer": family})
    if family == "full":
        return plain
    return replace(plain, launch=("--sift-config", json.dumps(_sift_config(family, share))))


def _parts(name: str) -> tuple[str, float]:
    if name in _FIXED:
        return name, _FIXED[name]
    family, _, share = name.rpartition("-")
    if family in LABELS and family not in _FIXED:
        try:
            if 0 < float(share) < 1:
                return family, float(share)
        except ValueError:
            pass
    known = ", ".join(each if each in _FIXED else f"{each}-0.5" for each in FAMILIES)
    raise ValueError(f"no arm {name!r}: write one of {known}, each with a share of your own")


def _sift_config(family: str, share: float) -> dict[str, object]:
    if family == "auto":
        return {"keep": AUTO}
    if family == "aws":
        return {"keep": share, "acceptance": "probabilistic", "source": "forward"}
    return {"keep": share, "source": family}
