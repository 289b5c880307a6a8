"""When the instances of a spot job are taken back, where a stand-in plays that.

As in SageMaker nobody knows beforehand, and nothing is asked of the script: SIGTERM, two minutes'
notice, SIGKILL, and the job begins again on fresh instances with what lay in its checkpoints. A
script that ends within the notice, even with code 0, has saved itself rather than come to its end:
nobody could tell the two apart, so it begins again too.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sift_launcher.errors import ValidationError
from sift_launcher.local.progress import Progress

_FORM = re.compile(r"(\d+(?:\.\d+)?)(s|%)")
_LOOK_SECONDS = 0.05  # an epoch of a small job is soon over


@dataclass(frozen=True)
class Moment:
    """When to interrupt."""

    text: str
    amount: float
    is_share: bool

    def has_come(self, trained: float, share: float | None) -> bool:
        """After so many seconds of training, with that share of it done."""
        if self.is_share:
            return share is not None and share >= self.amount
        return trained >= self.amount


def moment(text: str) -> Moment:
    """`30s`: after so many seconds of training, over all attempts. `50%`: when the log says that
    so much is done. Raises ValidationError for anything else."""
    found = _FORM.fullmatch(text.strip())
    amount = float(found[1]) if found else 0.0
    if found is None or (found[2] == "%" and not 0 < amount <= 100):
        raise ValidationError(
            f"{text!r} is no moment to interrupt a job: write 30s (after so many seconds of "
            "training) or 50% (when the log says that so much is done)"
        )
    is_share = found[2] == "%"
    return Moment(text.strip(), amount / 100 if is_share else amount, is_share)


class Interruptions:
    """The moments of one job, each told once, in their order; and the wish `interrupt`."""

    def __init__(
        self, moments: Sequence[Moment], is_asked: Callable[[], bool], withdraw: Callable[[], None]
    ) -> None:
        """`is_asked`: whether the wish is there, which `withdraw` takes back."""
        self._pending = list(moments)
        self._is_asked = is_asked
        self._withdraw = withdraw
        self._progress: Progress | None = None

    @property
    def pending(self) -> Sequence[Moment]:
        """The moments that have not come."""
        return tuple(self._pending)

    def read(self, log: Path) -> None:
        """The job's progress is what `log` says from here on."""
        self._progress = Progress(log)

    def is_due(self, trained: float) -> bool:
        """See Spot."""
        if self._is_asked():
            self._withdraw()
            return True
        if not self._pending:
            return False
        first = self._pending[0]
        share = self._progress.share() if self._progress and first.is_share else None
        if not first.has_come(trained, share):
            return False
        self._pending.pop(0)
        return True

    def next_look(self, trained: float) -> float:
        """See Spot."""
        if not self._pending:
            return math.inf
        first = self._pending[0]
        return _LOOK_SECONDS if first.is_share else first.amount - trained


def told(never_came: Sequence[Moment]) -> str:
    """What the log says of interruptions that never came."""
    named = ", ".join(each.text for each in never_came)
    hint = (
        ": the log tells how far training is by lines such as epoch 3/5, step 300/1000 or 30%|"
        if any(each.is_share for each in never_came)
        else ": the job ended before"
    )
    return f"sift: never interrupted at {named}{hint}"
