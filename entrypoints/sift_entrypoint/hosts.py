"""Waiting until every host of a job has a name that resolves."""

from __future__ import annotations

import socket
import time

from .errors import ContractError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_PATIENCE = 15 * 60.0
_SAY_EVERY = 30.0
_LOOK_EVERY = 0.05  # seconds: containers of one machine come up within a tenth of one


def wait_for_hosts(
    hosts: Sequence[str], say: Callable[[str], None], patience: float = _PATIENCE
) -> None:
    """Return once all of ``hosts`` resolve; say which do not, every 30 s.

    Raises `ContractError` after ``patience`` seconds, naming those that never did.
    """
    start = time.monotonic()
    said = start
    missing = [host for host in hosts if not _resolves(host)]
    while missing:
        now = time.monotonic()
        if now - start >= patience:
            raise ContractError(
                f"no address for {', '.join(missing)} after {now - start:.0f} s: "
                f"are all hosts of resourceconfig.json on one network?"
            )
        if now - said >= _SAY_EVERY:
            say(f"waiting for {', '.join(missing)}")
            said = now
        time.sleep(min(_LOOK_EVERY, patience))
        missing = [host for host in missing if not _resolves(host)]


def _resolves(host: str) -> bool:
    try:
        socket.gethostbyname(host)
    except OSError:
        return False
    return True
