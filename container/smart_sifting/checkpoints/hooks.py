"""`torch.save` and `torch.load`, so that what a script does with its checkpoints is known."""

from __future__ import annotations

import functools
import io
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import get_worker_info

if TYPE_CHECKING:
    from smart_sifting.checkpoints.keeper import Keeper

logger = logging.getLogger("smart_sifting")

OURS = ".sift"
"""The folder of everything of ours, below that of the checkpoints."""

Plain = Callable[..., Any]


@dataclass(frozen=True)
class Patch:
    """The keeper behind the two functions, made when first asked, and the way back."""

    keeper: Callable[[], Keeper]
    undo: Callable[[], None]


def patch(folder: Path, make: Callable[[Plain, Plain], Keeper]) -> Patch:
    """Tell a keeper of what is saved below `folder`, and of what is loaded.

    Both functions do what torch's do and raise what they raise; nothing of ours reaches the
    script. Whoever has replaced them before is called as torch's own.

    Args:
        make: makes the keeper, given the two functions as they were.
    """
    plain_save, plain_load = torch.save, torch.load
    real_folder = folder.resolve()
    process = os.getpid()
    made = functools.cache(lambda: make(plain_save, plain_load))

    def keeper() -> Keeper | None:
        """None in a data worker and a forked child, which inherit all this and train nothing."""
        if os.getpid() != process or get_worker_info() is not None:
            return None
        try:
            return made()
        except Exception as failure:  # noqa: BLE001 - the script saves and loads in any case
            logger.info("sift: no state is kept: %s", " ".join(str(failure).split())[:200])
            return None

    @functools.wraps(plain_save)
    def save(*args: Any, **kwargs: Any) -> Any:
        target = kwargs.get("f", args[1] if len(args) > 1 else None)

        def save_to(place: Any) -> Any:
            if "f" in kwargs:
                return plain_save(*args, **{**kwargs, "f": place})
            return plain_save(args[0], place, *args[2:], **kwargs)

        path = _path_of(target)
        below = path is not None and _is_below(path, real_folder)
        if not (below or isinstance(target, io.BytesIO)) or (known := keeper()) is None:
            return plain_save(*args, **kwargs)
        return known.save(save_to, target, path)

    @functools.wraps(plain_load)
    def load(*args: Any, **kwargs: Any) -> Any:
        result = plain_load(*args, **kwargs)
        source = kwargs.get("f", args[0] if args else None)
        path = _path_of(source)
        below = path is not None and _is_below(path, real_folder)
        if (below or (folder / OURS).is_dir()) and (known := keeper()) is not None:
            known.loaded(source if path is None else path, below=below)
        return result

    _put(save, load)
    return Patch(made, lambda: _put(plain_save, plain_load))


def _put(save: Plain, load: Plain) -> None:
    for module in (torch, torch.serialization):
        module.save, module.load = save, load  # type: ignore[attr-defined]


def _path_of(target: Any) -> Path | None:
    """The file that is named, or that an open file has under its name."""
    name = target if isinstance(target, (str, os.PathLike)) else getattr(target, "name", None)
    try:
        return Path(os.fspath(name)).absolute()  # type: ignore[arg-type]
    except TypeError:
        return None  # a buffer, or a file without a name


def _is_below(path: Path, folder: Path) -> bool:
    try:
        parent = path.parent.resolve()
        return parent.is_relative_to(folder) and OURS not in parent.parts
    except (OSError, RuntimeError):  # a loop of links
        return False
