"""SageMaker's operations on training jobs, each a request's body to an answer's.

Sources: the API reference's pages of the operations; the texts of errors are those that users have
published from the service itself.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sift_launcher.cloud.shapes import in_words, violations
from sift_launcher.errors import (
    JobHasEnded,
    ResourceInUse,
    ResourceNotFound,
    SiftLaunchError,
)
from sift_launcher.instances import MAX_COUNT
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.status import ENDED
from sift_launcher.rehearsal.account import ACCOUNT, REGION, Account
from sift_launcher.rehearsal.description import description, listing
from sift_launcher.rehearsal.front import Handler
from sift_launcher.rehearsal.log_shipper import LogShipper
from sift_launcher.rehearsal.protocol import Refused, invalid
from sift_launcher.rehearsal.stage import Stage

ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/"

# Where moto would tell of results that nobody has computed.
_NOT_PLAYED = (
    "CreateAutoMLJob",
    "CreateAutoMLJobV2",
    "CreateHyperParameterTuningJob",
    "CreateProcessingJob",
    "CreateTransformJob",
    "DeleteTrainingJob",
    "StartPipelineExecution",
    "UpdateTrainingJob",
)


class TrainingJobs:
    """All jobs of one rehearsal."""

    def __init__(self, home: Path, stage: Stage, account: Account, logs: LogShipper) -> None:
        """`home` holds the jobs' records."""
        self._service = LocalTrainingService(home)
        self._stage = stage
        self._account = account
        self._logs = logs
        self._tags: dict[str, dict[str, str]] = {}
        # The descriptions of jobs that have ended: they do not change any more.
        self._over: dict[str, dict[str, Any]] = {}
        self._creating = threading.Lock()

    @property
    def operations(self) -> dict[str, Handler]:
        """The handlers by AWS's target."""
        handlers: dict[str, Handler] = {
            "CreateTrainingJob": self.create,
            "DescribeTrainingJob": self.describe,
            "ListTrainingJobs": self.list_all,
            "StopTrainingJob": self.stop,
            "AddTags": self.add_tags,
            "ListTags": self.list_tags,
            "DeleteTags": self.delete_tags,
        }
        handlers |= dict.fromkeys(_NOT_PLAYED, _refuse)
        return {f"SageMaker.{name}": handler for name, handler in handlers.items()}

    @property
    def controls(self) -> dict[str, Handler]:
        """What no AWS API has: `interruptions` (before a job is created) and `interrupt`."""
        return {"interruptions": self.stage, "interrupt": self.interrupt}

    def create(self, request: dict[str, Any]) -> dict[str, Any]:
        """CreateTrainingJob."""
        _check("CreateTrainingJob", request)
        _check_waiting(request)
        role = request["RoleArn"]
        self._account.check_role(role)
        name = request["TrainingJobName"]
        if name in self._service.names():
            raise _in_use(name)
        for channel in request.get("InputDataConfig", ()):
            source = channel["DataSource"].get("S3DataSource")
            if source is not None:
                self._account.check_input(source["S3Uri"], role)
        with self._creating:
            self._check_quota(request)
            try:
                self._stage.run(request)
            except ResourceInUse:
                raise _in_use(name) from None
            except SiftLaunchError as error:
                raise invalid(str(error)) from error
        tags = {each["Key"]: each["Value"] for each in request.get("Tags", ())}
        self._tags[ARN + name] = tags
        self._logs.add(self._service.record(name))
        return {"TrainingJobArn": ARN + name}

    def describe(self, request: dict[str, Any]) -> dict[str, Any]:
        """DescribeTrainingJob."""
        _check("DescribeTrainingJob", request)
        return self._describe(request["TrainingJobName"])

    def list_all(self, request: dict[str, Any]) -> dict[str, Any]:
        """ListTrainingJobs."""
        _check("ListTrainingJobs", request)
        jobs = (self._describe(name) for name in reversed(self._service.names()))
        return listing(jobs, request)

    def stop(self, request: dict[str, Any]) -> dict[str, Any]:
        """StopTrainingJob."""
        _check("StopTrainingJob", request)
        name = request["TrainingJobName"]
        try:
            self._service.stop_training_job(TrainingJobName=name)
        except ResourceNotFound:
            raise _not_found() from None
        except JobHasEnded:
            status = self._service.status(name)["TrainingJobStatus"]
            raise invalid(
                f"The request was rejected because the training job is in status {status}."
            ) from None
        return {}

    def add_tags(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """AddTags, of a training job."""
        tags = self._tags_of(request)
        if tags is None:
            return None
        _check("AddTags", request)
        tags |= {each["Key"]: each["Value"] for each in request["Tags"]}
        return {"Tags": _listed(tags)}

    def list_tags(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """ListTags, of a training job."""
        tags = self._tags_of(request)
        return None if tags is None else {"Tags": _listed(tags)}

    def delete_tags(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """DeleteTags, of a training job."""
        tags = self._tags_of(request)
        if tags is None:
            return None
        _check("DeleteTags", request)
        for key in request["TagKeys"]:
            tags.pop(key, None)
        return {}

    def stage(self, request: dict[str, Any]) -> dict[str, Any]:
        """Says how the job that will be named `job` is played; see Stage."""
        self._stage.prepare(_job(request), request)
        return {}

    def interrupt(self, request: dict[str, Any]) -> dict[str, Any]:
        """Takes the instances of the spot job `job`, as of now."""
        name = _job(request)
        try:
            self._service.interrupt_training_job(TrainingJobName=name)
        except SiftLaunchError as error:
            raise invalid(str(error)) from error
        return {}

    def running(self) -> list[str]:
        """The names of the jobs that have not ended."""
        return [name for name in self._service.names() if not self._has_ended(name)]

    def _describe(self, name: str) -> dict[str, Any]:
        if name in self._over:
            return self._over[name]
        try:
            record = self._service.record(name)
            status = self._service.status(name)
        except ResourceNotFound:
            raise _not_found() from None
        has_ended = status["TrainingJobStatus"] in ENDED
        if has_ended:
            self._logs.ship(name)  # all of the log is there once the job is told to have ended
        told = description(record.request(), status, ARN + name, self._logs.metrics(name))
        if has_ended:
            self._over[name] = told
        return told

    def _has_ended(self, name: str) -> bool:
        return name in self._over or self._service.status(name)["TrainingJobStatus"] in ENDED

    def _check_quota(self, request: dict[str, Any]) -> None:
        wanted = request["ResourceConfig"]
        instance, count = wanted.get("InstanceType"), wanted.get("InstanceCount", 0)
        used = sum(
            each["InstanceCount"]
            for each in self._resources_in_use()
            if each.get("InstanceType") == instance
        )
        if used + count > MAX_COUNT:
            spot = "spot " if request.get("EnableManagedSpotTraining") else ""
            raise Refused(
                "ResourceLimitExceeded",
                f"The account-level service limit '{instance} for {spot}training job usage' is "
                f"{MAX_COUNT} Instances, with current utilization of {used} Instances and a "
                f"request delta of {count} Instances. Please use AWS Service Quotas to request "
                "an increase for this quota. If AWS Service Quotas is not available, contact AWS "
                "support to request an increase for this quota.",
            )

    def _resources_in_use(self) -> Iterator[dict[str, Any]]:
        for name in self.running():
            yield self._service.record(name).request()["ResourceConfig"]

    def _tags_of(self, request: dict[str, Any]) -> dict[str, str] | None:
        arn = request.get("ResourceArn", "")
        if not isinstance(arn, str) or ":training-job/" not in arn:
            return None
        if arn not in self._tags:
            raise _not_found()
        return self._tags[arn]


def _refuse(request: dict[str, Any]) -> dict[str, Any]:
    raise invalid("A rehearsal plays training jobs alone, and does not change those there are.")


def _check(operation: str, request: dict[str, Any]) -> None:
    found = violations(operation, request)
    if found:
        raise invalid(in_words(found))


def _check_waiting(request: dict[str, Any]) -> None:
    limits = request["StoppingCondition"]
    wait = limits.get("MaxWaitTimeInSeconds")
    if not request.get("EnableManagedSpotTraining"):
        if wait is not None:
            raise invalid(
                "Invalid MaxWaitTimeInSeconds. It is only supported when "
                "EnableManagedSpotTraining is set to true"
            )
        return
    if wait is None or wait < limits.get("MaxRuntimeInSeconds", 86400):
        raise invalid(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to "
            "MaxRuntimeInSeconds"
        )


def _job(request: dict[str, Any]) -> str:
    name = request.get("job")
    if not isinstance(name, str):
        raise invalid("the body lacks `job`, the name of a training job")
    return name


def _listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _in_use(name: str) -> Refused:
    return Refused(
        "ResourceInUse",
        "Training job names must be unique within an AWS account and region, and a training job "
        f"with this name already exists ({ARN}{name})",
    )


def _not_found() -> Refused:
    return invalid("Requested resource not found.")
