"""One container that was started: its log, its end, and what made it end."""

from __future__ import annotations

import io
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sift_launcher.local.container_log import copy_log
from sift_launcher.local.hearing import hears
from sift_launcher.local.host_runner import HostEnd

if TYPE_CHECKING:
    from docker import APIClient

_AT_ONCE_BYTES = 256 * 1024
_MEBIBYTE = 1024 * 1024
# What the first process does not hear is lost. Where nothing shows when it begins to hear, it is
# given so long.
_DEAF_SECONDS = 5.0
_LOOK_SECONDS = 0.05
_STREAMS = {"stdout": 1, "stderr": 1, "stream": 1, "logs": 0}


class ContainerHost:
    """One host that runs as a container; see RunningHost."""

    def __init__(
        self,
        api: APIClient,
        identity: str,
        log: Path,
        memory_bytes: int | None,
        failure: Path,
        wake: Callable[[], None],
    ) -> None:
        """Takes hold of the output of container `identity`, which is not started yet: of what it
        prints before, nothing would be kept. `failure`: the file in which it says why it failed."""
        self._api = api
        self._identity = identity
        self._log = log
        self._memory_bytes = memory_bytes
        self._failure = failure
        self._wake = wake
        self._end: HostEnd | None = None
        self._hears_at_last = 0.0
        self._output = io.BufferedReader(
            api.attach_socket(identity, params=_STREAMS), _AT_ONCE_BYTES
        )

    def attend(self) -> None:
        """Copies the log and waits for the end, in a thread, once the container is started."""
        self._hears_at_last = time.monotonic() + _DEAF_SECONDS
        threading.Thread(target=self._attend, daemon=True).start()

    def end(self) -> HostEnd | None:
        """See RunningHost."""
        return self._end

    def terminate(self) -> None:
        """See RunningHost."""
        threading.Thread(target=self._terminate, daemon=True).start()

    def kill(self) -> None:
        """See RunningHost."""
        self._signal(signal.SIGKILL)

    def _terminate(self) -> None:
        pid = self._first_process()
        while self._end is None and not self._hears(pid):
            time.sleep(_LOOK_SECONDS)
        self._signal(signal.SIGTERM)

    def _first_process(self) -> int:
        """Its number, 0 when it has ended."""
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        with suppress(DockerException, RequestException):  # told by whoever waits for the end
            return int(self._api.inspect_container(self._identity)["State"]["Pid"])
        return 0

    def _hears(self, pid: int) -> bool:
        is_heard = hears(self._identity, pid, signal.SIGTERM)
        return time.monotonic() >= self._hears_at_last if is_heard is None else is_heard

    def _signal(self, number: signal.Signals) -> None:
        from docker.errors import APIError
        from requests.exceptions import RequestException

        if self._end is not None:
            return
        try:
            # It has ended meanwhile: an APIError, which says no more than that.
            with suppress(APIError):
                self._api.kill(self._identity, number)
        except RequestException as error:
            self._set(_lost(error))

    def _attend(self) -> None:
        from docker.errors import DockerException
        from requests.exceptions import RequestException

        try:
            with self._output:
                copy_log(self._output.read, self._log)
            code = int(self._api.wait(self._identity, timeout=None)["StatusCode"])
            state = self._api.inspect_container(self._identity)["State"]
            is_out_of_memory = state["OOMKilled"] or self._says_out_of_memory()
            self._set(HostEnd(code, self._out_of_memory() if is_out_of_memory else ""))
        except (DockerException, RequestException, OSError) as error:
            self._set(_lost(error))

    def _set(self, end: HostEnd) -> None:
        if self._end is None:
            self._end = end
        self._wake()

    def _says_out_of_memory(self) -> bool:
        """What kills a process of the host may reach the engine after the host's end, or never; our
        entrypoint, which lives in it, has seen it."""
        with suppress(OSError):
            return "memory ran out (limit " in self._failure.read_text("utf-8", errors="replace")
        return False

    def _out_of_memory(self) -> str:
        if self._memory_bytes is None:
            return "OutOfMemory: a process was killed because the machine's memory was full"
        return (
            "OutOfMemory: a process was killed at the host's limit of "
            f"{self._memory_bytes / _MEBIBYTE:.0f} MiB: set a higher --memory, or train on "
            "smaller batches"
        )


def _lost(error: Exception) -> HostEnd:
    from docker.errors import NotFound

    if isinstance(error, NotFound):
        return HostEnd(None, "the host's container was removed by someone else while it ran")
    return HostEnd(
        None,
        "the Docker engine was lost while the job ran, and the host with it: its own log says why "
        "(journalctl -u docker)",
    )
