"""Answers of AWS's that moto never gives, for the event `before-send` of a botocore client."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

from botocore.awsrequest import AWSResponse


def answer(status: int, content: bytes = b"", kind: str = "text/plain") -> AWSResponse:
    """What came back, whatever was sent."""
    return AWSResponse("", status, {"content-type": kind}, _Body(content))


def refusal(code: str, text: str) -> AWSResponse:
    """As SageMaker's API refuses a call."""
    content = json.dumps({"__type": code, "message": text}).encode()
    return answer(400, content, "application/x-amz-json-1.1")


class _Body(io.BytesIO):
    def stream(self, *sizes: int) -> Iterator[bytes]:
        yield self.read()
