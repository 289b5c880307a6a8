"""Places on this machine: absolute paths, and the `file://` addresses of a request."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

_SCHEME = "file://"


def absolute(path: str | Path) -> Path:
    """`path` from the root. Links stay: a virtual environment's interpreter is one, and a user
    knows a folder by the name it was typed with."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() follows links


def state_folder() -> Path:
    """The user's state folder: $SIFT_LAUNCHER_HOME, else below $XDG_STATE_HOME, else ~."""
    if own := os.environ.get("SIFT_LAUNCHER_HOME"):
        return absolute(own)
    if state := os.environ.get("XDG_STATE_HOME"):
        return absolute(state) / "sift-launcher"
    return Path.home() / ".local" / "state" / "sift-launcher"


def file_uri(path: str | Path) -> str:
    """An absolute path as an address."""
    return _SCHEME + quote(os.fsencode(path))  # bytes: a name need not be text


def local_path(uri: str) -> Path | None:
    """The absolute path that `uri` names; None when it is an address of another kind."""
    if not uri.startswith(_SCHEME + "/"):
        return None
    return Path(os.fsdecode(unquote_to_bytes(uri.removeprefix(_SCHEME))))
