"""What a rehearsal needs besides this package."""

from __future__ import annotations

from importlib.util import find_spec

from sift_launcher.errors import ExtraMissing


def require_moto() -> None:
    """Raises ExtraMissing unless moto and its server are installed."""
    if find_spec("moto") is None or find_spec("flask") is None:
        raise ExtraMissing(
            "a rehearsal needs moto, which plays AWS: pip install 'sift-launcher[rehearsal]'"
        )
