from __future__ import annotations

from typing import Any

import pytest

from sift_launcher.rehearsal.description import description, listing
from sift_launcher.rehearsal.protocol import Refused


def job(name: str, moment: float, status: str = "Completed") -> dict[str, Any]:
    return {
        "TrainingJobName": name,
        "TrainingJobArn": f"arn:{name}",
        "CreationTime": moment,
        "LastModifiedTime": moment + 5,
        "TrainingJobStatus": status,
        "SecondaryStatus": status,
        "HyperParameters": {},
    }


JOBS = [job("b", 10.0), job("a", 20.0, "Failed"), job("c", 30.0, "InProgress")]


def names(**request: Any) -> list[str]:
    found = listing(JOBS, request)["TrainingJobSummaries"]
    return [each["TrainingJobName"] for each in found]


def test_a_summary_holds_what_sagemaker_tells_in_a_list():
    (summary,) = listing([job("b", 10.0)], {})["TrainingJobSummaries"]
    assert summary == {
        "TrainingJobName": "b",
        "TrainingJobArn": "arn:b",
        "CreationTime": 10.0,
        "LastModifiedTime": 15.0,
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
    }


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({}, "cab"),
        ({"SortOrder": "Ascending"}, "bac"),
        ({"SortBy": "Name", "SortOrder": "Ascending"}, "abc"),
        ({"SortBy": "Status", "SortOrder": "Ascending"}, "bac"),
        ({"NameContains": "a"}, "a"),
        ({"StatusEquals": "Failed"}, "a"),
        ({"CreationTimeAfter": 15}, "ca"),
        ({"CreationTimeBefore": 20}, "ab"),
        ({"LastModifiedTimeAfter": 26}, "c"),
        ({"LastModifiedTimeBefore": 15}, "b"),
        ({"WarmPoolStatusEquals": "InUse"}, ""),
        ({"TrainingPlanArnEquals": "arn:plan"}, ""),
    ],
)
def test_a_list_is_filtered_and_sorted_as_asked(request_: dict[str, Any], expected: str):
    assert "".join(names(**request_)) == expected


def test_pages_follow_each_other_to_the_end():
    first = listing(JOBS, {"MaxResults": 2})
    assert len(first["TrainingJobSummaries"]) == 2
    last = listing(JOBS, {"MaxResults": 2, "NextToken": first["NextToken"]})
    assert [each["TrainingJobName"] for each in last["TrainingJobSummaries"]] == ["b"]
    assert "NextToken" not in last
    assert "NextToken" not in listing(JOBS, {"MaxResults": 3})


def test_a_page_has_ten_jobs_unless_asked_otherwise():
    many = [job(f"j{i}", float(i)) for i in range(11)]
    assert len(listing(many, {})["TrainingJobSummaries"]) == 10


def test_a_page_is_cut_before_it_is_filtered_by_status_as_in_the_service():
    page = listing(JOBS, {"MaxResults": 1, "StatusEquals": "Failed"})
    assert page["TrainingJobSummaries"] == []
    assert "NextToken" in page


@pytest.mark.parametrize("token", ["x", "bm9uZQ==", "e30="])
def test_a_token_of_nobodys_is_refused(token: str):
    with pytest.raises(Refused, match=r"^Invalid NextToken\.$") as caught:
        listing(JOBS, {"NextToken": token})
    assert caught.value.code == "ValidationException"


def test_a_description_is_the_request_without_its_tags_and_with_what_became_of_it():
    request = {"TrainingJobName": "a", "RoleArn": "arn:role", "Tags": [{"Key": "k", "Value": "v"}]}
    status = {"TrainingJobStatus": "InProgress", "CreationTime": 1.0}
    assert description(request, status, "arn:a", []) == {
        "TrainingJobName": "a",
        "TrainingJobArn": "arn:a",
        "RoleArn": "arn:role",
        "EnableNetworkIsolation": False,
        "EnableInterContainerTrafficEncryption": False,
        "EnableManagedSpotTraining": False,
        "ModelArtifacts": {},
        "TrainingJobStatus": "InProgress",
        "CreationTime": 1.0,
    }


def test_a_description_tells_the_model_and_the_metrics_once_there_are_some():
    status = {"ModelArtifacts": {"S3ModelArtifacts": "s3://b/m"}}
    metric = {"MetricName": "loss", "Value": 0.5, "Timestamp": 2.0}
    told = description({"EnableManagedSpotTraining": True}, status, "arn:a", [metric])
    assert told["ModelArtifacts"] == {"S3ModelArtifacts": "s3://b/m"}
    assert told["FinalMetricDataList"] == [metric]
    assert told["EnableManagedSpotTraining"] is True
