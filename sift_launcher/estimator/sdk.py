"""SageMaker's SDK, imported once: quietly, and without the pauses of the garbage collector."""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from weakref import WeakSet

from sift_launcher.errors import ExtraMissing

_QUIET = "SAGEMAKER_SUPPRESS_V2_WARNING"
_CHATTING = ("sagemaker.config", "sagemaker.telemetry.telemetry_logging")
_OPT_OUT = ("SageMaker", "PythonSDK", "Modules", "TelemetryOptOut")


@contextmanager
def importing() -> Iterator[None]:
    """Within it the SDK is imported. Raises ExtraMissing when it is not there, or is its version 3.

    Its notice that version 2 will end is for those who chose that version by hand. What it finds in
    which of its settings files, and that it reports to AWS, it tells on every call unless somebody
    set the level.
    """
    for name in _CHATTING:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    was_quiet, was_collecting = os.environ.get(_QUIET), gc.isenabled()
    excepthook, handlers = sys.excepthook, [*logging.root.handlers]
    level = logging.root.level
    os.environ[_QUIET] = "1"
    gc.disable()  # a million objects, none of them garbage: a fifth of the time
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("sagemaker", "boto3", "botocore"):
            raise
        raise ExtraMissing(
            f"SiftPyTorch needs version 2 of SageMaker's SDK (there is no {error.name}): "
            "pip install 'sift-launcher[cloud]'"
        ) from error
    finally:
        # It would have every traceback of the process in frames, and every INFO of botocore told.
        sys.excepthook, logging.root.handlers[:] = excepthook, handlers
        logging.root.setLevel(level)
        del os.environ[_QUIET]
        if was_quiet is not None:
            os.environ[_QUIET] = was_quiet
        if was_collecting:
            gc.enable()


# By name, and so of no known type: whether the SDK is installed, and which of its types it tells,
# makes no difference to what can be said of this package.
with importing():
    _sagemaker = import_module("sagemaker")
    import_module("sagemaker.experiments")  # in the first `fit` otherwise
    config: Any = import_module("sagemaker.config")
    TrainingInput: Any = import_module("sagemaker.inputs").TrainingInput
    LocalSession: Any = import_module("sagemaker.local").LocalSession
    PyTorch: Any = import_module("sagemaker.pytorch").PyTorch
    Session: Any = import_module("sagemaker.session").Session
    PipelineSession: Any = import_module("sagemaker.workflow.pipeline_context").PipelineSession
    UploadedCode: Any = import_module("sagemaker.fw_utils").UploadedCode
    resolve_value_from_config: Any = import_module("sagemaker.utils").resolve_value_from_config
    is_pipeline_variable: Any = import_module("sagemaker.workflow").is_pipeline_variable
    parse_s3_url: Any = import_module("sagemaker.s3").parse_s3_url
    check_job_status: Any = import_module("sagemaker.session")._check_job_status
    _telemetry: Any = import_module("sagemaker.telemetry.telemetry_logging")
    _TensorBoardApp: Any = import_module("sagemaker.interactive_apps.tensorboard").TensorBoardApp


class _AppOnDemand(_TensorBoardApp):  # type: ignore[misc]
    """Part of every estimator, and the SDK makes a client for it that hardly anybody needs: slow,
    without use on this machine, and not to be copied."""

    def __init__(self, region: str | None = None) -> None:
        self.region = region
        self._domain_id = self._user_profile_name = None
        self._in_studio_env = False
        self._get_domain_and_user()

    @property
    def _sagemaker_client(self) -> Any:
        from boto3 import client

        return client("sagemaker", region_name=self.region)


_sagemaker.estimator.TensorBoardApp = _AppOnDemand


def silence(name: str) -> None:
    """Keeps the SDK from warning that class `name` is of its version 2."""
    _sagemaker.deprecations._v2_deprecation_warned.add(name)


def without_telemetry(session: Any) -> None:
    """Keeps the SDK from reporting to AWS what is done with `session`, unless its settings speak of
    it: it would send error texts in an address, and wait for the answer."""
    settings = getattr(session, "sagemaker_config", None) or {}
    for key in _OPT_OUT:
        settings = settings.get(key, {})
    if settings == {}:
        _unreported.add(session)


_unreported: WeakSet[Any] = WeakSet()
_report = _telemetry._send_telemetry_request


def _report_unless_silenced(status: int, features: list[int], session: Any, *more: Any) -> None:
    if session not in _unreported:
        _report(status, features, session, *more)


# The SDK's own switch is a setting, and with any setting it validates them all, twenty times a job:
# that takes a second.
_telemetry._send_telemetry_request = _report_unless_silenced
