"""Fetching one object from S3 with the standard library alone, where a job's code lies there.

The signature is Signature Version 4, the names are S3's own:
docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import os
import re
import time
from urllib.parse import quote, urlsplit

from . import credentials
from .errors import CodeError
from .web import Again, Refused, get, repeated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import IO

    from .credentials import Credentials

# The end of a host's name by the beginning of its region's.
_DOMAINS = {
    "cn-": "amazonaws.com.cn",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "": "amazonaws.com",
}
_NO_BODY = hashlib.sha256(b"").hexdigest()
_CHUNK = 1024 * 1024


def fetch(
    address: str, file: IO[bytes], region: str = "", pause: Callable[[float], None] = time.sleep
) -> None:
    """Write the object ``address`` into the empty ``file``.

    ``region`` counts where the environment names none. Raises `CodeError`.
    """
    bucket, _, key = address.removeprefix("s3://").partition("/")
    if not bucket or not key:
        raise CodeError(f"{address} names no object: write it as s3://bucket/key")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or region
    if not region:
        raise CodeError(f"cannot fetch {address}: no region is set; set AWS_REGION")
    signer = credentials.find(os.environ, pause)
    regions = [region]

    def attempt() -> None:
        file.seek(0)
        file.truncate()
        with _asked(bucket, key, regions[-1], signer) as answer:
            _copy(answer, file)

    try:
        try:
            repeated(attempt, f"cannot fetch {address}", pause)
        except Refused as error:
            lies = error.headers.get("x-amz-bucket-region")
            if lies in (None, region) or error.status not in (301, 307, 400):
                raise
            regions.append(str(lies))
            repeated(attempt, f"cannot fetch {address}", pause)
    except Refused as error:
        raise CodeError(_explained(error, bucket, key, signer)) from error


def signed_headers(url: str, region: str, signer: Credentials, seconds: float) -> dict[str, str]:
    """The headers of a GET of ``url`` at ``seconds`` since 1970."""
    parts = urlsplit(url)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))
    headers = {"host": parts.netloc, "x-amz-content-sha256": _NO_BODY, "x-amz-date": stamp}
    if signer.token:
        headers["x-amz-security-token"] = signer.token
    names = ";".join(headers)  # which are in order
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    request = f"GET\n{parts.path}\n\n{lines}\n{names}\n{_NO_BODY}"
    scope = f"{stamp[:8]}/{region}/s3/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    secret = f"AWS4{signer.secret}".encode()
    for step in (*scope.split("/"), f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}"):
        secret = hmac.new(secret, step.encode(), hashlib.sha256).digest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={signer.key}/{scope}, SignedHeaders={names}, "
        f"Signature={secret.hex()}"
    )
    return headers


def object_url(bucket: str, key: str, region: str, variables: Mapping[str, str]) -> str:
    """Where the object is asked for."""
    path = quote(key, safe="/-_.~")
    own = variables.get("AWS_ENDPOINT_URL_S3") or variables.get("AWS_ENDPOINT_URL")
    if own:
        return f"{own.rstrip('/')}/{bucket}/{path}"
    domain = next(end for start, end in _DOMAINS.items() if region.startswith(start))
    host = f"s3.{region}.{domain}"
    if "." in bucket:  # no certificate covers one more dot
        return f"https://{host}/{bucket}/{path}"
    return f"https://{bucket}.{host}/{path}"


def _asked(bucket: str, key: str, region: str, signer: Credentials) -> http.client.HTTPResponse:
    url = object_url(bucket, key, region, os.environ)
    return get(url, signed_headers(url, region, signer, time.time()))


def _copy(answer: http.client.HTTPResponse, file: IO[bytes]) -> None:
    """All of the answer. Raises `Again` when the connection breaks before its end."""
    expected = int(answer.headers.get("Content-Length", -1))
    got = 0
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise Again(f"the connection broke after {got} of {expected} bytes") from error
        if not chunk:
            break
        file.write(chunk)
        got += len(chunk)
    if got != expected:
        raise Again(f"the connection broke after {got} of {expected} bytes")


def _explained(refused: Refused, bucket: str, key: str, signer: Credentials) -> str:
    code, message = (_element(name, refused.body) for name in ("Code", "Message"))
    address = f"s3://{bucket}/{key}"
    if code == "NoSuchBucket":
        return f"cannot fetch {address}: there is no bucket {bucket}"
    if code == "NoSuchKey":
        return f"cannot fetch {address}: it is not there (any more): submit the job again"
    if code == "AccessDenied":
        return (
            f"cannot fetch {address}: {signer.owner} lacks s3:GetObject on arn:aws:s3:::{bucket}/"
            f"{key}, or kms:Decrypt on its key: add it to that role's policy ({message})"
        )
    return f"cannot fetch {address} as {signer.owner}: {refused} {code}: {message}"


def _element(name: str, body: bytes) -> str:
    found = re.search(rf"<{name}>([^<]*)</{name}>", body.decode("utf-8", "replace"))
    return found[1] if found else ""
