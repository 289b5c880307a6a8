from __future__ import annotations

import json
from io import BytesIO
from typing import Any

import pytest

from sift_launcher.rehearsal.front import Front
from sift_launcher.rehearsal.protocol import Refused

SIGNED = "AWS4-HMAC-SHA256 Credential=ASIAKEY/20260101/us-east-1/sagemaker/aws4_request, Signed"


def moto(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"moto: " + environ["wsgi.input"].read()]


def list_tags(request: dict[str, Any]) -> dict[str, Any] | None:
    return {"Tags": []} if request.get("ResourceArn") == "ours" else None


def refuse(request: dict[str, Any]) -> dict[str, Any]:
    raise Refused("ResourceInUse", "taken & gone")


FRONT = Front(
    moto,
    {"SageMaker.ListTags": list_tags, "SageMaker.CreateTrainingJob": refuse},
    {"": lambda _: {"rehearsal": 7}, "interrupt": lambda request: {"told": request["job"]}},
    {"ASIAKEY"},
)


def ask(
    target: str | None = None,
    body: bytes = b"{}",
    path: str = "/",
    signed: str | None = SIGNED,
    query: str = "",
) -> tuple[str, bytes]:
    environ = {
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": BytesIO(body),
    }
    environ |= {"HTTP_AUTHORIZATION": signed} if signed else {}
    environ |= {"HTTP_X_AMZ_TARGET": target} if target else {}
    statuses: list[str] = []
    content = b"".join(FRONT(environ, lambda status, headers: statuses.append(status)))
    return statuses[0], content


def test_our_operations_are_answered_here_and_others_by_moto_with_their_body():
    assert ask("SageMaker.ListTags", b'{"ResourceArn": "ours"}') == ("200 OK", b'{"Tags": []}')
    theirs = b'{"ResourceArn": "theirs"}'
    assert ask("SageMaker.ListTags", theirs) == ("200 OK", b"moto: " + theirs)
    assert ask("SageMaker.ListModels", b"{}") == ("200 OK", b"moto: {}")
    assert ask(None, b"object", "/bucket/key") == ("200 OK", b"moto: object")


def test_a_refusal_is_an_error_of_the_json_protocol():
    status, content = ask("SageMaker.CreateTrainingJob")
    assert status == "400 Bad Request"
    assert json.loads(content) == {
        "__type": "ResourceInUse",
        "message": "taken & gone",
        "Message": "taken & gone",
    }


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_what_is_no_json_object_is_refused(body: bytes):
    status, content = ask("SageMaker.ListTags", body)
    assert status == "400 Bad Request"
    assert json.loads(content)["__type"] == "SerializationException"


@pytest.mark.parametrize(
    "signed", [None, SIGNED.replace("ASIAKEY", "ASIAOTHER"), "Basic ASIAKEY", "Credential="]
)
@pytest.mark.parametrize("path", ["/", "/bucket", "/_rehearsal/interrupt", "/moto-api/reset"])
def test_whoever_lacks_the_key_gets_nothing(signed: str | None, path: str):
    status, content = ask(None, path=path, signed=signed)
    assert status == "403 Forbidden"
    assert b"UnrecognizedClientException" in content
    assert ask("SageMaker.ListTags", signed=signed)[0] == "403 Forbidden"


@pytest.mark.parametrize(
    "query",
    ["X-Amz-Credential=ASIAKEY%2F20260101%2Fus-east-1", "AWSAccessKeyId=ASIAKEY&Signature=x"],
)
def test_an_address_that_was_signed_beforehand_is_served(query: str):
    assert ask(path="/bucket/key", signed=None, query=query)[0] == "200 OK"


def test_a_rehearsal_says_to_everybody_that_it_is_one():
    assert ask(path="/_rehearsal", signed=None) == ("200 OK", b'{"rehearsal": 7}')


def test_controls_are_reached_below_their_path():
    told = ask(body=b'{"job": "a"}', path="/_rehearsal/interrupt")
    assert told == ("200 OK", b'{"told": "a"}')
    assert ask(path="/_rehearsal/nothing")[0] == "404 Not Found"
