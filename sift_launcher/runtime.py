"""The files of the sifting runtime: what an image is given, and what travels with a job."""

from __future__ import annotations

import hashlib
from pathlib import Path

PACKAGES = ("sift_entrypoint", "smart_sifting")
HOOK = "sift_entrypoint.pth"
"""In a site folder it switches sifting on in every Python process of a job."""

_ROOT = Path(__file__).resolve().parents[1]
_CHECKOUT = {
    "sift_entrypoint": "entrypoints",
    "smart_sifting": "container",
    HOOK: "entrypoints",
}


def runtime_folders() -> dict[str, Path]:
    """Where the runtime's packages lie: installed beside this one, or in its checkout."""
    return {name: _place(name) for name in PACKAGES}


def runtime_files() -> dict[str, Path]:
    """Every file of the runtime by its path below a site folder, in a fixed order."""
    files = {
        f"{name}/{path.relative_to(folder).as_posix()}": path
        for name, folder in runtime_folders().items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    files[HOOK] = _place(HOOK)
    return dict(sorted(files.items()))


def runtime_digest() -> str:
    """Names this runtime: equal for equal files, whatever their dates. 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for name, path in runtime_files().items():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{name} {content}\n".encode())
    return digest.hexdigest()[:16]


def _place(name: str) -> Path:
    in_checkout = _ROOT / _CHECKOUT[name] / name
    return in_checkout if in_checkout.exists() else _ROOT / name
