"""What an engine of another kind answers, on a socket as a real one's."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

INFO: dict[str, Any] = {
    "OSType": "linux",
    "NCPU": 8,
    "MemTotal": 16_000_000_000,
    "DockerRootDir": "/var/lib/docker",
    "Runtimes": {"runc": {"path": "runc"}},
    "SecurityOptions": ["name=seccomp,profile=default"],
    "host": {"security": {"rootless": False}},  # in podman's own language
}
VERSION: dict[str, Any] = {
    "Version": "27.1.0",
    "ApiVersion": "1.46",
    "Os": "linux",
    "Arch": "amd64",
    "Components": [{"Name": "Engine"}],
}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    answers: Mapping[str, tuple[int, Any]]
    hangs = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        path = "/" + self.path.rpartition("/")[2]
        if not self.server.answers:
            self.server.hangs.wait(30)
            return
        code, answer = self.server.answers.get(path, (404, {"message": "No such image"}))
        body = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "client"

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def fake_engine(
    folder: Path, info: Mapping[str, Any] = INFO, version: Mapping[str, Any] | None = VERSION
) -> Iterator[str]:
    """The address of such an engine, which has no images; without a `version` it takes calls and
    never answers."""
    path = folder / "engine.sock"
    server = _Server(str(path), _Handler)
    answers = {} if version is None else {"/info": (200, info), "/version": (200, version)}
    server.answers = answers
    server.hangs = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"unix://{path}"
    finally:
        server.hangs.set()
        server.shutdown()
        thread.join()
        server.server_close()
