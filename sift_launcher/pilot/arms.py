"""What a pilot runs: its arms, and the trials they consist of. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sift_launcher.errors import OptionError, SiftConfigError
from smart_sifting.sift_config.job_config import SiftConfig

Kind = Literal["plain", "sifted", "even"]

DEFAULT_KEEP = "0.7,0.5,0.35"
EVEN_SOURCE = "batch"
"""The source of scores that prefers no sample: every one is visited equally often."""

_SHARES = "shares are more than 0 and less than 1, as in --keep 0.7,0.5,0.35"


@dataclass(frozen=True)
class Arm:
    """One way to train: on everything, on a share by preference, or on a share spread evenly."""

    kind: Kind
    keep: float = 1.0

    @property
    def label(self) -> str:
        """For a reader: `plain`, `keep 0.5`, `even 0.5`."""
        return self.slug if self.kind == "plain" else f"{self._word} {self.keep:g}"

    @property
    def slug(self) -> str:
        """For a job's name: `plain`, `keep-50`, `even-12-5`."""
        if self.kind == "plain":
            return "plain"
        percent = f"{100 * self.keep:.10g}".replace(".", "-")
        return f"{self._word}-{percent}"

    def config(self, base: SiftConfig) -> SiftConfig:
        """How a job of this arm is sifted; `base` says all but the share.

        Plain is sifted to all there is: bit for bit an unsifted job, and it has a receipt, which
        counts and times it as it does the others.
        """
        if self.kind != "even":
            return replace(base, keep=self.keep)
        # Neither a loss nor AWS's rule has a say where nothing is preferred.
        return replace(base, keep=self.keep, source=EVEN_SOURCE, loss=None, acceptance="quota")

    @property
    def _word(self) -> str:
        return "keep" if self.kind == "sifted" else "even"


PLAIN = Arm("plain")


@dataclass(frozen=True)
class Trial:
    """One run of one arm. Trials of one `repeat` are comparable one by one: they share a seed."""

    arm: Arm
    repeat: int = 0

    @property
    def label(self) -> str:
        """For a reader: `keep 0.5`, and of repeated arms `keep 0.5, seed 1`."""
        return self.arm.label if self.repeat == 0 else f"{self.arm.label}, seed {self.repeat}"

    def job_name(self, pilot: str, attempt: int = 1) -> str:
        """The name of its job in the pilot of that name; `attempt` counts from 1."""
        seed = f"-seed-{self.repeat}" if self.repeat else ""
        again = f"-again-{attempt}" if attempt > 1 else ""
        return f"{pilot}-{self.arm.slug}{seed}{again}"

    def config(self, base: SiftConfig) -> SiftConfig:
        """How its job is sifted; every repeat draws anew."""
        return self.arm.config(replace(base, seed=base.seed + self.repeat))

    def arguments(self, own: tuple[str, ...], seed_argument: str | None) -> tuple[str, ...]:
        """The script's `own` arguments, and its seed: as `--seed 0`, or `seed=0` for `seed=`."""
        if seed_argument is None:
            return own
        if seed_argument.endswith("="):
            return (*own, f"{seed_argument}{self.repeat}")
        return (*own, seed_argument, str(self.repeat))


def trials(shares: Sequence[float], repeats: int, *, control: bool) -> tuple[Trial, ...]:
    """All runs in their order: a repeat after the other, so that a change of the machine's load
    meets all arms; in each plain first, and every share beside its control."""
    if repeats < 1:
        raise OptionError(f"--seeds {repeats} is no number of repeats: 1 or more")
    arms = [PLAIN]
    for share in shares:
        arms.append(Arm("sifted", share))
        if control:
            arms.append(Arm("even", share))
    return tuple(Trial(arm, repeat) for repeat in range(repeats) for arm in arms)


def parse_shares(typed: str) -> tuple[float, ...]:
    """The shares of `0.7,0.5,0.35`, the largest first. Raises OptionError."""
    shares = [_share(each.strip(), typed) for each in typed.split(",")]
    if len(set(shares)) < len(shares):
        raise OptionError(f"--keep {typed} names a share twice: leave one out")
    return tuple(sorted(shares, reverse=True))


def check_base(base: SiftConfig) -> None:
    """Raises SiftConfigError for settings that leave nothing to compare."""
    if base.source == EVEN_SOURCE:
        raise SiftConfigError(
            f'--sift-config: source "{EVEN_SOURCE}" prefers no sample, which is what the control '
            "does already: leave it out"
        )


def _share(text: str, typed: str) -> float:
    try:
        share = float(text)
    except ValueError:
        raise OptionError(f"--keep {typed}: {text!r} is no number; {_SHARES}") from None
    if not 0 < share < 1:
        raise OptionError(f"--keep {typed}: {text} is no share to try; {_SHARES}")
    return share
