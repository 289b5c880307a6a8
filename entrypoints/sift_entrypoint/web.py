"""Asking an HTTP server for something, again where that may help, with the standard library."""

from __future__ import annotations

import http.client
import os
import ssl
import time
import urllib.error
import urllib.request

from .errors import CodeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    T = TypeVar("T")

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""How long to wait, in seconds, before each further attempt."""

_BUSY = frozenset({408, 429, 500, 502, 503, 504})
_TOLD = 64 * 1024  # more of an error's text is no text


class Again(Exception):
    """What may go well the next time."""


class Refused(Exception):
    """Any answer but success: its status, headers (in small letters) and body."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        super().__init__(f"HTTP status {status}")
        self.status = status
        self.headers = headers
        self.body = body


def get(
    url: str,
    headers: Mapping[str, str],
    timeout: float = 60.0,
    method: str = "GET",
    proxied: bool = True,
) -> http.client.HTTPResponse:
    """The answer of ``url``. Raises `Again`, `Refused`, or `CodeError` where nothing will help."""
    if not url.startswith(("http://", "https://")):
        raise CodeError(f"{url} is no address: it must begin with http:// or https://")
    opener = urllib.request.build_opener(*_handlers(url, proxied))
    try:
        request = urllib.request.Request(url, headers=dict(headers), method=method)
        answer: http.client.HTTPResponse = opener.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        with error:
            body = error.read(_TOLD)
        if error.code in _BUSY:
            raise Again(f"{_host(url)} answers HTTP status {error.code}") from error
        told = {name.lower(): value for name, value in error.headers.items()}
        raise Refused(error.code, told, body) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise CodeError(
                f"cannot trust {_host(url)} ({error.reason.verify_message}): install the image's "
                f"ca-certificates, or set AWS_CA_BUNDLE to a file with the right ones"
            ) from error
        raise Again(f"{_host(url)} is not reached: {error.reason}") from error
    except http.client.InvalidURL as error:
        raise CodeError(f"{url} is no address: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise Again(f"{_host(url)} is not reached: {error!r}") from error
    return answer


def repeated(
    attempt: Callable[[], T],
    what: str,
    pause: Callable[[float], None] = time.sleep,
    waits: tuple[float, ...] = WAITS,
) -> T:
    """What ``attempt`` returns in the end. Raises `CodeError` when it never does."""
    for wait in waits:
        try:
            return attempt()
        except Again:
            pause(wait)
    try:
        return attempt()
    except Again as error:
        raise CodeError(f"{what}, tried {len(waits) + 1} times: {error}") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A signature is for one host; what is elsewhere is asked for anew."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _handlers(url: str, proxied: bool) -> list[urllib.request.BaseHandler]:
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if not proxied:
        handlers.append(urllib.request.ProxyHandler({}))
    if url.startswith("https:"):
        bundle = os.environ.get("AWS_CA_BUNDLE") or None
        try:
            context = ssl.create_default_context(cafile=bundle)
        except (OSError, ssl.SSLError) as error:
            raise CodeError(f"cannot read AWS_CA_BUNDLE {bundle}: {error}") from error
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return handlers


def _host(url: str) -> str:
    return url.split("/")[2]
