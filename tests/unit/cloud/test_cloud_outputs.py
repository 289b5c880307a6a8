"""What a cloud job left in S3: its receipt, and the files that are downloaded."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from aws_stand_in import StandInAws
from botocore.exceptions import ReadTimeoutError
from played_sagemaker import BUCKET, described, ended

from sift_launcher.cloud.download import download
from sift_launcher.cloud.receipt import fetched_receipt
from sift_launcher.errors import BucketError, CloudUnreachable, OutputError, ResourceNotFound
from smart_sifting.receipt import Receipt, Samples, Saved, Seconds, Unsifted

CHECKPOINTS = {"CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/job/checkpoints"}}


@pytest.fixture
def s3(aws: StandInAws) -> Any:
    client = aws.client("s3")
    client.create_bucket(Bucket=BUCKET)
    return client


def put(s3: Any, key: str, content: bytes) -> None:
    s3.put_object(Bucket=BUCKET, Key=key, Body=content)


def archive(**files: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def receipt(rank: int = 0, **changes: Any) -> bytes:
    made = Receipt(
        tier="forward",
        rank=rank,
        world_size=2,
        final=True,
        samples=Samples(seen=10, kept=5, dropped=5),
        seconds=Seconds(total=10, training=5400, scoring=0),
        unsifted=Unsifted(step_seconds=1, measured_steps=3, seconds=9000),
        saved=Saved(seconds=3600, share=0.4),
    )
    return json.dumps(made.to_dict() | changes).encode()


def test_the_receipts_of_all_ranks_come_out_of_the_outputs_and_are_priced(s3: Any, tmp_path: Path):
    content = {"./receipt.json": receipt(), "receipt-1.json": receipt(1), "big": b"x" * 100_000}
    put(s3, "job/output/output.tar.gz", archive(**content, **{"mine/receipt.json": b"{}"}))
    merged, folder = fetched_receipt(s3, ended(), tmp_path, 2.0)
    assert merged.samples.seen == 20
    assert merged.saved.dollars == 2.0
    assert sorted(path.name for path in folder.rglob("*.json")) == [
        "receipt-1.json",
        "receipt.json",
    ]
    s3.delete_object(Bucket=BUCKET, Key="job/output/output.tar.gz")
    again, _ = fetched_receipt(s3, ended(), tmp_path, None)
    assert (again.samples.seen, again.saved.dollars) == (20, None)


def test_hosts_with_archives_of_their_own_are_one_job(s3: Any, tmp_path: Path):
    put(s3, "job/output/output.tar.gz", archive(**{"receipt.json": receipt()}))
    put(s3, "job/output/algo-2/output.tar.gz", archive(**{"receipt.json": receipt()}))
    merged, _ = fetched_receipt(s3, ended(), tmp_path, None)
    assert merged.samples.seen == 20


def test_of_a_large_archive_no_more_is_read_than_holds_the_receipts(s3: Any, tmp_path: Path):
    files = {"receipt.json": receipt(), "receipt-1.json": receipt(1)}
    put(s3, "job/output/output.tar.gz", archive(**files, data=os.urandom(1 << 20))[: 1 << 19])
    merged, _ = fetched_receipt(s3, ended(), tmp_path / "all", None)
    assert merged.samples.seen == 20
    with pytest.raises(ResourceNotFound):
        fetched_receipt(s3, ended(), tmp_path / "quickly", None, largest_archive=1000)


def test_a_running_job_s_receipt_is_what_it_saved_with_its_checkpoints(s3: Any, tmp_path: Path):
    put(s3, "job/checkpoints/.sift/receipt.json", receipt(final=False))
    put(s3, "job/checkpoints/.sift/state.pt", b"s")
    running = described("Training", **CHECKPOINTS)
    merged, _ = fetched_receipt(s3, running, tmp_path, None)
    assert (merged.samples.seen, merged.final) == (10, False)
    put(s3, "job/checkpoints/.sift/receipt.json", receipt(final=False, steps=7))
    merged, _ = fetched_receipt(s3, running, tmp_path, None)
    assert merged.steps == 7


@pytest.mark.parametrize(
    ("job", "why"),
    [
        (ended(HyperParameters={}), "it was not sifted (--no-sift)"),
        (ended(), "it has not trained, or nothing in it uses torch"),
        (
            described("Training"),
            "it leaves the host when the job ends, or with its checkpoints (--checkpoint, --spot)",
        ),
    ],
    ids=["plain", "no training", "running"],
)
def test_a_job_without_a_receipt_says_why(s3: Any, tmp_path: Path, job: dict, why: str):
    with pytest.raises(ResourceNotFound) as raised:
        fetched_receipt(s3, job, tmp_path, None)
    assert str(raised.value) == f"job job has no receipt: {why}"
    assert list(tmp_path.iterdir()) == []


def test_half_an_archive_is_named_and_not_kept(s3: Any, tmp_path: Path):
    put(s3, "job/output/output.tar.gz", archive(**{"receipt.json": receipt()})[:200])
    with pytest.raises(ResourceNotFound, match="no whole archive"):
        fetched_receipt(s3, ended(), tmp_path, None)
    assert list(tmp_path.iterdir()) == []


def test_outputs_and_checkpoints_are_brought_once(s3: Any, tmp_path: Path):
    put(s3, "job/output/model.tar.gz", b"model")
    put(s3, "job/output/output.tar.gz", b"output")
    put(s3, "job/checkpoints/epoch-1/state.pt", b"state")
    put(s3, "job/checkpoints/epoch-1/", b"")
    put(s3, "job/checkpoints-of-another/x", b"x")
    job = ended(**CHECKPOINTS)
    brought = download(s3, job, tmp_path)
    assert [str(path.relative_to(tmp_path)) for path in brought] == [
        "output/model.tar.gz",
        "output/output.tar.gz",
        "checkpoints/epoch-1/state.pt",
    ]
    assert [path.read_bytes() for path in brought] == [b"model", b"output", b"state"]
    made = s3.head_object(Bucket=BUCKET, Key="job/output/model.tar.gz")["LastModified"]
    assert brought[0].stat().st_mtime == made.timestamp()
    there = [path.stat().st_ino for path in brought]
    put(s3, "job/output/output.tar.gz", b"newer output")
    again = download(s3, job, tmp_path)
    assert [path.stat().st_ino == inode for path, inode in zip(again, there, strict=True)] == [
        True,
        False,
        True,
    ]
    assert again[1].read_bytes() == b"newer output"


class Breaking:
    """S3 of which every answer breaks off after some bytes; None: it is whole."""

    def __init__(self, s3: Any, *breaks: int | None) -> None:
        self._s3 = s3
        self._breaks = list(breaks)
        self.ranges: list[str | None] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def get_object(self, **request: Any) -> Any:
        self.ranges.append(request.get("Range"))
        answer = self._s3.get_object(**request)
        at = self._breaks.pop(0)
        if at is not None:
            answer["Body"] = BreakingBody(answer["Body"].read()[:at])
        return answer


class BreakingBody:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def iter_chunks(self, size: int) -> Any:
        yield self._content
        raise ReadTimeoutError(endpoint_url="https://s3", error="")


def test_a_connection_that_breaks_is_taken_up_where_it_broke(s3: Any, tmp_path: Path):
    put(s3, "job/output/model.tar.gz", b"0123456789")
    breaking = Breaking(s3, 4, 2, None)
    (path,) = download(breaking, ended(), tmp_path, sleep=lambda _: None)
    assert path.read_bytes() == b"0123456789"
    assert breaking.ranges == [None, "bytes=4-", "bytes=6-"]


def test_the_next_command_completes_what_an_earlier_one_began(s3: Any, tmp_path: Path):
    put(s3, "job/output/model.tar.gz", b"0123456789")
    waits: list[float] = []
    with pytest.raises(CloudUnreachable, match="run the command once more"):
        download(Breaking(s3, 4, *[0] * 5), ended(), tmp_path, sleep=waits.append)
    assert waits == [0.5, 1, 2, 4, 8]
    assert not (tmp_path / "output" / "model.tar.gz").exists()
    breaking = Breaking(s3, None)
    (path,) = download(breaking, ended(), tmp_path)
    assert (path.read_bytes(), breaking.ranges) == (b"0123456789", ["bytes=4-"])
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["model.tar.gz"]


def test_half_of_an_object_that_was_written_anew_is_not_completed(s3: Any, tmp_path: Path):
    put(s3, "job/output/model.tar.gz", b"0123456789")
    with pytest.raises(CloudUnreachable):
        download(Breaking(s3, 4, *[0] * 5), ended(), tmp_path, sleep=lambda _: None)
    put(s3, "job/output/model.tar.gz", b"abcdefghij")
    (path,) = download(s3, ended(), tmp_path)
    assert path.read_bytes() == b"abcdefghij"
    assert [path.name for path in (tmp_path / "output").iterdir()] == ["model.tar.gz"]


def test_two_states_of_an_object_are_never_mixed(s3: Any, tmp_path: Path):
    put(s3, "job/output/model.tar.gz", b"0123456789")
    breaking = Breaking(s3, 4, None)

    def write_anew(_: float) -> None:
        put(s3, "job/output/model.tar.gz", b"abcdefghij")

    with pytest.raises(BucketError, match="was written anew while it was read"):
        download(breaking, ended(), tmp_path, sleep=write_anew)
    assert not (tmp_path / "output" / "model.tar.gz").exists()


def test_a_job_that_left_nothing_says_where_nothing_is(s3: Any, tmp_path: Path):
    with pytest.raises(ResourceNotFound) as raised:
        download(s3, described("Training", **CHECKPOINTS), tmp_path)
    assert str(raised.value) == (
        "job job has left nothing (yet) at s3://results/job/output or s3://results/job/checkpoints"
    )


def test_a_key_that_leads_outside_is_refused(s3: Any, tmp_path: Path):
    put(s3, "job/output/../../evil", b"x")
    with pytest.raises(BucketError, match="names no file below a folder"):
        download(s3, ended(), tmp_path / "here")
    assert not (tmp_path / "evil").exists()


def test_a_folder_that_cannot_be_written_is_named(s3: Any, tmp_path: Path):
    put(s3, "job/output/model.tar.gz", b"model")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="or name another folder with --to"):
        download(s3, ended(), tmp_path / "file")
