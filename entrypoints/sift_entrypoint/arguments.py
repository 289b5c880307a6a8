"""The script's arguments, from the hyperparameters: ``argv`` without the script's name."""

from __future__ import annotations

import json

from .contract import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def arguments(job: Job) -> list[str]:
    """``--key value`` pairs as the job's dialect writes them, then the job's own raw arguments."""
    pairs = _model_trainer(job.hyperparameters) if job.source else _estimator(job.hyperparameters)
    return pairs + job.sift_arguments


def _estimator(hyperparameters: Mapping[str, Any]) -> list[str]:
    """As the public training toolkit does: sorted, one-letter keys with one dash."""
    argv = []
    for key in sorted(hyperparameters):
        argv += [_option(key), _plain(hyperparameters[key])]
    return argv


def _option(key: str) -> str:
    if not key:
        return ""
    return f"--{key}" if len(key) > 1 else f"-{key}"


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ",".join(f"{key}={item}" for key, item in sorted(value.items()))
    return str(value)


def _model_trainer(hyperparameters: Mapping[str, Any]) -> list[str]:
    """As the model trainer's drivers do: in the order given, JSON for what is not text."""
    argv = []
    for key, value in hyperparameters.items():
        argv += [f"--{key}", value if isinstance(value, str) else json.dumps(value)]
    return argv
