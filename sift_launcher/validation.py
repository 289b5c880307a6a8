"""SageMaker's rules for names and limits, checked before anything is started.

Source: the API reference of CreateTrainingJob.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

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

_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_CHANNEL = re.compile(r"[A-Za-z0-9.\-_]+")
_VARIABLE = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


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
    if not 1 <= seconds <= MAX_RUN_SECONDS:
        raise ValidationError(
            f"--max-run {seconds} is not a time that SageMaker grants: "
            f"1 to {MAX_RUN_SECONDS} seconds (28 days)"
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
