"""Running a command as the job's one child: signals in, whole lines and an exit code out.

The process that runs this is process 1 of a container, or makes itself the reaper of its
descendants: nothing the script started outlives the job, and no zombie stays behind.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

from .errors import ScriptError, Stopped
from .lines import LOG_VARIABLE, LineStream, log_variable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
# How long, in seconds, processes that outlive the script may go on, and then have to end.
_AFTERLIFE = 1.0
# How long, in seconds, those that were killed may take: on a busy machine each has to run for it.
_DEATH = 30.0
_CHUNK = 64 * 1024
# Small pieces that come faster than this, in seconds, are gathered: waking for every line of a
# script that prints all the time would slow the script down.
_GATHER = 0.001
_SMALL = 4096
_PR_SET_CHILD_SUBREAPER = 36


class Outcome:
    """How a command ended. ``returncode`` is negative where a signal killed it."""

    __slots__ = ("returncode", "stderr_tail", "stdout_tail")

    def __init__(self, returncode: int, stdout_tail: bytes, stderr_tail: bytes) -> None:
        self.returncode = returncode
        self.stdout_tail = stdout_tail
        self.stderr_tail = stderr_tail


class Signals:
    """Passes the signals this process receives on to its child's process group.

    Once that has ended they come too late and do nothing, until another child is awaited.
    """

    __slots__ = ("group", "stopped_by")

    def __init__(self) -> None:
        self.group: int | None = None
        self.stopped_by: int | None = None

    def install(self) -> None:
        """Receive signals from now on. ``nohup``'s ignored SIGHUP stays ignored."""
        for number in _FORWARDED:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            signal.signal(number, self._forward)

    def await_another(self) -> None:
        """The child has ended, and is not the last. Raises `Stopped` if it was told to stop."""
        self.group = None
        if self.stopped_by is not None:
            raise Stopped(self.stopped_by)

    def _forward(self, number: int, _frame: object) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self.stopped_by = number
        if self.group is not None:
            _signal_group(self.group, number)
        elif number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            raise Stopped(number)


def adopt_orphans() -> None:
    """Become the parent of descendants that lose theirs (Linux; process 1 is so already)."""
    if os.getpid() == 1 or not sys.platform.startswith("linux"):
        return
    import ctypes  # only here, as it costs start-up time

    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(command: list[str], environment: Mapping[str, str], signals: Signals) -> Outcome:
    """Run ``command`` in the current folder and wait for its end.

    Its standard output and error come out of ours line by line. Raises `ScriptError` when it
    cannot be started.
    """
    strangers = set(_children())
    wake, out, err = os.pipe(), os.pipe(), os.pipe()
    for descriptor in wake:
        os.set_blocking(descriptor, False)
    signal.signal(signal.SIGCHLD, _ignore)
    signal.set_wakeup_fd(wake[1], warn_on_full_buffer=False)
    streams = {out[0]: LineStream(1), err[0]: LineStream(2)}
    stdout, stderr = streams.values()
    try:
        try:
            log = {LOG_VARIABLE: log_variable(out[1], err[1])}
            pid = _start(command, {**environment, **log}, out[1], err[1], signals)
        finally:
            os.close(out[1])
            os.close(err[1])
        returncode = _attend(pid, wake[0], streams, strangers)
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for descriptor in (*wake, *streams):
            os.close(descriptor)
    return Outcome(returncode, stdout.tail, stderr.tail)


def _start(
    command: list[str], environment: Mapping[str, str], out: int, err: int, signals: Signals
) -> int:
    """Start ``command`` in a process group of its own; its process id."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, out, 1),
        (os.POSIX_SPAWN_DUP2, err, 2),
    ]
    defaults = [*_FORWARDED, signal.SIGPIPE, signal.SIGXFSZ]
    # A signal between the start and the note of the group would be lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
    try:
        signals.group = os.posix_spawn(
            command[0],
            command,
            dict(environment),
            file_actions=actions,
            setpgroup=0,
            setsigmask=before,
            setsigdef=defaults,
        )
    except OSError as error:
        raise ScriptError(f"cannot start {command[0]}: {error.strerror}") from error
    except ValueError as error:  # a NUL, or text that is not text, in an argument or a variable
        raise ScriptError(f"a hyperparameter cannot be handed to the script: {error}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return signals.group


def _attend(pid: int, wake: int, streams: dict[int, LineStream], strangers: set[int]) -> int:
    """Copy output and reap until the script and all it started are gone; its return code."""
    poller = select.poll()
    for descriptor in (wake, *streams):
        poller.register(descriptor, select.POLLIN)
    reading = set(streams)
    complained = False
    returncode: int | None = None
    number = signal.SIGTERM
    ends_at = gives_up_at = float("inf")
    last_came = 0.0
    while returncode is None or reading or _orphans(strangers):
        now = time.monotonic()
        if returncode is not None and ends_at == float("inf"):
            ends_at = now + _AFTERLIFE
        if now >= gives_up_at:
            break
        if now >= ends_at:
            _end(pid, strangers, number)
            # Each step from the one before: this process, too, may have been held back.
            if number == signal.SIGTERM:
                number, ends_at = signal.SIGKILL, time.monotonic() + _AFTERLIFE
            elif gives_up_at == float("inf"):
                patience = _DEATH if _orphans(strangers) else _AFTERLIFE
                gives_up_at = time.monotonic() + patience
        # Processes that are not ours to wait for give no signal when they end: look again.
        pause = None if returncode is None else 20
        ready = poller.poll(pause)
        came = time.monotonic()
        for descriptor, _ in ready:
            if descriptor == wake:
                os.read(wake, _CHUNK)
                continue
            copied = _copy(descriptor, streams[descriptor])
            if copied == 0:
                poller.unregister(descriptor)
                reading.discard(descriptor)
            elif copied < _SMALL and came - last_came < _GATHER:
                time.sleep(_GATHER)
            last_came = came
        complained = complained or _complain(streams.values())
        ended = _reap(pid)
        returncode = ended if returncode is None else returncode
    for descriptor in reading:
        streams[descriptor].close()
    return returncode if returncode is not None else 0


def _copy(descriptor: int, stream: LineStream) -> int:
    """Hand on what is there to read; how many bytes, 0 at the stream's end."""
    chunk = os.read(descriptor, _CHUNK)
    if chunk:
        stream.feed(chunk)
    else:
        stream.close()
    return len(chunk)


def _complain(streams: Iterable[LineStream]) -> bool:
    for stream in streams:
        if stream.error is not None:
            reason = stream.error.strerror
            LineStream(2).feed(
                f"sift: output is lost, the log cannot be written: {reason}\n".encode()
            )
            return True
    return False


def _reap(pid: int) -> int | None:
    """Reap every child that has ended; the script's return code when it is among them."""
    returncode = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return returncode
        if ended == 0:
            return returncode
        if ended == pid:
            returncode = os.waitstatus_to_exitcode(status)


def _orphans(strangers: set[int]) -> set[int]:
    return set(_children()) - strangers


def _end(group: int, strangers: set[int], number: int) -> None:
    _signal_group(group, number)
    for pid in _orphans(strangers):
        os.kill(pid, number)  # a child that we have not reaped: its number cannot be another's


def _children() -> list[int]:
    """This process's children, adopted ones too. Linux alone tells; elsewhere none."""
    own = os.getpid()
    try:
        with open(f"/proc/{own}/task/{own}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except FileNotFoundError:
        return []


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass  # the whole group has ended
    except PermissionError:
        pass  # what is left of the group is not ours to signal (a set-user-id program)


def _ignore(_number: int, _frame: object) -> None:
    """SIGCHLD needs a handler for it to wake the wait."""
