"""Checkpoints on their way to S3 and back: whole ones alone."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from sift_launcher.cloud.client import Clients
from sift_launcher.errors import BucketError, ChannelError
from sift_launcher.local import checkpoint_sync
from sift_launcher.local.checkpoint_sync import CheckpointSync, restore
from sift_launcher.local.fetch import Fetcher

URI = "s3://bucket/job/checkpoints"
PATIENCE_SECONDS = 120.0


@pytest.fixture
def s3(aws, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(checkpoint_sync, "EACH_SECONDS", 0.05)
    client = Clients()("s3")
    client.create_bucket(Bucket="bucket")
    return client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    return folder


def kept(s3: Any) -> dict[str, bytes]:
    found = s3.list_objects_v2(Bucket="bucket").get("Contents", [])
    return {
        each["Key"].removeprefix("job/checkpoints/"): s3.get_object(
            Bucket="bucket", Key=each["Key"]
        )["Body"].read()
        for each in found
    }


def until(condition: Any) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


def test_files_are_put_while_the_job_runs_and_again_when_they_change(s3, folder):
    with CheckpointSync(s3, URI + "/", [folder]):
        (folder / "sub").mkdir()
        (folder / "sub" / "1.pt").write_bytes(b"one")
        until(lambda: kept(s3) == {"sub/1.pt": b"one"})
        (folder / "sub" / "1.pt").write_bytes(b"more")
        until(lambda: kept(s3) == {"sub/1.pt": b"more"})
    assert kept(s3) == {"sub/1.pt": b"more"}


def test_a_file_that_is_still_being_written_is_not_put(s3, folder):
    with CheckpointSync(s3, URI, [folder]) as sync:
        with (folder / "1.pt").open("wb") as file:
            file.write(b"ha")
            file.flush()
            (folder / "other").write_bytes(b"x")
            until(lambda: "other" in kept(s3))
            time.sleep(0.2)
            assert kept(s3) == {"other": b"x"}
            file.write(b"lf")
        until(lambda: kept(s3).get("1.pt") == b"half")
    sync.finish(orderly=True)


def test_what_a_killed_job_was_writing_leaves_the_last_whole_file_in_place(s3, folder):
    sync = CheckpointSync(s3, URI, [folder])
    with sync:
        (folder / "1.pt").write_bytes(b"whole")
        until(lambda: kept(s3) == {"1.pt": b"whole"})
        with (folder / "1.pt").open("wb") as file:
            file.write(b"ha")
            file.flush()
            sync.mark()
            sync.mark()
    sync.finish(orderly=False)
    assert kept(s3) == {"1.pt": b"whole"}


def test_what_a_job_was_writing_that_died_by_itself_is_not_put_either(s3, folder, monkeypatch):
    sync = CheckpointSync(s3, URI, [folder])
    looks: list[bool] = []
    look = sync._look
    monkeypatch.setattr(sync, "_look", lambda: looks.append(sync._is_over) or look())
    with (folder / "1.pt").open("wb") as file, sync:
        file.write(b"ha")
        file.flush()
        (folder / "other").write_bytes(b"x")
        until(lambda: "other" in kept(s3))
    assert not any(looks)  # what a dead job was writing is closed by then, and looks whole
    sync.finish(orderly=False)
    assert kept(s3) == {"other": b"x"}


def test_what_was_whole_when_a_job_was_killed_is_put_afterwards(s3, folder):
    asked: list[object] = []

    def refuse(**more: object) -> None:
        asked.append(more)
        raise BucketError("not now")

    s3.meta.events.register("before-call.s3.PutObject", refuse)
    sync = CheckpointSync(s3, URI, [folder])
    with sync:
        (folder / "1.pt").write_bytes(b"whole")
        until(lambda: asked)
        sync.mark()
        (folder / "2.pt").write_bytes(b"too late")
        time.sleep(0.2)
    s3.meta.events.unregister("before-call.s3.PutObject", refuse)
    assert kept(s3) == {}
    sync.finish(orderly=False)
    assert kept(s3) == {"1.pt": b"whole"}


def test_all_that_a_job_left_is_put_at_its_orderly_end(s3, folder, monkeypatch):
    monkeypatch.setattr(checkpoint_sync, "EACH_SECONDS", 1e6)
    with CheckpointSync(s3, URI, [folder]) as sync:
        (folder / "1.pt").write_bytes(b"one")
    sync.finish(orderly=True)
    assert kept(s3) == {"1.pt": b"one"}


def test_hosts_that_were_told_to_stop_are_looked_at_more_often(s3, folder, monkeypatch):
    monkeypatch.setattr(checkpoint_sync, "EACH_SECONDS", 1e6)
    with CheckpointSync(s3, URI, [folder]) as sync:
        sync.hurry()
        (folder / "1.pt").write_bytes(b"saved at last")
        until(lambda: "1.pt" in kept(s3))
    assert kept(s3) == {"1.pt": b"saved at last"}


def test_what_was_saved_just_before_the_hosts_had_to_stop_is_whole(s3, folder, monkeypatch):
    monkeypatch.setattr(checkpoint_sync, "EACH_SECONDS_OF_NOTICE", 1e6)
    sync = CheckpointSync(s3, URI, [folder])
    (folder / "1.pt").write_bytes(b"one")
    with (folder / "2.pt").open("wb") as file:
        file.write(b"ha")
        file.flush()
        sync.hurry()
    (folder / "3.pt").write_bytes(b"after the last look")
    sync.finish(orderly=False)
    assert kept(s3) == {"1.pt": b"one"}


@pytest.mark.parametrize("unchanged", [True, False])
def test_where_nobody_tells_what_is_open_a_file_must_not_change_for_a_while(
    s3, folder, monkeypatch, unchanged
):
    monkeypatch.delattr("fcntl.F_SETLEASE")
    sync = CheckpointSync(s3, URI, [folder])
    (folder / "1.pt").write_bytes(b"one")
    sync.hurry()
    if not unchanged:
        (folder / "1.pt").write_bytes(b"more")
    sync.hurry()
    sync.finish(orderly=False)
    assert kept(s3) == ({"1.pt": b"one"} if unchanged else {})


def test_of_two_files_the_one_written_first_is_put_first(s3, folder):
    puts: list[str] = []
    s3.meta.events.register(
        "before-call.s3.PutObject", lambda params, **_: puts.append(params["url_path"])
    )
    sync = CheckpointSync(s3, URI, [folder])
    (folder / "a-pointer").write_bytes(b"z")
    (folder / "z").write_bytes(b"data")
    os.utime(folder / "z", ns=(1, 1))
    sync.finish(orderly=True)
    assert [each.rpartition("/")[2] for each in puts] == ["z", "a-pointer"]


def test_what_is_brought_back_is_not_put_again(s3, folder, tmp_path):
    for name in ("1.pt", "sub/2.pt"):
        s3.put_object(Bucket="bucket", Key=f"job/checkpoints/{name}", Body=name.encode())
    s3.put_object(Bucket="bucket", Key="job/checkpoints-of-another/x", Body=b"x")
    restore(Fetcher(s3, lambda: None), URI, folder, tmp_path / "aside")
    assert (folder / "sub" / "2.pt").read_bytes() == b"sub/2.pt"
    assert sorted(path.name for path in folder.iterdir()) == ["1.pt", "sub"]
    puts: list[object] = []
    s3.meta.events.register("before-call.s3.PutObject", lambda **more: puts.append(more))
    sync = CheckpointSync(s3, URI, [folder])
    sync.finish(orderly=True)
    assert puts == []


def test_nothing_to_bring_back_is_nothing_to_tell(s3, folder, tmp_path):
    restore(Fetcher(s3, lambda: None), URI, folder, tmp_path / "aside")
    assert list(folder.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told_at_the_end_alone(s3, folder):
    sync = CheckpointSync(s3, "s3://no-such-bucket/x", [folder])
    with sync:
        (folder / "1.pt").write_bytes(b"one")
        time.sleep(0.2)
    with pytest.raises(BucketError, match="no such bucket"):
        sync.finish(orderly=True)


def test_a_file_that_cannot_be_read_is_told_at_the_end_alone(s3, folder, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise ChannelError("cannot read 1.pt")

    with CheckpointSync(s3, URI, [folder]) as sync, monkeypatch.context() as patched:
        patched.setattr("sift_launcher.cloud.s3.put_file", refuse)
        (folder / "1.pt").write_bytes(b"one")
        time.sleep(0.2)
        (folder / "gone").write_bytes(b"x")
        (folder / "gone").unlink()
        patched.undo()
        until(lambda: kept(s3) == {"1.pt": b"one"})
        patched.setattr("sift_launcher.cloud.s3.put_file", refuse)
        (folder / "2.pt").write_bytes(b"two")
        with pytest.raises(ChannelError, match="cannot read"):
            sync.finish(orderly=True)
