"""An image registry on this machine, as far as an engine needs one to pull from."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_CONFIG = "application/vnd.docker.container.image.v1+json"


class Registry:
    """Images of one file each, by name; what is `private/...` is given to nobody."""

    def __init__(self, port: int) -> None:
        self.host = f"127.0.0.1:{port}"
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.stalls = False
        self.stalled = threading.Event()
        self.go_on = threading.Event()

    def add(
        self,
        name: str,
        *,
        architecture: str = "amd64",
        config: Mapping[str, Any] | None = None,
        layers: Sequence[bytes] = (b"content",),
    ) -> str:
        """Adds the image `name:latest`; what to pull it by."""
        made = [_layer(f"file-{index}", content) for index, content in enumerate(layers)]
        described = {
            "architecture": architecture,
            "os": "linux",
            "config": dict(config or {}),
            "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in made]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._blob(json.dumps(described).encode(), _CONFIG),
            "layers": [self._blob(zipped, _LAYER) for zipped, _ in made],
        }
        self.manifests[name] = json.dumps(manifest).encode()
        return f"{self.host}/{name}:latest"

    def _blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = _digest(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "size": len(content), "digest": digest}


@contextmanager
def serve() -> Iterator[Registry]:
    """A registry that serves within the context."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    registry = Registry(server.server_port)
    _Handler.registry = registry
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield registry
    finally:
        registry.go_on.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        registry = self.registry
        path = self.path.removeprefix("/v2/")
        if path == "":
            self._send(200, "application/json", b"{}")
        elif path.startswith("private/"):
            told = {"errors": [{"code": "DENIED", "message": "not for you"}]}
            self._send(403, "application/json", json.dumps(told).encode())
        elif "/blobs/" in path:
            self._send_blob(registry.blobs[path.rpartition("/")[2]])
        elif (name := path.split("/manifests/")[0]) in registry.manifests:
            content = registry.manifests[name]
            self._send(200, _MANIFEST, content)
        else:
            told = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            self._send(404, "application/json", json.dumps(told).encode())

    def _send_blob(self, content: bytes) -> None:
        if self.registry.stalls and len(content) > 100_000:
            half = len(content) // 2
            self._head(200, "application/octet-stream", content)
            self.wfile.write(content[:half])
            self.registry.stalled.set()
            self.registry.go_on.wait()
            self.close_connection = True
            return
        self._send(200, "application/octet-stream", content)

    def _send(self, code: int, media_type: str, content: bytes) -> None:
        self._head(code, media_type, content)
        if self.command == "GET":
            self.wfile.write(content)

    def _head(self, code: int, media_type: str, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Content-Digest", _digest(content))
        self.send_header("Docker-Distribution-API-Version", "registry/2.0")
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        pass


def _layer(name: str, content: bytes) -> tuple[bytes, str]:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return gzip.compress(raw.getvalue(), mtime=0), _digest(raw.getvalue())


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()
