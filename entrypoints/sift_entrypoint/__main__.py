"""``python -m sift_entrypoint``: an image's ENTRYPOINT. It runs the job, or what it is told to.

``train``, or nothing, runs the job that the container contract describes. Anything else is a
command of the user's, such as ``bash`` or ``python x.py``, and takes this process's place.
"""

from __future__ import annotations

import os
import sys

_WRONG_CALL = 2
_NOT_FOUND = 127  # a shell's own exit codes for these
_NOT_EXECUTABLE = 126


def main() -> int:
    """Run the job, or become the command; an exit code unless it is another program by then."""
    # Not sys.argv, from which sifting's own options may be gone already: the command has them.
    typed = sys.orig_argv
    command = typed[typed.index("sift_entrypoint") + 1 :]
    if not command or command[0] == "train":
        return _train(command[1:])
    return _become(command)


def _train(arguments: list[str]) -> int:
    if arguments:
        _say(
            f"train takes no arguments, and here is {arguments[0]!r}: "
            f"write what the script gets into input/config/hyperparameters.json"
        )
        return _WRONG_CALL
    if not getattr(sys.flags, "safe_path", False):
        # Python's -m put the folder we are in there. It is the user's: a json.py in it is theirs.
        del sys.path[0]
    from .train import main as train  # which a command of the user's does not wait for

    return train()


def _become(command: list[str]) -> int:
    """Replace this process by ``command``; returns, with a shell's exit code, only if it cannot."""
    import signal

    from . import home

    os.environ.update(home.variables(os.environ, _say))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and the command would too
    name = command[0]
    try:
        os.execvp(name, command)
    except (FileNotFoundError, NotADirectoryError):
        return _cannot(name, "there is no such command", _NOT_FOUND)
    except (OSError, ValueError) as error:
        return _cannot(name, getattr(error, "strerror", None) or str(error), _NOT_EXECUTABLE)


def _cannot(name: str, why: str, code: int) -> int:
    _say(f"cannot run {name!r}: {why}; name train, or a command of this image")
    return code


def _say(message: str) -> None:
    sys.stderr.write(f"sift: {message}\n")


if __name__ == "__main__":
    sys.exit(main())
