"""What SageMaker tells of a training job, from the request and the record's status. Pure.

Times are seconds since the epoch, as AWS's JSON protocol has them.
Sources: the API reference's pages DescribeTrainingJob and ListTrainingJobs.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Any

from sift_launcher.rehearsal.protocol import invalid

Summary = dict[str, Any]

_OF_REQUEST = (
    "TrainingJobName",
    "HyperParameters",
    "AlgorithmSpecification",
    "RoleArn",
    "InputDataConfig",
    "OutputDataConfig",
    "ResourceConfig",
    "VpcConfig",
    "StoppingCondition",
    "CheckpointConfig",
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "TensorBoardOutputConfig",
    "ExperimentConfig",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "Environment",
    "RetryStrategy",
    "RemoteDebugConfig",
    "InfraCheckConfig",
)
_SWITCHES = (
    "EnableNetworkIsolation",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
)
_OF_SUMMARY = (
    "TrainingJobName",
    "TrainingJobArn",
    "CreationTime",
    "TrainingEndTime",
    "LastModifiedTime",
    "TrainingJobStatus",
    "SecondaryStatus",
)
_SORTED_BY = {
    "Name": "TrainingJobName",
    "CreationTime": "CreationTime",
    "Status": "TrainingJobStatus",
}
_PAGE = 10


def description(
    request: dict[str, Any], status: dict[str, Any], arn: str, metrics: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The answer to DescribeTrainingJob."""
    told = {key: request[key] for key in _OF_REQUEST if key in request}
    told |= {key: request.get(key, False) for key in _SWITCHES}
    told |= {"TrainingJobArn": arn, "ModelArtifacts": {}} | status
    if metrics:
        told["FinalMetricDataList"] = list(metrics)
    return told


def listing(jobs: Iterable[dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    """The answer to ListTrainingJobs, of the descriptions of all jobs, oldest first.

    As the API reference warns, a page is cut before its jobs are filtered by their status.
    """
    found = [job for job in jobs if _is_meant(job, request)]
    # Sorting keeps the order of equals, and turns it round with `reverse`: newest first.
    found.sort(
        key=itemgetter(_SORTED_BY[request.get("SortBy", "CreationTime")]),
        reverse=request.get("SortOrder", "Descending") == "Descending",
    )
    start = _read_token(request["NextToken"]) if "NextToken" in request else 0
    end = start + request.get("MaxResults", _PAGE)
    wanted = request.get("StatusEquals")
    summaries = [
        {key: job[key] for key in _OF_SUMMARY if key in job}
        for job in found[start:end]
        if wanted in (None, job["TrainingJobStatus"])
    ]
    more = {"NextToken": _token(end)} if end < len(found) else {}
    return {"TrainingJobSummaries": summaries} | more


def _is_meant(job: dict[str, Any], request: dict[str, Any]) -> bool:
    return (
        request.get("NameContains", "") in job["TrainingJobName"]
        and request.get("CreationTimeAfter", 0) <= job["CreationTime"]
        and job["CreationTime"] <= request.get("CreationTimeBefore", job["CreationTime"])
        and request.get("LastModifiedTimeAfter", 0) <= job["LastModifiedTime"]
        and job["LastModifiedTime"]
        <= request.get("LastModifiedTimeBefore", job["LastModifiedTime"])
        # No job here keeps its instance warm, and none is run by a training plan.
        and "WarmPoolStatusEquals" not in request
        and "TrainingPlanArnEquals" not in request
    )


def _token(start: int) -> str:
    return b64encode(json.dumps({"from": start}).encode()).decode()


def _read_token(token: str) -> int:
    try:
        return int(json.loads(b64decode(token, validate=True))["from"])
    except (ValueError, KeyError, TypeError):
        raise invalid("Invalid NextToken.") from None
