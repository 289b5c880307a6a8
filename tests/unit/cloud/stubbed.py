"""Clients whose answers a test writes, where moto has none."""

from __future__ import annotations

from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.stub import Stubber

from sift_launcher.cloud.client import Clients


class StubbedClients(Clients):
    """Every service that a test has stubbed answers in the order of its stubs; AWS's other ones
    are never asked."""

    def __init__(self, region: str = "eu-west-1", profile: str | None = None) -> None:
        super().__init__(region, profile)
        self.endpoint = None
        self._stubs: dict[str, Stubber] = {}

    def stub(self, service: str) -> Stubber:
        if service not in self._stubs:
            self._stubs[service] = Stubber(self(service))
            self._stubs[service].activate()
        return self._stubs[service]


def answer_always(client: Any, operation: str, answer: dict[str, Any], status: int = 200) -> None:
    """The client answers each call of `operation` so, and all others as before: from any thread,
    in any order."""
    parsed = {"ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}}, **answer}
    response = AWSResponse("https://example.invalid", status, {}, None)
    name = f"before-call.{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register_first(name, lambda **_: (response, parsed))
