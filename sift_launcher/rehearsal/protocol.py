"""AWS's JSON protocol, as far as the rehearsal speaks it by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]
"""A WSGI application."""

_REASONS = {200: "200 OK", 400: "400 Bad Request", 403: "403 Forbidden", 404: "404 Not Found"}


class Refused(Exception):
    """A request that gets an error of AWS's in place of an answer."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.status = status

    def to_json(self) -> dict[str, str]:
        """The body of the answer; clients find the text under either name."""
        return {"__type": self.code, "message": str(self), "Message": str(self)}


def invalid(message: str) -> Refused:
    """What SageMaker answers to a request that it cannot serve."""
    return Refused("ValidationException", message)


def read_json(environ: Environ) -> dict[str, Any]:
    """The body of the request, which is left there for whoever else wants to read it."""
    content = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = BytesIO(content)
    try:
        body = json.loads(content or b"{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise Refused("SerializationException", "the body is no JSON object")
    return body


def answer_json(
    start_response: StartResponse, body: dict[str, Any], status: int = 200
) -> list[bytes]:
    """Answers with `body`."""
    content = json.dumps(body).encode()
    return _answer(start_response, status, "application/x-amz-json-1.1", content)


def answer_refusal(
    environ: Environ, start_response: StartResponse, refused: Refused
) -> list[bytes]:
    """Answers with the error, in the form that the asked API's clients read."""
    if "HTTP_X_AMZ_TARGET" in environ or environ["PATH_INFO"].startswith("/_rehearsal"):
        return answer_json(start_response, refused.to_json(), refused.status)
    from xml.sax.saxutils import escape

    error = f"<Code>{refused.code}</Code><Message>{escape(str(refused))}</Message>"
    content = f"<ErrorResponse><Error>{error}</Error></ErrorResponse>".encode()
    return _answer(start_response, refused.status, "text/xml", content)


def _answer(
    start_response: StartResponse, status: int, content_type: str, content: bytes
) -> list[bytes]:
    headers = [("Content-Type", content_type), ("Content-Length", str(len(content)))]
    start_response(_REASONS[status], headers)
    return [content]
