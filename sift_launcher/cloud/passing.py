"""What goes wrong between this machine and AWS, and passes by itself.

Source of the codes: botocore's own list of what is retried in its standard mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_THROTTLING = frozenset(
    {
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
_SERVER_ERROR = 500


class Passing(Exception):
    """AWS does not answer now, but will: the connection is lost, or there are too many calls."""

    def __init__(self, reason: str, is_throttling: bool = False) -> None:
        super().__init__(reason)
        self.is_throttling = is_throttling


@contextmanager
def told_apart() -> Iterator[None]:
    """Raises Passing in place of those of botocore's exceptions that pass by themselves."""
    from botocore.exceptions import (
        ClientError,
        ConnectionError,
        HTTPClientError,
        IncompleteReadError,
    )

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _THROTTLING:
            raise Passing(code, is_throttling=True) from error
        if status >= _SERVER_ERROR:
            raise Passing(f"AWS answers {status} {code}") from error
        raise
    except (ConnectionError, HTTPClientError, IncompleteReadError) as error:
        raise Passing(_in_short(error)) from error


def _in_short(error: Exception) -> str:
    """What there is to say of it, without what it was caused by in urllib3's words."""
    return str(error).partition(" (Caused by")[0].rstrip(".:")
