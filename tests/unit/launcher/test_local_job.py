"""A job of this machine through what the commands about jobs know of one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sift_launcher import catalogue
from sift_launcher.catalogue import CloudEntry
from sift_launcher.errors import OutputError, ResourceNotFound
from sift_launcher.jobs import find_job, names
from sift_launcher.local.records import JobRecord, JobRecords
from sift_launcher.local.status import created, ended, entered


@pytest.fixture
def record(state: Path, tmp_path: Path) -> JobRecord:
    """Of a job that failed, with outputs and a checkpoint."""
    request = {
        "TrainingJobName": "job",
        "ResourceConfig": {"InstanceType": "local", "InstanceCount": 2},
        "OutputDataConfig": {"S3OutputPath": f"file://{tmp_path}/out"},
    }
    status = ended(entered(created(1.0), "InProgress", "Training", 2.0), "Failed", 9.0, reason="r")
    record, lock = JobRecords().create("job", request, {"TrainingJobArn": "arn"}, status)
    os.close(lock)
    for path in ("output/model.tar.gz", "output/algo-2/output.tar.gz", "checkpoints/state.pt"):
        file = tmp_path / "out" / "job" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)
    return record


def test_a_job_of_this_machine_is_found_before_one_of_that_name_in_the_cloud(record: JobRecord):
    catalogue.remember(CloudEntry("job", "arn", "us-east-1", "ml.m5.large", 1, 1.0))
    catalogue.remember(CloudEntry("other", "arn", "us-east-1", "ml.m5.large", 1, 1.0))
    assert find_job("job").where == "this machine"
    assert find_job("other").where == "us-east-1"
    assert sorted(names()) == ["job", "job", "other"]


@pytest.mark.parametrize("name", ["nobody", "../job", ""])
def test_what_no_job_is_named_is_not_found(record: JobRecord, name: str, monkeypatch):
    for variable in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(ResourceNotFound, match="no job is named"):
        find_job(name)


def test_the_last_lines_are_those_of_the_host_that_printed_last(record: JobRecord):
    for host, when in (("algo-1", 200), ("algo-2", 100)):
        log = record.logs / f"{host}.log"
        log.write_text("".join(f"{host} line {number}\n" for number in range(20_000)))
        os.utime(log, (when, when))
    assert find_job("job").last_lines(2) == ["algo-1 line 19998", "algo-1 line 19999"]


def test_the_status_of_a_failed_job_ends_with_its_last_lines(record: JobRecord, call):
    (record.logs / "algo-1.log").write_text("one\nValueError: bad\n")
    lines = [" ".join(line.split()) for line in call("status", "job").out.splitlines()]
    assert "where this machine, 2 x local" in lines
    assert lines[-2:] == ["last lines one", "ValueError: bad"]
    assert not any(line.startswith("cost") for line in lines)


def test_its_outputs_are_copied_where_they_are_wanted_and_once(record: JobRecord, tmp_path: Path):
    there = tmp_path / "there"
    copied = find_job("job").download(there)
    assert [str(path.relative_to(there)) for path in copied] == [
        "output/algo-2/output.tar.gz",
        "output/model.tar.gz",
        "checkpoints/state.pt",
    ]
    inodes = [path.stat().st_ino for path in copied]
    assert [path.stat().st_ino for path in find_job("job").download(there)] == inodes


def test_where_they_are_already_they_stay(record: JobRecord, tmp_path: Path):
    home = tmp_path / "out" / "job"
    before = (home / "output" / "model.tar.gz").stat().st_ino
    find_job("job").download(home)
    assert (home / "output" / "model.tar.gz").stat().st_ino == before


def test_a_folder_that_cannot_be_written_is_named(record: JobRecord, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="or name another folder with --to"):
        find_job("job").download(tmp_path / "file")


def test_a_job_that_left_nothing_yet_says_so(record: JobRecord, tmp_path: Path):
    (tmp_path / "out" / "job").rename(tmp_path / "elsewhere")
    with pytest.raises(ResourceNotFound, match="job job has no outputs"):
        find_job("job").download(tmp_path / "there")


def test_jobs_lists_it_beside_those_of_the_cloud(record: JobRecord, call):
    done = CloudEntry(
        "done", "arn", "us-east-1", "ml.m5.large", 1, 0.0, ended_as="Completed", ended=60.0
    )
    catalogue.remember(done)
    lines = [line.split() for line in call("jobs").out.splitlines()]
    assert lines[2][:5] == ["job", "Failed", "2", "x", "local"]
    assert lines[2][-2:] == ["8", "$0.00"]
    assert lines[3][:4] == ["done", "Completed", "us-east-1", "ml.m5.large"]
    assert lines[3][-1] == "60"  # without a price no cost is made up
