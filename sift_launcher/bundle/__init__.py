"""The code that travels with a job: what of a folder belongs to it, and one archive of it.

Version control, environments and caches stay behind, and so does what `.gitignore` and
`.siftignore` name. What looks like a secret is refused. Equal contents give equal archives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sift_launcher.bundle.files import (
    JOB_OUTPUT_MARK,
    MAX_BYTES,
    MAX_FILES,
    RUNTIME_FOLDER,
    CodeBundle,
    CodeFile,
    megabytes,
)
from sift_launcher.bundle.listing import list_bundle
from sift_launcher.bundle.packing import pack

if TYPE_CHECKING:
    from sift_launcher.bundle.secret_search import check_no_secrets

__all__ = [
    "JOB_OUTPUT_MARK",
    "MAX_BYTES",
    "MAX_FILES",
    "RUNTIME_FOLDER",
    "CodeBundle",
    "CodeFile",
    "check_no_secrets",
    "list_bundle",
    "megabytes",
    "pack",
]


def __getattr__(name: str) -> Any:
    # What a secret looks like takes milliseconds to compile, and few commands ask.
    if name != "check_no_secrets":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sift_launcher.bundle.secret_search import check_no_secrets

    return check_no_secrets
