"""The one door of a rehearsal: SageMaker's training jobs are answered here, all else by moto."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from sift_launcher.rehearsal.protocol import (
    Application,
    Environ,
    Refused,
    StartResponse,
    answer_json,
    answer_refusal,
    read_json,
)

Handler = Callable[[dict[str, Any]], "dict[str, Any] | None"]
"""Answers the body of a request; None leaves the request to moto."""

CONTROL = "/_rehearsal"

# The header of a signed request, and the query of an address that was signed beforehand.
_KEY = re.compile(r"(?:Credential|AWSAccessKeyId)=([^/&%,]+)")


class Front:
    """The WSGI application."""

    def __init__(
        self,
        others: Application,
        operations: Mapping[str, Handler],
        controls: Mapping[str, Handler],
        keys: Collection[str],
    ) -> None:
        """`others` answers what `operations` (by AWS's target, `SageMaker.ListTags`) and
        `controls` (by the path below /_rehearsal) do not.

        Whoever may start a job here runs code as this user: only requests with one of the access
        `keys` are served. They do not leave this machine, so the key alone is proof enough.
        """
        self._others = others
        self._operations = operations
        self._controls = controls
        self._keys = keys
        self.last_request = time.monotonic()
        """When somebody asked for something."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == CONTROL:
            return answer_json(start_response, self._controls[""]({}) or {})
        try:
            self._check_key(environ)
            self.last_request = time.monotonic()
            if path.startswith(CONTROL + "/"):
                return answer_json(start_response, self._control(path, environ))
            answer = self._answer(environ)
        except Refused as refused:
            return answer_refusal(environ, start_response, refused)
        if answer is None:
            return self._others(environ, start_response)
        return answer_json(start_response, answer)

    def _check_key(self, environ: Environ) -> None:
        signature = environ.get("HTTP_AUTHORIZATION") or environ.get("QUERY_STRING", "")
        found = _KEY.search(signature)
        if found is None or found[1] not in self._keys:
            raise Refused(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
                403,
            )

    def _control(self, path: str, environ: Environ) -> dict[str, Any]:
        handler = self._controls.get(path.removeprefix(CONTROL + "/"))
        if handler is None:
            raise Refused("NotFound", f"a rehearsal has no {path}", 404)
        return handler(read_json(environ)) or {}

    def _answer(self, environ: Environ) -> dict[str, Any] | None:
        handler = self._operations.get(environ.get("HTTP_X_AMZ_TARGET", ""))
        return handler(read_json(environ)) if handler else None
