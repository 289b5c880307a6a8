"""The server of a rehearsal: moto and our training jobs behind one address of this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from sift_launcher.cloud.shapes import violations
from sift_launcher.errors import JobHasEnded, RehearsalError
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.status import ENDED
from sift_launcher.rehearsal.account import BUCKET, Account
from sift_launcher.rehearsal.endpoint import Endpoint, environment, lead_to_this_machine
from sift_launcher.rehearsal.files import RehearsalFiles
from sift_launcher.rehearsal.front import Front, Handler
from sift_launcher.rehearsal.log_shipper import LogShipper
from sift_launcher.rehearsal.pricing import get_products
from sift_launcher.rehearsal.requirements import require_moto
from sift_launcher.rehearsal.stage import Stage
from sift_launcher.rehearsal.training_jobs import TrainingJobs

HOST = "127.0.0.1"  # a job is code that runs as this user: nobody else's machine may send one
_LOOK_SECONDS = 0.5
_SHUTDOWN_SECONDS = 0.05
_KILLED_SECONDS = 60.0  # a busy machine takes long to put what the jobs leave


class RehearsalServer:
    """A rehearsal that answers, in threads of its own, as long as the context lasts.

    It begins with an empty account and takes all with it when it ends: jobs, objects, logs.
    """

    def __init__(self, files: RehearsalFiles, runs: str, port: int = 0) -> None:
        """`runs`: what plays an instance, `process` or `local`, unless a job is staged otherwise.
        `port`: 0 is a free one."""
        self._files = files
        self._home = files.home
        self._runs = runs
        self._port = port

    def __enter__(self) -> RehearsalServer:
        clear(self._home)
        key = f"ASIA{secrets.token_hex(8).upper()}"
        keys = {key}
        operations: dict[str, Handler] = {"AWSPriceListService.GetProducts": get_products}
        controls: dict[str, Handler] = {"": lambda _: {"rehearsal": os.getpid()}}
        others = _moto()
        listener = _listen(self._port)
        url = f"http://{HOST}:{listener.getsockname()[1]}"
        self._front = Front(others, operations, controls, keys)
        self._server = _server(listener, self._front)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_SHUTDOWN_SECONDS,), daemon=True
        )
        self._thread.start()
        account = Account(url, key)
        credentials = account.furnish()
        keys.add(credentials.access_key)
        self.endpoint = Endpoint(url, environment(url, credentials, self._files.sdk_config))
        self._logs = LogShipper(lambda: account.client("logs"))
        stage = Stage(self._home, self._runs, self.endpoint.environment)
        self.jobs = TrainingJobs(self._home, stage, account, self._logs)
        operations |= self.jobs.operations
        controls |= self.jobs.controls
        self._files.write(self.endpoint, os.getpid(), BUCKET)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._logs.close()
        clear(self._home)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def warm_up(self) -> None:
        """Loads what the first job will need, so that it does not wait for it."""
        violations("CreateTrainingJob", {})
        self._logs.warm_up()

    def wait(self, stop: threading.Event, idle_seconds: float | None) -> None:
        """Returns on `stop`, or when nothing was asked and no job has run for so long."""
        busy = time.monotonic()
        while not stop.wait(_LOOK_SECONDS):
            idle = time.monotonic() - max(busy, self._front.last_request)
            if idle_seconds is None or idle < idle_seconds:
                continue
            if not self.jobs.running():
                return
            busy = time.monotonic()


def serve(
    runs: str, port: int, idle_seconds: float | None, announce: Callable[[Endpoint], None]
) -> None:
    """Serves the rehearsal of this user's state folder, until SIGTERM or SIGINT, or until it has
    been idle for so long. `announce` is called when it answers.

    Raises RehearsalError when there is one already.
    """
    stop = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    lead_to_this_machine()
    files = RehearsalFiles()
    with files.served(), RehearsalServer(files, runs, port) as server:
        announce(server.endpoint)
        server.warm_up()
        server.wait(stop, idle_seconds)


def clear(home: Path) -> None:
    """Ends what jobs an earlier rehearsal left in `home`, and removes them."""
    service = LocalTrainingService(home)
    deadline = time.monotonic() + _KILLED_SECONDS
    for name in service.names():
        with suppress(JobHasEnded):
            service.kill_training_job(TrainingJobName=name)
    while time.monotonic() < deadline:
        if all(service.status(name)["TrainingJobStatus"] in ENDED for name in service.names()):
            break
        time.sleep(0.02)
    shutil.rmtree(home, ignore_errors=True)
    # A job that is on its way out may have written there meanwhile.
    home.mkdir(parents=True, exist_ok=True)


def _moto() -> Any:
    require_moto()
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    return DomainDispatcherApplication(create_backend_app)


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise RehearsalError(
            f"port {port} cannot be served ({error.strerror}): choose another --port, or none"
        ) from error


def _server(listener: socket.socket, front: Front) -> Any:
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from werkzeug.serving import make_server

    class Quiet(MotoRequestHandler):
        def log_request(self, *words: object) -> None:
            """Says nothing: it is asked many times a second."""

    host, port = listener.getsockname()
    with listener:  # the server has a copy of its own
        return make_server(
            host, port, front, threaded=True, request_handler=Quiet, fd=listener.fileno()
        )
