"""SageMaker's side of a job, played by a test; S3 and the logs are moto's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from aws_stand_in import ACCOUNT, REGION, StandInAws
from botocore.exceptions import ClientError

from sift_launcher.catalogue import CloudEntry
from sift_launcher.cloud.log import GROUP

BEGAN = datetime(2026, 11, 21, 12, 0, 0, tzinfo=timezone.utc)
ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-job/job"
BUCKET = "results"


def entry(**changes: Any) -> CloudEntry:
    values = {
        "name": "job",
        "arn": ARN,
        "region": REGION,
        "instance": "ml.g5.xlarge",
        "count": 1,
        "created": BEGAN.timestamp(),
    }
    return CloudEntry(**{**values, **changes})


def described(secondary: str, primary: str = "InProgress", **more: Any) -> dict[str, Any]:
    """SageMaker's answer of a job in that state."""
    answer = {
        "TrainingJobName": "job",
        "TrainingJobArn": ARN,
        "TrainingJobStatus": primary,
        "SecondaryStatus": secondary,
        "SecondaryStatusTransitions": [
            {"Status": secondary, "StartTime": BEGAN, "StatusMessage": f"now {secondary}"}
        ],
        "CreationTime": BEGAN,
        "HyperParameters": {"sift_config": "{}"},
        "ResourceConfig": {"InstanceType": "ml.g5.xlarge", "InstanceCount": 1},
        "OutputDataConfig": {"S3OutputPath": f"s3://{BUCKET}/"},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200},
    }
    return {**answer, **more}


def ended(secondary: str = "Completed", primary: str = "Completed", **more: Any) -> dict[str, Any]:
    """The same of one that trained for a minute and has ended."""
    times = {
        "TrainingStartTime": BEGAN + timedelta(seconds=30),
        "TrainingEndTime": BEGAN + timedelta(seconds=90),
        "TrainingTimeInSeconds": 60,
        "BillableTimeInSeconds": 45,
    }
    return described(secondary, primary, **{**times, **more})


def refusal(code: str, message: str = "no", status: int = 400) -> ClientError:
    """As botocore raises it."""
    answer = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {}},
    }
    return ClientError(answer, "Operation")


class PlayedSageMaker:
    """Answers with one state after the other; the last one stays. An exception is raised."""

    def __init__(self, *states: dict[str, Any] | BaseException) -> None:
        self._states = list(states)
        self.stops: list[str] = []
        self.on_stop: Callable[[], None] = lambda: None

    def describe_training_job(self, *, TrainingJobName: str) -> dict[str, Any]:
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(state, BaseException):
            raise state
        return dict(state)

    def stop_training_job(self, *, TrainingJobName: str) -> None:
        self.on_stop()
        self.stops.append(TrainingJobName)

    def go_over_to(self, *states: dict[str, Any]) -> None:
        self._states = list(states)


class PlayedClients:
    """SageMaker played, the rest moto's."""

    def __init__(self, aws: StandInAws, sagemaker: Any, **others: Any) -> None:
        self.region = REGION
        self.profile = None
        self.endpoint = None
        self._aws = aws
        self._made = {"sagemaker": sagemaker, **others}

    def __call__(self, service: str) -> Any:
        if service not in self._made:
            self._made[service] = self._aws.client(service)
        return self._made[service]


class Prints:
    """Prints as the hosts of a job do, into moto's CloudWatch."""

    def __init__(self, aws: StandInAws) -> None:
        self._logs = aws.client("logs")
        self._logs.create_log_group(logGroupName=GROUP)
        self._streams: set[str] = set()
        self._time = int(BEGAN.timestamp() * 1000)

    def __call__(self, host: str, *messages: str, job: str = "job") -> None:
        stream = f"{job}/{host}"
        place = {"logGroupName": GROUP, "logStreamName": stream}
        if stream not in self._streams:
            self._logs.create_log_stream(**place)
            self._streams.add(stream)
        for start in range(0, len(messages), 10_000):
            events = [
                {"timestamp": self._time + start + number, "message": message}
                for number, message in enumerate(messages[start : start + 10_000])
            ]
            self._logs.put_log_events(**place, logEvents=events)
        self._time += len(messages)
