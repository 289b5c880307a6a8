"""A home for a user whom the container does not know, as where a job runs as its caller."""

from __future__ import annotations

import os
import pwd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def variables(environment: Mapping[str, str], say: Callable[[str], None]) -> dict[str, str]:
    """What to lay over ``environment`` for programs that ask where home is and who they are.

    ``HOME`` where it is nowhere or nobody may write there; ``USER`` and ``LOGNAME`` where neither
    they nor the system name the user, without which Python's ``getpass.getuser`` fails.
    """
    entry = _entry(os.getuid())
    found: dict[str, str] = {}
    home = environment.get("HOME") or (entry.pw_dir if entry else "")
    if not home or not os.access(home, os.W_OK | os.X_OK):
        made = _make_home(environment, say)
        if made:
            found["HOME"] = made
            # Docker's own word for "none" is /; a home that somebody named is missed.
            if home not in ("", "/"):
                say(f"HOME is {made}: user {os.getuid()} cannot write in {home}")
    if not entry and not environment.get("LOGNAME") and not environment.get("USER"):
        found["LOGNAME"] = found["USER"] = f"user{os.getuid()}"
    return found


def _make_home(environment: Mapping[str, str], say: Callable[[str], None]) -> str:
    home = os.path.join(environment.get("TMPDIR") or "/tmp", f"home-{os.getuid()}")
    try:
        os.makedirs(home, mode=0o700, exist_ok=True)
    except OSError as error:
        say(f"no HOME: cannot make {home}: {error.strerror}; set HOME to a folder that can be")
        return ""
    if os.stat(home).st_uid != os.getuid():
        say(f"no HOME: {home} is another user's; set HOME to a folder of your own")
        return ""
    return home


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None
