"""Sifting outlives its process: its state is kept with the script's own checkpoints.

`install()` replaces `torch.save` and `torch.load`. What a script saves is found again by its
content, so that it may be renamed and copied; all that is ours lies below `.sift` of the folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from smart_sifting.checkpoints.keeper import Keeper
    from smart_sifting.job_report import JobReport

FOLDER_VARIABLE = "SM_CHECKPOINT_DIR"

_keeper: Callable[[], Keeper] | None = None


def install(report: Callable[[], JobReport], config: str | None) -> None:
    """Keep this process's state in SM_CHECKPOINT_DIR, if there is one. A second call is nothing.

    Args:
        report: gives what is counted; asked late, for it imports much.
        config: the job's sifting configuration as JSON; a state of another one is not used.
    """
    from smart_sifting.checkpoints.hooks import patch

    global _keeper
    folder = os.environ.get(FOLDER_VARIABLE)
    if _keeper is not None or not folder:
        return
    checkpoints = Path(folder)

    def make(save: Callable[..., None], load: Callable[..., Any]) -> Keeper:
        from smart_sifting.checkpoints.keeper import Keeper

        return Keeper(checkpoints, report(), config, save, load)

    _keeper = cache(patch(checkpoints, make).keeper)


def attach() -> None:
    """Make the keeper, if one is installed, before the first batch is counted."""
    if _keeper is not None:
        _keeper()
