"""The list of jobs, asked as SageMaker's client asks."""

from __future__ import annotations

import os
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from sift_launcher.local.records import JobRecords
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.status import created, ended


def service_with(count: int, home: Path) -> LocalTrainingService:
    """Jobs `job-0`, `job-1`, ... that were created and ended a hundred seconds apart."""
    records = JobRecords(home)
    for number in range(count):
        status = ended(created(100.0 * number), "Completed", 100.0 * number + 5)
        name = f"job-{number}"
        record, lock = records.create(name, {}, {"TrainingJobArn": f"arn/{name}"}, status)
        os.close(lock)
        os.utime(record.folder / "request.json", (100 * number, 100 * number))
    return LocalTrainingService(home)


@pytest.fixture
def service(tmp_path: Path) -> LocalTrainingService:
    return service_with(5, tmp_path)


def names(listed: dict[str, Any]) -> str:
    """The jobs' numbers, in a row."""
    return "".join(each["TrainingJobName"][-1] for each in listed["TrainingJobSummaries"])


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)


def test_a_summary_has_what_sagemakers_has(service):
    assert service.list_training_jobs()["TrainingJobSummaries"][0] == {
        "TrainingJobName": "job-4",
        "TrainingJobArn": "arn/job-4",
        "CreationTime": at(400),
        "TrainingEndTime": at(405),
        "LastModifiedTime": at(405),
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
    }


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, "43210"),
        ({"SortOrder": "Ascending"}, "01234"),
        ({"CreationTimeAfter": at(200)}, "43"),
        ({"CreationTimeBefore": at(200)}, "10"),
        ({"NameContains": "b-3"}, "3"),
        ({"StatusEquals": "InProgress"}, ""),
    ],
)
def test_jobs_are_chosen_and_sorted(service, options, found):
    assert names(service.list_training_jobs(**options)) == found


def test_pages_follow_each_other_until_nothing_is_left(service):
    pages, token = [], {}
    while True:
        page = service.list_training_jobs(MaxResults=2, **token)
        pages.append(names(page))
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert pages == ["43", "21", "0"]


def test_a_token_of_a_job_that_is_gone_ends_the_list(service):
    assert service.list_training_jobs(NextToken="gone") == {"TrainingJobSummaries": []}


def test_a_thousand_jobs_are_listed_within_a_second(tmp_path: Path):
    service = service_with(1000, tmp_path)
    begin = time.thread_time()  # a busy machine may let it wait for longer than that
    assert len(service.list_training_jobs()["TrainingJobSummaries"]) == 1000
    assert time.thread_time() - begin < 1.0
