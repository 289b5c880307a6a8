"""The SDK's session with this machine: its jobs go to `LocalTrainingService`."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from sift_launcher.bundle import CodeBundle
from sift_launcher.errors import InstanceNotServed, JobHasEnded
from sift_launcher.estimator.code import ARCHIVE
from sift_launcher.estimator.sdk import LocalSession, check_job_status, without_telemetry
from sift_launcher.estimator.shown import show_log
from sift_launcher.instances import LOCAL
from sift_launcher.local.job import LocalJob
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.status import ENDED
from sift_launcher.paths import local_path
from sift_launcher.submit import packed

_ACCOUNT_OF_NOBODY = "000000000000"
_POLL_SECONDS = 0.2  # a description here is a file


class MachineSession(LocalSession):  # type: ignore[misc]
    """Runs training jobs in processes and containers of this machine, as `sift-launch` does, and
    needs no account, no region, no role and no S3 for it.

    To the SDK it is a `LocalSession`, but not in the SDK's own local mode, which refuses much of
    what jobs here can have: checkpoints, several hosts that last, an end that is waited for.
    """

    def __init__(self, service: LocalTrainingService | None = None) -> None:
        """`service`: by default the user's own, which `sift-launch jobs` shows too."""
        self.service = service or LocalTrainingService()
        self._bundles: dict[str, CodeBundle] = {}
        super().__init__()

    def _initialize(self, **unused: Any) -> None:
        self.boto_session = None
        self._region_name = "local"
        self.local_mode = False
        self.sagemaker_client = _Client(self.service)
        self.sagemaker_config: dict[str, Any] = {}
        without_telemetry(self)

    def stage(self, bundle: CodeBundle, uri: str) -> None:
        """`bundle` is what the job whose code is at `uri` will be given."""
        self._bundles[uri] = bundle

    def account_id(self) -> str:
        """Nobody's."""
        return _ACCOUNT_OF_NOBODY

    def expand_role(self, role: str) -> str:
        """As an ARN; nobody is asked."""
        return role if "/" in role else f"arn:aws:iam::{_ACCOUNT_OF_NOBODY}:role/{role}"

    def train(self, *, resource_config: dict[str, Any], **arguments: Any) -> None:
        """Packs the code and sends the request; when it is refused, nothing is left behind."""
        # To the SDK `process` is no instance's name.
        a_container = resource_config | {"InstanceType": LOCAL}
        request = self.get_train_request(resource_config=a_container, **arguments)
        request["ResourceConfig"] = resource_config
        for key in ("ProfilerConfig", "DebugHookConfig"):  # nothing here profiles
            request.pop(key, None)
        name, output = request["TrainingJobName"], request["OutputDataConfig"]["S3OutputPath"]
        checkpoints = {"S3Uri": f"{output}/{name}/checkpoints", "LocalPath": "/opt/ml/checkpoints"}
        request.setdefault("CheckpointConfig", checkpoints)
        uri = f"{output}/{name}/source/{ARCHIVE}"
        archive = local_path(uri)
        bundle = self._bundles.pop(uri, None)
        if bundle is None or archive is None:
            self.service.create_training_job(**request)
            return
        with packed(bundle, archive, name):
            self.service.create_training_job(**request)

    def stop_training_job(self, job_name: str) -> None:
        """Asks the job to stop; one that has ended is left alone, as the SDK has it."""
        with suppress(JobHasEnded):
            super().stop_training_job(job_name)

    def wait_for_job(self, job: str, poll: float = _POLL_SECONDS) -> Any:
        """Waits until the job has ended; returns its description. Raises the SDK's errors when it
        failed. To the SDK, a job that is stopping has ended badly."""
        while self.service.status(job)["TrainingJobStatus"] not in ENDED:
            time.sleep(min(poll, _POLL_SECONDS))
        return self._checked(job)

    def logs_for_job(
        self,
        job_name: str,
        wait: bool = False,
        poll: int = 10,
        log_type: str = "All",
        timeout: int | None = None,
    ) -> None:
        """Prints the job's log, with `wait` as it comes. Raises the SDK's errors when it failed."""
        show_log(LocalJob(job_name, self.service), wait=wait)
        if wait:
            self._checked(job_name)

    def _checked(self, name: str) -> dict[str, Any]:
        description = self.service.describe_training_job(TrainingJobName=name)
        check_job_status(name, description, "TrainingJobStatus")
        return description

    def __deepcopy__(self, memo: Any) -> MachineSession:
        """A copied estimator talks to the same service."""
        return self


class _Client:
    """The service where the SDK expects boto3's client: what it has no method for, it refuses."""

    def __init__(self, service: LocalTrainingService) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._service, name, None) or _refused(name)

    def list_tags(self, ResourceArn: str) -> dict[str, Any]:
        """The tags of a training job."""
        name = ResourceArn.rpartition("/")[2]
        described = self._service.describe_training_job(TrainingJobName=name)
        return {"Tags": described.get("Tags", [])}


def _refused(name: str) -> Any:
    def refuse(*arguments: object, **keywords: object) -> None:
        raise InstanceNotServed(
            f"{name} is SageMaker's: this machine runs training jobs alone: use an instance_type "
            "such as ml.m5.xlarge"
        )

    return refuse
