from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sift_launcher.errors import ResourceInUse, ResourceNotFound
from sift_launcher.local import records as module
from sift_launcher.local.records import JobRecords
from sift_launcher.local.status import created

REQUEST = {"TrainingJobName": "a"}


def make(records: JobRecords, name: str = "a") -> int:
    _, lock = records.create(name, REQUEST, {"StopSeconds": 1}, created(1.0))
    return lock


def test_of_many_who_want_a_name_one_gets_it(tmp_path: Path):
    records = JobRecords(tmp_path)

    def attempt(_: int) -> bool:
        try:
            os.close(make(records))
        except ResourceInUse:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(16))) == 1
    assert [path.name for path in (tmp_path / "jobs").iterdir()] == ["a"]


def test_the_lock_is_held_until_the_last_descriptor_is_closed(tmp_path: Path):
    records = JobRecords(tmp_path)
    lock = make(records)
    inherited = os.dup(lock)
    os.close(lock)
    with records["a"].lock_if_free() as free:
        assert not free
    os.close(inherited)
    with records["a"].lock_if_free() as free:
        assert free


def test_records_are_listed_newest_first_and_strangers_are_not(tmp_path: Path):
    records = JobRecords(tmp_path)
    assert list(records) == []
    for age, name in enumerate(("b", "c", "a")):
        os.close(make(records, name))
        os.utime(tmp_path / "jobs" / name / "request.json", (age, age))
    (tmp_path / "jobs" / "stranger").mkdir()
    (tmp_path / "jobs" / ".half-made").mkdir()
    assert [record.name for record in records] == ["a", "c", "b"]


def test_no_such_job(tmp_path: Path):
    with pytest.raises(ResourceNotFound, match="no job is named 'x'"):
        JobRecords(tmp_path)["x"].status()


def test_the_news_of_a_full_disk_finds_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    records = JobRecords(tmp_path)
    os.close(make(records))
    ballast = tmp_path / "jobs" / "a" / "ballast"
    write = module.write_json

    def full_disk(path: Path, value: object) -> None:
        if ballast.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, value)

    monkeypatch.setattr(module, "write_json", full_disk)
    records["a"].write_status({"TrainingJobStatus": "Failed"})
    assert records["a"].status() == {"TrainingJobStatus": "Failed"}


def test_lines_that_were_cut_off_are_ended_once(tmp_path: Path):
    record, lock = JobRecords(tmp_path).create("job", {}, {}, created(1.0))
    os.close(lock)
    for name, content in (("algo-1", b"a\nhalf"), ("algo-2", b"whole\n"), ("algo-3", b"")):
        (record.logs / f"{name}.log").write_bytes(content)
    for _ in range(2):
        record.end_log_lines()
    found = [(record.logs / f"algo-{number}.log").read_bytes() for number in (1, 2, 3)]
    assert found == [b"a\nhalf\n", b"whole\n", b""]
