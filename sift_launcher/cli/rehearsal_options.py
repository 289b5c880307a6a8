"""The options of a rehearsal: whether they hold together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sift_launcher.errors import OptionError
from sift_launcher.instances import LOCAL, PROCESS, check_place
from sift_launcher.local.interruptions import moment
from sift_launcher.rehearsal.requirements import require_moto

_PLAYERS = (PROCESS, LOCAL)


def check_rehearsal(values: Mapping[str, Any]) -> None:
    """Raises OptionError, ValidationError, or ExtraMissing where nothing can play AWS; `values` are
    the options by their names."""
    if values["rehearse"]:
        check_place("rehearse", True, values["instance"])
        require_moto()
        if values["dry_run"]:
            raise OptionError(
                "--dry-run starts nothing, and --rehearse starts an AWS on this machine: leave one "
                "of them out"
            )
    if values["rehearse_on"] not in _PLAYERS:
        raise OptionError(
            f"--rehearse-on {values['rehearse_on']} plays nothing: {' or '.join(_PLAYERS)}"
        )
    interruptions = moments(values["rehearse_interrupt"])
    for needed in ("rehearse", "spot") if interruptions else ():
        if not values[needed]:
            raise OptionError(
                f"--rehearse-interrupt {' '.join(interruptions)} takes spot instances away from a "
                f"job that is rehearsed: add --{needed}"
            )


def moments(typed: Sequence[str]) -> tuple[str, ...]:
    """When a job is interrupted, from `30s`, `50%` or several with commas between them.

    Raises ValidationError.
    """
    return tuple(moment(each).text for text in typed for each in text.split(","))
