"""Data goes to S3 once: its place there is made of its content."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
from aws_stand_in import StandInAws

from sift_launcher.bundle import CodeFile
from sift_launcher.cloud import content, s3
from sift_launcher.cloud.content import content_digest, data_files
from sift_launcher.cloud.facts import Upload
from sift_launcher.cloud.upload import plan_uploads, upload
from sift_launcher.errors import BucketError, ChannelError
from sift_launcher.job_spec import Channel, JobSpec

OF_A_AND_B = "s3://data/sift-data/4fa0adc443c7c7b117b041da47a35aeb/"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def client(aws: StandInAws) -> Any:
    made = aws.client("s3")
    made.create_bucket(Bucket="data")
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    write(folder, {"a.bin": "first", "sub/b.bin": "second"})
    return folder


def write(folder: Path, contents: dict[str, str], age: float = 60) -> None:
    for path, text in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        then = time.time() - age
        os.utime(folder / path, (then, then))


def plan(**places: Path | str) -> tuple[Upload, ...]:
    channels = {name: Channel(str(place)) for name, place in places.items()}
    return plan_uploads(JobSpec("train.py", channels=channels), "data")


def keys(client: Any) -> list[str]:
    return [each["Key"] for each in client.list_objects_v2(Bucket="data").get("Contents", [])]


class Puts:
    """A client that counts what is put, and fails from the one that is `last` on."""

    def __init__(self, client: Any, last: int = 1000) -> None:
        self._client, self._last = client, last
        self.keys: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def put_object(self, **asked: Any) -> Any:
        if len(self.keys) >= self._last:
            raise ConnectionError("broken")
        self.keys.append(asked["Key"])
        return self._client.put_object(**asked)


def silent(done: int, whole: int) -> None:
    pass


def test_local_data_is_planned_and_data_in_s3_is_not(folder: Path):
    (planned,) = plan(train=folder, test="s3://elsewhere/test")
    assert planned == Upload(
        "train",
        str(folder),
        OF_A_AND_B,
        (
            CodeFile("a.bin", 5, str(folder / "a.bin")),
            CodeFile("sub/b.bin", 6, str(folder / "sub/b.bin")),
        ),
    )
    assert planned.size == 11


def test_the_same_content_has_the_same_place_wherever_and_whenever(folder: Path, tmp_path: Path):
    shutil.copytree(folder, tmp_path / "copy")
    os.utime(tmp_path / "copy/a.bin", (1, 1))
    assert plan(one=tmp_path / "copy")[0].uri == OF_A_AND_B


@pytest.mark.parametrize(
    "contents",
    [
        {"a.bin": "First", "sub/b.bin": "second"},
        {"a.bin": "second", "sub/b.bin": "first"},
        {"a.bin": "first", "sub/c.bin": "second"},
        {"a.bin": "first", "sub/b.bin": "second", "c": ""},
        {"a.bin": "first"},
    ],
)
def test_another_content_has_another_place(tmp_path: Path, contents: dict[str, str]):
    write(tmp_path / "other", contents)
    assert plan(one=tmp_path / "other")[0].uri != OF_A_AND_B


def test_a_channel_of_one_file_is_a_folder_with_that_file(tmp_path: Path, client: Any):
    write(tmp_path, {"words.txt": "some words"})
    (planned,) = plan(train=tmp_path / "words.txt")
    assert planned.uri == "s3://data/sift-data/2fb55a1dfa7c4cb8c182350b4420c70b/"
    upload(planned, client, silent)
    assert keys(client) == ["sift-data/2fb55a1dfa7c4cb8c182350b4420c70b/words.txt"]


def test_what_is_uploaded_is_what_a_host_fetches(folder: Path, tmp_path: Path, client: Any):
    told: list[tuple[int, int]] = []
    (planned,) = plan(train=folder)
    upload(planned, client, lambda *bytes_of: told.append(bytes_of))
    s3.get_tree(client, planned.uri, tmp_path / "fetched")
    assert (tmp_path / "fetched/a.bin").read_text() == "first"
    assert (tmp_path / "fetched/sub/b.bin").read_text() == "second"
    assert told[0] == (0, 11)
    assert told[-1] == (11, 11)


def test_nothing_is_sent_twice(folder: Path, client: Any):
    told: list[tuple[int, int]] = []
    (planned,) = plan(train=folder)
    upload(planned, client, silent)
    again = Puts(client)
    upload(planned, again, lambda *bytes_of: told.append(bytes_of))
    assert again.keys == []
    assert told == [(11, 11)]


def test_an_upload_that_broke_off_is_taken_up_again(folder: Path, client: Any):
    (planned,) = plan(train=folder)
    with pytest.raises(ConnectionError):
        upload(planned, Puts(client, last=1), silent)
    (there,) = keys(client)
    again = Puts(client)
    upload(planned, again, silent)
    assert len(again.keys) == 1
    assert again.keys != [there]


def test_a_large_file_that_broke_off_is_taken_up_again(
    folder: Path, client: Any, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(s3, "PART_BYTES", 5 * 1024 * 1024)
    (folder / "big").write_bytes(b"x" * (11 * 1024 * 1024))
    (planned,) = plan(train=folder)
    real, sent = client.upload_part, []

    def break_off(**asked: Any) -> Any:
        sent.append(asked["PartNumber"])
        if len(sent) == 3:
            raise ConnectionError("broken")
        return real(**asked)

    monkeypatch.setattr(client, "upload_part", break_off)
    with pytest.raises(ConnectionError):
        upload(planned, client, silent)
    assert not any(key.endswith("/big") for key in keys(client))
    upload(planned, client, silent)
    assert len(sent) == 4
    assert [key.rpartition("/")[2] for key in keys(client)] == ["a.bin", "big", "b.bin"]


def test_a_key_of_kms_encrypts_the_data(folder: Path, client: Any):
    (planned,) = plan(train=folder)
    upload(planned, client, silent, "my-key")
    for key in keys(client):
        assert client.head_object(Bucket="data", Key=key)["SSEKMSKeyId"] == "my-key"


@pytest.mark.parametrize("contents", [{"a.bin": "FIRST"}, {"more": "x"}])
def test_data_that_changed_since_the_plan_is_not_sent(
    folder: Path, client: Any, contents: dict[str, str]
):
    (planned,) = plan(train=folder)
    write(folder, contents, age=30)
    with pytest.raises(ChannelError) as caught:
        upload(planned, client, silent)
    assert str(caught.value) == (
        f"channel train: {folder} changed since the job was planned: run the command again when it "
        "is whole"
    )
    assert keys(client) == []


def test_data_that_changes_while_it_is_sent_never_lies_under_the_name_of_another(
    folder: Path, client: Any, monkeypatch: pytest.MonkeyPatch
):
    (planned,) = plan(train=folder)
    listed = s3.listed

    def change_first(*args: Any) -> Any:
        write(folder, {"a.bin": "FIRST"}, age=30)
        return listed(*args)

    monkeypatch.setattr(s3, "listed", change_first)
    with pytest.raises(ChannelError, match=r"a\.bin changed while it was uploaded"):
        upload(planned, client, silent)
    assert not any(key.endswith("a.bin") for key in keys(client))


def test_a_bucket_that_is_gone_is_named(folder: Path, client: Any):
    (planned,) = plan(train=folder)
    client.delete_bucket(Bucket="data")
    with pytest.raises(BucketError, match="there is no such bucket"):
        upload(planned, client, silent)


def test_a_folder_that_is_not_there_or_holds_nothing_is_named(tmp_path: Path):
    with pytest.raises(ChannelError, match=r"channel train: .*/none does not exist"):
        plan(train=tmp_path / "none")
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    with pytest.raises(ChannelError, match=r"channel train: .*/empty holds no files"):
        plan(train=tmp_path / "empty")


def test_links_are_followed_once(folder: Path):
    (folder / "sub" / "up").symlink_to("..")
    (folder / "c.bin").symlink_to("a.bin")
    assert [file.path for file in data_files("train", folder)] == ["a.bin", "c.bin", "sub/b.bin"]


def test_a_name_that_s3_cannot_have_is_refused(folder: Path):
    (folder / os.fsdecode(b"\xff.bin")).touch()
    with pytest.raises(ChannelError, match="is no text in UTF-8"):
        data_files("train", folder)
    (folder / os.fsdecode(b"\xff.bin")).unlink()
    deep = folder.joinpath(*["x" * 200] * 4)
    deep.mkdir(parents=True)
    (deep / "file").touch()
    with pytest.raises(ChannelError, match=r"has 808 bytes.*at most 768 here: shorten it"):
        data_files("train", folder)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of the files whose contents were read."""
    real, seen = content._sha256, []

    def noted(file: content.DataFile) -> str:
        seen.append(file.path)
        return real(file)

    monkeypatch.setattr(content, "_sha256", noted)
    return seen


def digest(folder: Path) -> str:
    return content_digest(folder, data_files("train", folder))


def old(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything in the folder have been there for long."""
    later = time.time_ns() + 3_600_000_000_000
    monkeypatch.setattr(content.time, "time_ns", lambda: later)


def test_a_file_that_stays_as_it_is_is_read_once(
    folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
):
    old(folder, monkeypatch)
    first = digest(folder)
    assert sorted(reads) == ["a.bin", "sub/b.bin"]
    reads.clear()
    assert digest(folder) == first
    assert reads == []
    write(folder, {"a.bin": "FIRST"}, age=30)
    assert digest(folder) != first
    assert reads == ["a.bin"]


def test_a_file_written_this_moment_is_read_again(
    folder: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
):
    # Its inode changed just now, whatever its date says.
    now = max(path.stat().st_ctime_ns for path in folder.rglob("*"))
    monkeypatch.setattr(content.time, "time_ns", lambda: now)
    digest(folder)
    reads.clear()
    digest(folder)
    assert sorted(reads) == ["a.bin", "sub/b.bin"]


@pytest.mark.parametrize("kept", ["", "nonsense", "[]", '{"a.bin": 1}', '{"a.bin": [[], 1]}'])
def test_what_was_kept_of_earlier_may_be_damaged(
    folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch, kept: str
):
    old(folder, monkeypatch)
    first = digest(folder)
    (known,) = (state / "digests").iterdir()
    known.write_text(kept)
    assert digest(folder) == first


def test_without_a_place_to_keep_digests_they_are_made_again(folder: Path, state: Path):
    state.write_text("no folder")
    assert plan(train=folder)[0].uri == OF_A_AND_B
