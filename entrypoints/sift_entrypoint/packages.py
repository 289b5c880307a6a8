"""Installing what the job's code needs, also where the interpreter's own packages are read-only."""

from __future__ import annotations

import os
import sys

from .child import Signals, run
from .errors import InstallError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def interpreter(say: Callable[[str], None]) -> str:
    """The Python to install packages into and to run the code with: this one where it may be.

    Else a virtual environment over it in a temporary folder: what is installed there is found
    first, and all that is installed already is found after it, and counts for pip. Raises
    `InstallError` where there is no room for one.
    """
    import site

    places = [place for place in site.getsitepackages() if os.path.isdir(place)]
    if site.ENABLE_USER_SITE and os.path.isdir(site.getusersitepackages()):
        places.append(site.getusersitepackages())
    if places and os.access(places[0], os.W_OK | os.X_OK) and not _is_managed():
        return sys.executable
    folder = _make_environment(places)
    say(f"packages go to {folder}: those of {sys.executable} are not to be changed")
    return os.path.join(folder, "bin", "python3")


def install(
    python: str, wanted: list[str], folder: str, variables: Mapping[str, str], signals: Signals
) -> None:
    """``pip install`` what is ``wanted`` in ``folder``. Raises `InstallError`."""
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    outcome = run(pip + wanted, variables, signals)
    signals.await_another()
    if outcome.returncode != 0:
        raise InstallError(
            f"pip install {' '.join(wanted)} failed in {folder}: {_complaint(outcome.stderr_tail)}"
        )


def _is_managed() -> bool:
    """Whether a distribution manages this Python's packages, so that pip refuses to."""
    import sysconfig

    outside = sys.prefix == sys.base_prefix
    return outside and os.path.isfile(
        os.path.join(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    )


def _make_environment(places: list[str]) -> str:
    """A virtual environment that has everything in ``places`` too; its folder.

    By hand, as an image's Python may come without ``venv``.
    """
    import tempfile

    base = getattr(sys, "_base_executable", "") or sys.executable
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    try:
        folder = tempfile.mkdtemp(prefix="packages-")
        programs = os.path.join(folder, "bin")
        own = os.path.join(folder, "lib", version, "site-packages")
        os.mkdir(programs)
        os.makedirs(own)
        for name in ("python", "python3"):
            os.symlink(base, os.path.join(programs, name))
        with open(os.path.join(folder, "pyvenv.cfg"), "w", encoding="utf-8") as file:
            file.write(f"home = {os.path.dirname(base)}\ninclude-system-site-packages = false\n")
        with open(os.path.join(own, "image.pth"), "w", encoding="utf-8") as file:
            # Not their paths alone: .pth files count in a site folder only.
            file.writelines(f"import site; site.addsitedir({place!r})\n" for place in places)
    except OSError as error:
        raise InstallError(
            f"nowhere to install packages: those of {sys.executable} are not to be changed, "
            f"and no temporary folder can be made: {error.strerror}"
        ) from error
    return folder


def _complaint(printed: bytes) -> str:
    """What pip names as the error, below which it may print hints."""
    lines = [line.strip() for line in printed.decode("utf-8", "replace").splitlines()]
    errors = [line for line in lines if line.lower().startswith("error:")]
    return (errors or [line for line in lines if line] or ["see the log"])[-1]
