"""The states that are kept beside a job's checkpoints, each under its checkpoint's fingerprint."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from smart_sifting.checkpoints import fingerprint

# For each rank. A checkpoint may be three files, and an older one may be the one that is wanted.
KEPT = 40

State = dict[str, Any]


class States:
    """Files in `folder`, one for a checkpoint and a rank.

    Args:
        save, load: torch's own.
    """

    def __init__(
        self, folder: Path, save: Callable[..., Any], load: Callable[..., Any], kept: int = KEPT
    ) -> None:
        self.folder = folder
        self._save = save
        self._load = load
        self._kept = kept

    def keep(self, name: str, rank: int, state: State) -> None:
        """Write a state so that a reader sees all of it or none. Raises ``OSError``."""
        content = BytesIO()
        self._save(state, content)
        self.make_folder()
        target = self.folder / f"{name}-{rank}.pt"
        part = target.with_suffix(f".{os.getpid()}.part")
        try:
            part.write_bytes(content.getbuffer())
            part.replace(target)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        self._prune(rank)
        self.look_old()

    def keep_same(self, name: str, as_of: str, rank: int) -> bool:
        """Keep under this name too what is kept under another. False where that cannot be."""
        target = self.folder / f"{name}-{rank}.pt"
        part = target.with_suffix(f".{os.getpid()}.part")
        try:
            part.hardlink_to(self.folder / f"{as_of}-{rank}.pt")
            part.replace(target)
            part.unlink(missing_ok=True)  # it stays where both names were one file already
        except OSError:
            return False
        self._prune(rank)
        self.look_old()
        return True

    def make_folder(self) -> None:
        """Make the folder, if the checkpoints' own is there or can be. Raises ``OSError``."""
        self.folder.mkdir(parents=True, exist_ok=True)

    def look_old(self) -> None:
        """A script that takes the newest entry of its folder must not take this one."""
        with suppress(OSError):
            os.utime(self.folder, (0, 0))

    def find(self, name: str, rank: int) -> State | None:
        """That rank's state; None where there is none that can be read."""
        path = self.folder / f"{name}-{rank}.pt"
        try:
            # Nothing but data: whoever loads a checkpoint as data alone expects no more of us.
            state = self._load(path, map_location="cpu", weights_only=True)
        except Exception:  # noqa: BLE001 - torch has no one error for a file that is none of its
            return None
        return state if isinstance(state, dict) else None

    def of_any_rank(self, name: str) -> State | None:
        """The state of the lowest rank that has one."""
        ranks = sorted(
            int(rank)
            for path in self.folder.glob(f"{name}-*.pt")
            if (rank := path.stem.rpartition("-")[2]).isdecimal()
        )
        return next((found for rank in ranks if (found := self.find(name, rank))), None)

    def sizes(self) -> set[int]:
        """Bytes of the checkpoints that have a state: what is not so long needs no look inside."""
        sizes = set()
        for path in self.folder.glob("*.pt"):
            with suppress(ValueError):
                sizes.add(fingerprint.size_of(path.name))
        return sizes

    def _prune(self, rank: int) -> None:
        aged = []
        for path in self.folder.glob(f"*-{rank}.pt"):
            with suppress(FileNotFoundError):  # pruned by a process that was not quite gone
                aged.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(aged, reverse=True)[self._kept :]:
            path.unlink(missing_ok=True)
