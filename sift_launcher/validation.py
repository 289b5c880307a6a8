"""SageMaker's rules for names and limits, checked before anything is started.

Source: the API reference of CreateTrainingJob.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sift_launcher.errors import ValidationError

MAX_NAME = 63
MAX_HYPERPARAMETERS = 100
MAX_HYPERPARAMETER_KEY = 256
MAX_HYPERPARAMETER_VALUE = 2500
MAX_ENVIRONMENT = 100
MAX_ENVIRONMENT_TEXT = 512
MAX_CHANNELS = 20
MAX_CHANNEL_NAME = 64
MAX_RUN_SECONDS = 28 * 24 * 60 * 60
MAX_METRICS = 40
MAX_METRIC_NAME = 255
MAX_METRIC_REGEX = 500
MAX_TAGS = 50
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256
MAX_KEEP_ALIVE_SECONDS = 3600
MAX_RETRIES = 30
MAX_VOLUME_GB = 16_384
MAX_SUBNETS = 16
MAX_SECURITY_GROUPS = 5

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_CHANNEL = re.compile(r"[A-Za-z0-9.\-_]+")
_VARIABLE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TAG = re.compile(r"[\w\s.:/=+\-@]*")
_KMS_KEY = re.compile(r"[a-zA-Z0-9:/_-]{1,2048}")
_NETWORK_ID = re.compile(r"[-0-9a-zA-Z]{1,32}")
_BUCKET = re.compile(r"[a-zA-Z0-9._-]{3,255}")  # old ones may have what new ones may not


def check_job_name(name: str) -> None:
    """Raises ValidationError unless SageMaker would take `name` as a job's name."""
    if is_job_name(name):
        return
    mend = legal_name(name)
    advice = f"--name {mend}" if mend else "letters, digits and single hyphens"
    raise ValidationError(
        f"{_shown(name)} cannot be a job's name: at most {MAX_NAME} letters, digits and hyphens, "
        f"with a letter or digit at both ends. Try {advice}"
    )


def is_job_name(name: str) -> bool:
    """Whether SageMaker would take `name` as a job's name."""
    return len(name) <= MAX_NAME and _NAME.fullmatch(name) is not None


def legal_name(text: str) -> str:
    """`text` with all that a job's name must not hold replaced by hyphens; may be empty."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", text)[:MAX_NAME].strip("-")


def check_hyperparameters(hyperparameters: Mapping[str, str]) -> None:
    """Raises ValidationError when the encoded `hyperparameters` exceed the service's limits."""
    if len(hyperparameters) > MAX_HYPERPARAMETERS:
        raise ValidationError(
            f"{len(hyperparameters)} hyperparameters, of which SageMaker takes "
            f"{MAX_HYPERPARAMETERS} (some are the launcher's own): pass some after -- instead"
        )
    for key, value in hyperparameters.items():
        if not 0 < len(key) <= MAX_HYPERPARAMETER_KEY:
            raise ValidationError(
                f"hyperparameter name {_shown(key)} has {len(key)} characters: "
                f"SageMaker takes 1 to {MAX_HYPERPARAMETER_KEY}"
            )
        if len(value) > MAX_HYPERPARAMETER_VALUE:
            what = "what follows --" if key == "sift_arguments" else f"hyperparameter {_shown(key)}"
            raise ValidationError(
                f"{what} is {len(value)} characters long, of which SageMaker takes "
                f"{MAX_HYPERPARAMETER_VALUE}: put it in a file of the source folder"
            )


def check_environment(environment: Mapping[str, str]) -> None:
    """Raises ValidationError when a variable's name or length would be refused."""
    if len(environment) > MAX_ENVIRONMENT:
        raise ValidationError(
            f"{len(environment)} environment variables, of which SageMaker takes {MAX_ENVIRONMENT}"
        )
    for key, value in environment.items():
        if not _VARIABLE.fullmatch(key):
            raise ValidationError(
                f"{_shown(key)} cannot be the name of an environment variable: "
                "letters, digits and underscores, no digit first"
            )
        if max(len(key), len(value)) > MAX_ENVIRONMENT_TEXT:
            raise ValidationError(
                f"environment variable {_shown(key)} is longer than the "
                f"{MAX_ENVIRONMENT_TEXT} characters that SageMaker takes"
            )


def check_channels(names: Mapping[str, object]) -> None:
    """Raises ValidationError when there are too many channels or one has an illegal name."""
    if len(names) > MAX_CHANNELS:
        raise ValidationError(f"{len(names)} channels, of which SageMaker takes {MAX_CHANNELS}")
    for name in names:
        if len(name) > MAX_CHANNEL_NAME or not _CHANNEL.fullmatch(name) or name in (".", ".."):
            raise ValidationError(
                f"{_shown(name)} cannot be a channel's name: at most {MAX_CHANNEL_NAME} "
                "letters, digits, dots, hyphens and underscores"
            )


def check_max_run(seconds: int) -> None:
    """Raises ValidationError unless `seconds` is a run time that the service grants."""
    _check_time("--max-run", seconds)


def check_max_wait(seconds: int, max_run_seconds: int) -> None:
    """Raises ValidationError unless waiting so long in all leaves the time to run."""
    _check_time("--max-wait", seconds)
    if seconds < max_run_seconds:
        raise ValidationError(
            f"--max-wait {seconds} is shorter than --max-run {max_run_seconds}, which it includes: "
            "make it longer, or the run shorter"
        )


def _check_time(option: str, seconds: int) -> None:
    if not 1 <= seconds <= MAX_RUN_SECONDS:
        raise ValidationError(
            f"{option} {seconds} is not a time that SageMaker grants: "
            f"1 to {MAX_RUN_SECONDS} seconds (28 days)"
        )


def check_range(option: str, number: int | None, least: int, most: int, unit: str) -> None:
    """Raises ValidationError unless `number` is none at all, or within what the service grants."""
    if number is not None and not least <= number <= most:
        raise ValidationError(
            f"{option} {number} is not what SageMaker grants: {least} to {most} {unit}"
        )


def check_metrics(metrics: Mapping[str, str]) -> None:
    """Raises ValidationError unless the service could look for all of `metrics`."""
    if len(metrics) > MAX_METRICS:
        raise ValidationError(f"{len(metrics)} metrics, of which SageMaker takes {MAX_METRICS}")
    for name, regex in metrics.items():
        if len(name) > MAX_METRIC_NAME:
            raise ValidationError(
                f"metric {_shown(name)} has a name of {len(name)} characters: SageMaker takes "
                f"{MAX_METRIC_NAME}"
            )
        if not 1 <= len(regex) <= MAX_METRIC_REGEX:
            raise ValidationError(
                f"metric {_shown(name)} has an expression of {len(regex)} characters: SageMaker "
                f"takes 1 to {MAX_METRIC_REGEX}"
            )
        try:
            groups = re.compile(regex).groups
        except re.error as error:
            raise ValidationError(
                f"metric {_shown(name)}: {_shown(regex)} is no regular expression ({error}): "
                "write --metric 'loss=loss: ([0-9.]+)'"
            ) from error
        if groups == 0:
            raise ValidationError(
                f"metric {_shown(name)}: {_shown(regex)} captures no value: put what matches the "
                "number in parentheses, as in --metric 'loss=loss: ([0-9.]+)'"
            )


def check_tags(tags: Mapping[str, str]) -> None:
    """Raises ValidationError unless the service would take all of `tags`."""
    if len(tags) > MAX_TAGS:
        raise ValidationError(f"{len(tags)} tags, of which SageMaker takes {MAX_TAGS}")
    for key, value in tags.items():
        if key.lower().startswith("aws:"):
            raise ValidationError(f"tag {_shown(key)}: keys that begin with aws: are AWS's own")
        if not 1 <= len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
            raise ValidationError(
                f"tag {_shown(key)}: SageMaker takes 1 to {MAX_TAG_KEY} characters as a key and up "
                f"to {MAX_TAG_VALUE} as its value"
            )
        if not (_TAG.fullmatch(key) and _TAG.fullmatch(value)):
            raise ValidationError(
                f"tag {_shown(f'{key}={value}')}: letters, digits, spaces and _ . : / = + - @ "
                "are what a tag may hold"
            )


def check_kms_key(key: str | None) -> None:
    """Raises ValidationError unless `key` is none at all, or could name one."""
    if key is not None and not _KMS_KEY.fullmatch(key):
        raise ValidationError(
            f"--kms-key {_shown(key)} cannot be a key: give its id, its ARN, or alias/NAME"
        )


def check_network(subnets: Sequence[str], security_groups: Sequence[str]) -> None:
    """Raises ValidationError unless both name a network, or none does."""
    if bool(subnets) != bool(security_groups):
        given, missing = (
            ("--subnet", "--security-group")
            if subnets
            else (
                "--security-group",
                "--subnet",
            )
        )
        raise ValidationError(f"{given} needs {missing} beside it: a network is named by both")
    for option, ids, most in (
        ("--subnet", subnets, MAX_SUBNETS),
        ("--security-group", security_groups, MAX_SECURITY_GROUPS),
    ):
        if len(ids) > most:
            raise ValidationError(f"{len(ids)} x {option}, of which SageMaker takes {most}")
        for each in ids:
            if not _NETWORK_ID.fullmatch(each):
                example = "subnet-0abc" if option == "--subnet" else "sg-0abc"
                raise ValidationError(
                    f"{option} {_shown(each)} cannot be an id: write it as {option} {example}"
                )


def check_s3_uri(option: str, uri: str) -> None:
    """Raises ValidationError unless `uri` could be a place in S3."""
    bucket = uri.removeprefix("s3://").partition("/")[0]
    if not uri.startswith("s3://") or not _BUCKET.fullmatch(bucket):
        raise ValidationError(
            f"{option} {_shown(uri)} is no place in S3: write it as s3://BUCKET/PREFIX"
        )
    if len(uri) > 1024:
        raise ValidationError(f"{option} {_shown(uri)} is longer than the 1024 characters of S3")


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
