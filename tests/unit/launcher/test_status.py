from __future__ import annotations

from sift_launcher.local.status import created, ended, entered


def test_a_job_that_completes_goes_through_sagemakers_statuses():
    status = created(10.0)
    status = entered(status, "InProgress", "Downloading", 11.0)
    status = entered(status, "InProgress", "Training", 12.0)
    status = entered(status, "InProgress", "Uploading", 13.0)
    status = ended(status, "Completed", 14.5, model="file:///m.tar.gz")
    assert status == {
        "CreationTime": 10.0,
        "TrainingStartTime": 11.0,
        "TrainingEndTime": 14.5,
        "LastModifiedTime": 14.5,
        "TrainingTimeInSeconds": 4,
        "BillableTimeInSeconds": 4,
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "SecondaryStatusTransitions": [
            {
                "Status": "Starting",
                "StartTime": 10.0,
                "EndTime": 11.0,
                "StatusMessage": "Starting the training job",
            },
            {
                "Status": "Downloading",
                "StartTime": 11.0,
                "EndTime": 12.0,
                "StatusMessage": "Bringing the code and the channels",
            },
            {
                "Status": "Training",
                "StartTime": 12.0,
                "EndTime": 13.0,
                "StatusMessage": "The script is running",
            },
            {
                "Status": "Uploading",
                "StartTime": 13.0,
                "EndTime": 14.5,
                "StatusMessage": "Collecting the model and the outputs",
            },
            {
                "Status": "Completed",
                "StartTime": 14.5,
                "EndTime": 14.5,
                "StatusMessage": "The training job completed",
            },
        ],
        "ModelArtifacts": {"S3ModelArtifacts": "file:///m.tar.gz"},
    }


def test_a_status_is_never_changed_in_place():
    first = created(1.0)
    entered(first, "InProgress", "Training", 2.0)
    ended(first, "Failed", 3.0, reason="x")
    assert first == created(1.0)


def test_a_reason_has_at_most_1024_characters():
    assert ended(created(1.0), "Failed", 2.0, reason="é" * 2000)["FailureReason"] == "é" * 1024


def test_a_job_that_never_trained_bills_nothing():
    status = ended(created(1.0), "Failed", 9.0, reason="no")
    assert "BillableTimeInSeconds" not in status


def test_an_interrupted_job_trains_on_and_is_not_billed_for_the_time_between():
    status = created(0.0)
    for secondary, now in (
        ("Downloading", 10.0),
        ("Training", 20.0),
        ("Interrupted", 50.0),
        ("Starting", 60.0),
        ("Downloading", 90.0),
        ("Training", 95.0),
        ("Uploading", 99.0),
    ):
        status = entered(status, "InProgress", secondary, now)
    status = ended(status, "Completed", 100.0)
    assert [each["Status"] for each in status["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Interrupted", "Starting", "Downloading", "Training",
        "Uploading", "Completed",
    ]  # fmt: skip
    assert status["TrainingStartTime"] == 10.0
    assert status["TrainingTimeInSeconds"] == 90
    assert status["BillableTimeInSeconds"] == 50


def test_a_job_that_waited_too_long_is_stopped_for_it():
    status = ended(created(0.0), "Stopped", 9.0, secondary="MaxWaitTimeExceeded")
    assert (status["TrainingJobStatus"], status["SecondaryStatus"]) == (
        "Stopped",
        "MaxWaitTimeExceeded",
    )
