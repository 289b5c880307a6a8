"""What AWS refuses, and what does not answer, as this project's own errors: one line with the mend.

Sources of the codes: the pages "Common Errors" of the API references of STS, S3, SageMaker, IAM,
ECR and CloudWatch Logs; botocore's own list of what is throttling.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sift_launcher.cloud.client import require_botocore
from sift_launcher.cloud.regions import known_regions, unknown_region
from sift_launcher.errors import (
    AccessDenied,
    BucketError,
    BucketMissing,
    CloudRefused,
    CloudUnreachable,
    CredentialsError,
    ImageUnfit,
    QuotaError,
    RegionError,
    ResourceInUse,
    ResourceNotFound,
    RoleError,
    SiftLaunchError,
    ValidationError,
)


@contextmanager
def explained(permission: str, what: str = "", profile: str | None = None) -> Iterator[None]:
    """Turns botocore's exceptions into ours.

    `permission` is what the call needs, such as `s3:PutObject on arn:aws:s3:::b/*`; `what` says in
    words what was done (`uploading the code`); `profile` is whose credentials are used.
    """
    require_botocore()
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise refusal(error.response, permission, what, profile) from error
    except BotoCoreError as error:
        raise _failure(error, what or permission, profile) from error
    except ResponseParserError as error:
        raise CloudUnreachable(
            f"AWS is not reached ({what or permission}): what answers is none of its services: "
            "is there a proxy or a login page of the network in between?"
        ) from error


def refusal(
    response: Mapping[str, Any], permission: str, what: str = "", profile: str | None = None
) -> SiftLaunchError:
    """The error that AWS's answer `response` (of a botocore ClientError) stands for."""
    told = _read(response, permission, what, profile)
    if told.code in _MEANING:
        return _MEANING[told.code](told)
    if told.status >= 500:
        return _busy(told)
    return CloudRefused(f"AWS refuses {told.what}: {told.code}: {told.text}")


@dataclass(frozen=True)
class _Told:
    """What AWS answered, to what."""

    code: str
    text: str
    status: int
    headers: Mapping[str, str]
    permission: str
    what: str
    profile: str | None


def _read(response: Mapping[str, Any], permission: str, what: str, profile: str | None) -> _Told:
    error, meta = response.get("Error", {}), response.get("ResponseMetadata", {})
    return _Told(
        code=str(error.get("Code", "Unknown")),
        text=str(error.get("Message", "")).strip().rstrip(".") or "no word of why",
        status=int(meta.get("HTTPStatusCode", 0)),
        headers=meta.get("HTTPHeaders", {}),
        permission=permission,
        what=what or permission.split(" ")[0],
        profile=profile or os.environ.get("AWS_PROFILE"),
    )


_DENIED = re.compile(
    r"(?:User: (?P<who>\S+) is )?not authorized to perform: (?P<action>[\w-]+:\w+)"
    r"(?: on (?:the )?resources?: (?P<resource>[^\s,]*[^\s,.]))?"
)


def _denied(told: _Told) -> SiftLaunchError:
    found = _DENIED.search(told.text)
    who = (found and found["who"]) or "whoever the credentials belong to"
    action, _, place = told.permission.partition(" on ")
    if found:  # AWS knows better: starting a job may lack the right to hand over the role
        action = found["action"]
        place = found["resource"] or place
    needed = f"{action} on {place}" if place and place != "*" else action
    if "explicit deny" in told.text:
        return AccessDenied(
            f"AWS refuses {told.what}: a policy denies {needed} to {who} explicitly: only whoever "
            "wrote that policy can allow it"
        )
    return AccessDenied(
        f"AWS refuses {told.what}: {who} lacks the permission {needed}: have it added to a policy "
        "of that user or role"
    )


def _expired(told: _Told) -> SiftLaunchError:
    return CredentialsError(f"the AWS credentials have expired: {_log_in(told.profile)}")


def _unknown_key(told: _Told) -> SiftLaunchError:
    return CredentialsError(
        f"AWS does not know these credentials ({told.code}): {_new_keys(told.profile)}; in a "
        "region that must be switched on first, aws account enable-region does that"
    )


def _wrong_signature(told: _Told) -> SiftLaunchError:
    if "expired" in told.text.lower() or told.code == "RequestTimeTooSkewed":
        return CredentialsError(
            "AWS refuses the request for its time: this machine's clock is wrong: set it, "
            "as with sudo timedatectl set-ntp true"
        )
    return CredentialsError(
        f"the AWS secret key does not belong to the access key ({told.code}): "
        f"{_new_keys(told.profile)}"
    )


def _not_opted_in(told: _Told) -> SiftLaunchError:
    return RegionError(
        f"AWS refuses {told.what}: this account has not switched the region or the service on: "
        "aws account enable-region --region-name REGION, or another --region"
    )


def _busy(told: _Told) -> SiftLaunchError:
    return CloudUnreachable(
        f"AWS does not take {told.what} now, after several attempts ({told.code}): "
        "wait a minute and try again"
    )


def _wrong_region(told: _Told) -> SiftLaunchError:
    lies = told.headers.get("x-amz-bucket-region")
    expected = re.search(r"expecting '([a-z0-9-]+)'", told.text)
    lies = lies or (expected[1] if expected else None)
    where = f"lies in {lies}: --region {lies}" if lies else "lies in another region: name that one"
    return BucketError(
        f"{told.what}: the bucket {where}, or another bucket; a job and its data share a region"
    )


def _no_bucket(told: _Told) -> SiftLaunchError:
    return BucketMissing(f"{told.what}: there is no such bucket: see aws s3 ls for those there are")


def _no_object(told: _Told) -> SiftLaunchError:
    return BucketError(f"{told.what}: there is no such object: see aws s3 ls for those there are")


def _no_role(told: _Told) -> SiftLaunchError:
    return RoleError(f"{told.what}: {told.text}: see aws iam list-roles for those there are")


def _no_image(told: _Told) -> SiftLaunchError:
    return ImageUnfit(
        f"{told.what}: there is no such image: see aws ecr describe-images, or push it with "
        "sift-launch build --push"
    )


def _not_found(told: _Told) -> SiftLaunchError:
    return ResourceNotFound(f"{told.what}: there is no such thing in this account and region")


def _no_such(told: _Told) -> SiftLaunchError:
    return ValidationError(f"{told.what}: {told.text}: name one of this account and region")


def _in_use(told: _Told) -> SiftLaunchError:
    return ResourceInUse(f"{told.what}: {told.text}: choose another --name")


def _over_limit(told: _Told) -> SiftLaunchError:
    return QuotaError(
        f"AWS refuses {told.what}: {told.text}: aws service-quotas "
        "request-service-quota-increase asks for more, or choose another --instance or --region"
    )


def _invalid(told: _Told) -> SiftLaunchError:
    # SageMaker has no code of its own for a job that is not there.
    if told.text.endswith("resource not found") or told.text.startswith(
        "Could not find training job"
    ):
        return _not_found(told)
    return ValidationError(f"AWS refuses {told.what}: {told.text}")


_CODES: dict[Callable[[_Told], SiftLaunchError], str] = {
    _denied: """AccessDenied AccessDeniedException 403 Forbidden UnauthorizedOperation
        AuthorizationError UnauthorizedAccess AllAccessDisabled""",
    _expired: "ExpiredToken ExpiredTokenException TokenRefreshRequired RequestExpired",
    _unknown_key: """InvalidClientTokenId UnrecognizedClientException InvalidAccessKeyId
        AuthFailure InvalidToken MissingAuthenticationToken MissingAuthenticationTokenException""",
    _wrong_signature: """SignatureDoesNotMatch InvalidSignatureException IncompleteSignature
        RequestTimeTooSkewed""",
    _not_opted_in: "OptInRequired SubscriptionRequiredException",
    _busy: """Throttling ThrottlingException ThrottledException RequestThrottled
        RequestThrottledException TooManyRequestsException RequestLimitExceeded SlowDown
        BandwidthLimitExceeded PriorRequestNotComplete RequestTimeout""",
    _wrong_region: """PermanentRedirect 301 TemporaryRedirect AuthorizationHeaderMalformed
        IllegalLocationConstraintException""",
    _no_bucket: "NoSuchBucket",
    _no_object: "NoSuchKey 404 NotFound",
    _no_role: "NoSuchEntity NoSuchEntityException",
    _no_image: "RepositoryNotFoundException ImageNotFoundException",
    _not_found: "ResourceNotFound ResourceNotFoundException NoSuchResourceException",
    _no_such: """NotFoundException InvalidSubnetID.NotFound InvalidGroup.NotFound
        InvalidSubnetId.Malformed InvalidSubnetID.Malformed InvalidGroupId.Malformed""",
    _in_use: "ResourceInUse ResourceInUseException",
    _over_limit: "ResourceLimitExceeded ServiceQuotaExceededException",
    _invalid: "ValidationException ValidationError",
}
_MEANING = {code: meaning for meaning, codes in _CODES.items() for code in codes.split()}


def _failure(error: Exception, what: str, profile: str | None) -> SiftLaunchError:
    """The error of a request that brought no answer of AWS's, or was never sent."""
    from botocore import exceptions as of

    profile = profile or os.environ.get("AWS_PROFILE")
    if isinstance(error, of.NoCredentialsError):
        return CredentialsError(
            "there are no AWS credentials: aws configure stores some, aws sso login fetches some, "
            "or set AWS_PROFILE"
        )
    if isinstance(error, of.ProfileNotFound):
        return CredentialsError(f"{error}: see aws configure list-profiles, or leave --profile out")
    if isinstance(error, _stale_logins(of)):
        return CredentialsError(f"the login has expired ({error}): {_log_in(profile)}")
    if isinstance(error, of.PartialCredentialsError | of.CredentialRetrievalError):
        return CredentialsError(f"the AWS credentials cannot be used: {error}: aws configure")
    if isinstance(error, of.NoRegionError):
        return RegionError("no AWS region is set: --region us-east-1, or export AWS_REGION=...")
    if isinstance(error, of.ParamValidationError):
        return ValidationError(f"{what}: {error}")
    if isinstance(error, of.EndpointConnectionError):
        return _no_connection(str(error.kwargs.get("endpoint_url", "")), what)
    if isinstance(error, _lost_connections(of)):
        return CloudUnreachable(f"AWS is not reached ({what}): {_short(error)}")
    return CloudRefused(f"{what}: {error}")


def _lost_connections(of: Any) -> tuple[type[Exception], ...]:
    return (
        of.HTTPClientError,
        of.ConnectionError,
        of.ResponseStreamingError,
        of.IncompleteReadError,
    )


def _stale_logins(of: Any) -> tuple[type[Exception], ...]:
    names = (
        "SSOError",
        "TokenRetrievalError",
        "NoAuthTokenError",
        "LoginError",
        "UnauthorizedSSOTokenError",
    )
    return tuple(getattr(of, name) for name in names if hasattr(of, name))


def _no_connection(address: str, what: str) -> SiftLaunchError:
    found = re.search(r"\.([a-z]{2,4}(?:-[a-z]+)+-\d)\.amazonaws\.", address)
    if found and found[1] not in known_regions():
        return unknown_region(found[1])
    return CloudUnreachable(
        f"AWS is not reached ({what}): no connection to {address or 'it'}: is this machine online?"
    )


def _log_in(profile: str | None) -> str:
    named = f" --profile {profile}" if profile else ""
    return f"aws sso login{named} renews them, else fetch new keys (aws configure{named})"


def _new_keys(profile: str | None) -> str:
    named = f" --profile {profile}" if profile else ""
    return f"aws configure{named} stores others; aws sts get-caller-identity{named} tries them"


def _short(error: Exception) -> str:
    return str(error).partition(" (Caused by")[0]
