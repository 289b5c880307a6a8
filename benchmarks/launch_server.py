"""AWS's APIs in a process of its own, which says when it has accepted a training job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

REGION = "us-east-1"
ACCOUNT = "123456789012"  # moto's own
ROLE = "SageMakerRole"
BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"
_OPERATION = "SageMaker.CreateTrainingJob"


class Server:
    """A server on a free port with a role and the default bucket, as long as the context lasts."""

    def __enter__(self) -> Server:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.environment = {
            "AWS_ENDPOINT_URL": self._line(),
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }
        trust = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}}
        self.client("iam").create_role(
            RoleName=ROLE,
            AssumeRolePolicyDocument=json.dumps(
                {"Statement": [trust | {"Action": "sts:AssumeRole"}]}
            ),
        )
        self.client("s3").create_bucket(Bucket=BUCKET)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def client(self, service: str) -> Any:
        """A client of the server."""
        import botocore.session

        return botocore.session.get_session().create_client(
            service,
            region_name=REGION,
            endpoint_url=self.environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="AKIAIOSFODNN7EXAMPLE",
            aws_secret_access_key="none",
        )

    def launch(self, command: list[str], env: dict[str, str]) -> float:
        """Seconds from starting `command`, which must succeed, to its job being accepted."""
        start = time.time()
        subprocess.run(
            command, check=True, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        return self.accepted() - start

    def accepted(self) -> float:
        """When the next job was accepted, in seconds since the epoch."""
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - it is a pipe
        return self._process.stdout.readline().strip()


def serve() -> None:
    """The server's side: its address, then the time of every job that it has accepted."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    application = DomainDispatcherApplication(create_backend_app)

    def telling(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = list(application(environ, start_response))
        if environ.get("HTTP_X_AMZ_TARGET") == _OPERATION:
            print(time.time(), flush=True)
        return answer

    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    server = make_server("127.0.0.1", 0, telling, threaded=True)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve()
