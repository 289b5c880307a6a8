"""Objects come and go whole, whatever breaks on the way."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from aws_stand_in import StandInAws
from botocore.response import StreamingBody
from botocore.stub import Stubber

from sift_launcher.cloud import s3 as objects
from sift_launcher.cloud.s3 import Object, get_file, get_tree, listed, put_file, split
from sift_launcher.errors import (
    AccessDenied,
    BucketError,
    ChannelError,
    CloudRefused,
    CloudUnreachable,
    OutputError,
)

MIB = 1024 * 1024


@pytest.fixture
def s3(aws: StandInAws) -> Any:
    client = aws.client("s3")
    client.create_bucket(Bucket="data")
    return client


@pytest.fixture
def parts_of_5_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "PART_BYTES", 5 * MIB)  # S3's own least


def put(s3: Any, **contents: bytes) -> None:
    for key, content in contents.items():
        s3.put_object(Bucket="data", Key=key, Body=content)


def read(s3: Any, key: str) -> bytes:
    return s3.get_object(Bucket="data", Key=key)["Body"].read()


def uploads(s3: Any) -> list[str]:
    return [each["Key"] for each in s3.list_multipart_uploads(Bucket="data").get("Uploads", [])]


def big_file(folder: Path) -> Path:
    path = folder / "big.bin"
    path.write_bytes(b"1" * (5 * MIB) + b"2" * (5 * MIB) + b"3" * MIB)
    return path


class Breaking:
    """A client whose calls of one name fail after the first few, or do something before."""

    def __init__(self, s3: Any, name: str, before: Any) -> None:
        self._s3, self._name, self._before = s3, name, before
        self.calls: list[dict[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._s3, name)
        if name != self._name:
            return real

        def call(**asked: Any) -> Any:
            self.calls.append(asked)
            self._before(len(self.calls), asked)
            return real(**asked)

        return call


def never(count: int, asked: Any) -> None:
    pass


def after(calls: int, error: BaseException) -> Any:
    def fail(count: int, asked: Any) -> None:
        if count > calls:
            raise error

    return fail


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("s3://bucket/a/b.txt", ("bucket", "a/b.txt")),
        ("s3://bucket/", ("bucket", "")),
        ("s3://bucket", ("bucket", "")),
        ("s3://bucket/a//b/", ("bucket", "a//b/")),
    ],
)
def test_an_address_is_a_bucket_and_a_key(uri: str, parts: tuple[str, str]):
    assert split(uri) == parts


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "bucket/key", "https://bucket/key", ""])
def test_what_is_no_address_is_refused(uri: str):
    with pytest.raises(BucketError, match="write it as s3://bucket/prefix"):
        split(uri)


def test_everything_below_a_prefix_is_listed_over_many_pages(s3: Any):
    asked = {"Bucket": "data", "Prefix": "many/"}
    one = {"Key": "many/1", "Size": 1, "ETag": '"a"'}
    two = {"Key": "many/2", "Size": 2, "ETag": '"b"'}
    with Stubber(s3) as stub:
        first = {"Contents": [one], "IsTruncated": True, "NextContinuationToken": "next"}
        stub.add_response("list_objects_v2", first, asked)
        stub.add_response(
            "list_objects_v2", {"Contents": [two]}, asked | {"ContinuationToken": "next"}
        )
        found = list(listed(s3, "s3://data/many/"))
    assert found == [Object("many/1", 1, '"a"'), Object("many/2", 2, '"b"')]


@pytest.mark.parametrize(
    ("uri", "files"),
    [
        ("s3://data/train", ["a", "b/c"]),
        ("s3://data/train/", ["a", "b/c"]),
        ("s3://data/train/a", ["a"]),
        ("s3://data/tr", ["train/a", "train/b/c"]),
        ("s3://data/", ["other", "train/a", "train/b/c"]),
        ("s3://data", ["other", "train/a", "train/b/c"]),
    ],
)
def test_a_tree_is_laid_out_as_a_channel_is(s3: Any, tmp_path: Path, uri: str, files: list[str]):
    put(s3, **{"train/a": b"1", "train/b/c": b"2", "train/empty/": b"", "other": b"3"})
    get_tree(s3, uri, tmp_path / "to")
    found = sorted(
        str(path.relative_to(tmp_path / "to"))
        for path in (tmp_path / "to").rglob("*")
        if path.is_file()
    )
    assert found == files


def test_of_a_tree_only_the_keys_that_are_named_are_fetched(s3: Any, tmp_path: Path):
    put(s3, **{"train/a": b"1", "train/b": b"2"})
    get_tree(s3, "s3://data/train/", tmp_path, keys=["train/b"])
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    get_tree(s3, "s3://data/train/", tmp_path / "none", keys=[])
    assert list((tmp_path / "none").iterdir()) == []


def test_a_tree_of_nothing_is_refused(s3: Any, tmp_path: Path):
    with pytest.raises(BucketError, match="there is nothing at s3://data/train: check the name"):
        get_tree(s3, "s3://data/train", tmp_path)


def test_a_key_that_would_leave_the_folder_is_refused(s3: Any, tmp_path: Path):
    listing = {"Contents": [{"Key": "t/../../x", "Size": 1, "ETag": '"1"'}]}
    with Stubber(s3) as stub, pytest.raises(BucketError, match=r"the key 't/../../x' names no"):
        stub.add_response("list_objects_v2", listing)
        get_tree(s3, "s3://data/t/", tmp_path / "to")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("s3://data/gone", "s3://data/gone: there is no such object: "),
        ("s3://nowhere/x", "s3://nowhere/x: there is no such bucket: "),
    ],
)
def test_what_is_not_there_is_named_and_leaves_no_file(
    s3: Any, tmp_path: Path, uri: str, message: str
):
    with pytest.raises(BucketError) as caught:
        get_file(s3, uri, tmp_path / "x")
    assert str(caught.value).startswith(message)
    assert list(tmp_path.iterdir()) == []


def body(content: bytes, length: int) -> StreamingBody:
    return StreamingBody(io.BytesIO(content), length)


def test_a_fetch_that_breaks_goes_on_where_it_broke(s3: Any, tmp_path: Path):
    pauses: list[float] = []
    ranged = {"Bucket": "data", "Key": "k", "Range": "bytes=4-", "IfMatch": '"e"'}
    with Stubber(s3) as stub:
        whole = {"Body": body(b"0123", 10), "ContentLength": 10, "ETag": '"e"'}
        stub.add_response("get_object", whole, {"Bucket": "data", "Key": "k"})
        rest = {"Body": body(b"456789", 6), "ContentLength": 6, "ETag": '"e"'}
        stub.add_response("get_object", rest, ranged)
        get_file(s3, "s3://data/k", tmp_path / "k", pauses.append)
    assert (tmp_path / "k").read_bytes() == b"0123456789"
    assert pauses == [1.0]


def test_an_object_written_anew_between_two_halves_is_no_object(s3: Any, tmp_path: Path):
    (tmp_path / "k").write_text("before")
    with Stubber(s3) as stub, pytest.raises(BucketError, match="s3://data/k was written anew"):
        whole = {"Body": body(b"0123", 10), "ContentLength": 10, "ETag": '"e"'}
        stub.add_response("get_object", whole)
        stub.add_client_error("get_object", "PreconditionFailed", http_status_code=412)
        get_file(s3, "s3://data/k", tmp_path / "k", lambda _: None)
    assert (tmp_path / "k").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_a_connection_that_breaks_again_and_again_is_given_up(s3: Any, tmp_path: Path):
    pauses: list[float] = []
    with Stubber(s3) as stub, pytest.raises(CloudUnreachable, match="broke 5 times") as caught:
        for _ in range(5):
            nothing = {"Body": body(b"", 10), "ContentLength": 10, "ETag": '"e"'}
            stub.add_response("get_object", nothing)
        get_file(s3, "s3://data/k", tmp_path / "k", pauses.append)
    assert "after 0 of 10 bytes" in str(caught.value)
    assert pauses == [1.0, 2.0, 4.0, 8.0]
    assert list(tmp_path.iterdir()) == []


def test_a_name_as_long_as_names_can_be_is_fetched(s3: Any, tmp_path: Path):
    put(s3, **{"x" * 255: b"content"})
    get_tree(s3, "s3://data/", tmp_path / "to")
    assert (tmp_path / "to" / ("x" * 255)).read_bytes() == b"content"


def test_a_folder_that_cannot_be_written_is_named(s3: Any, tmp_path: Path):
    put(s3, k=b"1")
    with pytest.raises(OutputError, match=f"cannot write {tmp_path}/none/k"):
        get_file(s3, "s3://data/k", tmp_path / "none" / "k")


def test_a_small_file_is_put_and_fetched(s3: Any, tmp_path: Path):
    for content in (b"", b"content"):
        (tmp_path / "a").write_bytes(content)
        put_file(s3, tmp_path / "a", "s3://data/x/a")
        get_file(s3, "s3://data/x/a", tmp_path / "b")
        assert (tmp_path / "b").read_bytes() == content


@pytest.mark.usefixtures("parts_of_5_mib")
def test_a_large_file_is_put_in_parts(s3: Any, tmp_path: Path):
    path, told = big_file(tmp_path), []
    put_file(s3, path, "s3://data/big", report=told.append)
    assert read(s3, "big") == path.read_bytes()
    assert s3.head_object(Bucket="data", Key="big")["ETag"].endswith('-3"')
    assert sorted(told) == [MIB, 5 * MIB, 5 * MIB]
    assert uploads(s3) == []


@pytest.mark.usefixtures("parts_of_5_mib")
@pytest.mark.parametrize("size", [3, 11 * MIB])
def test_a_key_of_kms_encrypts_small_and_large_files(s3: Any, tmp_path: Path, size: int):
    (tmp_path / "a").write_bytes(b"x" * size)
    put_file(s3, tmp_path / "a", "s3://data/a", "my-key")
    head = s3.head_object(Bucket="data", Key="a")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "my-key")


@pytest.mark.usefixtures("parts_of_5_mib")
@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_an_interrupted_upload_leaves_neither_object_nor_parts(
    s3: Any, tmp_path: Path, error: BaseException
):
    with pytest.raises(type(error)):
        put_file(Breaking(s3, "upload_part", after(1, error)), big_file(tmp_path), "s3://data/big")
    assert list(listed(s3, "s3://data/")) == []
    assert uploads(s3) == []


@pytest.mark.usefixtures("parts_of_5_mib")
def test_an_interrupted_upload_is_taken_up_again(s3: Any, tmp_path: Path):
    path = big_file(tmp_path)
    with pytest.raises(RuntimeError):
        breaking = Breaking(s3, "upload_part", after(2, RuntimeError("broken")))
        put_file(breaking, path, "s3://data/big", resume=True)
    assert list(listed(s3, "s3://data/")) == []
    assert uploads(s3) == ["big"]

    counting, told = Breaking(s3, "upload_part", never), []
    put_file(counting, path, "s3://data/big", resume=True, report=told.append)
    assert len(counting.calls) == 1
    assert sum(told) == 11 * MIB
    assert read(s3, "big") == path.read_bytes()
    assert uploads(s3) == []


@pytest.mark.usefixtures("parts_of_5_mib")
def test_parts_of_another_content_are_sent_again(s3: Any, tmp_path: Path):
    path = big_file(tmp_path)
    with pytest.raises(RuntimeError):
        breaking = Breaking(s3, "upload_part", after(2, RuntimeError("broken")))
        put_file(breaking, path, "s3://data/big", resume=True)
    path.write_bytes(b"9" * (11 * MIB))
    counting = Breaking(s3, "upload_part", never)
    put_file(counting, path, "s3://data/big", resume=True)
    assert len(counting.calls) == 3
    assert read(s3, "big") == b"9" * (11 * MIB)


@pytest.mark.usefixtures("parts_of_5_mib")
def test_an_upload_that_another_command_ends_first_is_sent_whole(s3: Any, tmp_path: Path):
    path = big_file(tmp_path)
    with pytest.raises(RuntimeError):
        breaking = Breaking(s3, "upload_part", after(2, RuntimeError("broken")))
        put_file(breaking, path, "s3://data/big", resume=True)

    def gone(count: int, asked: Any) -> None:
        if count == 1:
            raise s3.exceptions.NoSuchUpload({"Error": {"Code": "NoSuchUpload"}}, "UploadPart")

    put_file(Breaking(s3, "upload_part", gone), path, "s3://data/big", resume=True)
    assert read(s3, "big") == path.read_bytes()


@pytest.mark.usefixtures("parts_of_5_mib")
@pytest.mark.parametrize("resume", [False, True])
def test_a_large_file_that_changes_meanwhile_never_becomes_an_object(
    s3: Any, tmp_path: Path, resume: bool
):
    path = big_file(tmp_path)

    def change(count: int, asked: Any) -> None:
        os.utime(path, ns=(1, count))

    with pytest.raises(ChannelError, match=r"big\.bin changed while it was uploaded"):
        put_file(Breaking(s3, "upload_part", change), path, "s3://data/big", resume=resume)
    assert list(listed(s3, "s3://data/")) == []
    assert uploads(s3) == []


def test_a_file_that_is_no_longer_what_was_planned_is_not_sent(s3: Any, tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("before")
    before = path.stat()
    path.write_text("beyond")
    os.utime(path, ns=(1, 1))
    with pytest.raises(ChannelError, match="changed while it was uploaded"):
        put_file(s3, path, "s3://data/a", as_of=before)
    assert list(listed(s3, "s3://data/")) == []


def test_s3_is_told_the_digest_of_what_it_should_receive(s3: Any, tmp_path: Path):
    (tmp_path / "a").write_bytes(b"content")
    sent = {"Bucket": "data", "Key": "a", "Body": b"content"}
    with Stubber(s3) as stub:
        stub.add_response("put_object", {}, sent | {"ContentMD5": "mgNkuembtIDdJeHwKEyFVQ=="})
        put_file(s3, tmp_path / "a", "s3://data/a")
        stub.assert_no_pending_responses()


@pytest.mark.usefixtures("parts_of_5_mib")
def test_without_the_right_to_look_for_it_an_upload_begins_anew(s3: Any, tmp_path: Path):
    path = big_file(tmp_path)
    with Stubber(s3) as stub:
        stub.add_client_error("list_multipart_uploads", "AccessDenied", http_status_code=403)
        stub.add_response("create_multipart_upload", {"UploadId": "new"})
        stub.add_client_error("upload_part", "InternalError", "we stop here")
        stub.add_client_error("upload_part", "InternalError", "we stop here")
        stub.add_client_error("upload_part", "InternalError", "we stop here")
        with pytest.raises(CloudRefused, match="we stop here"):
            put_file(s3, path, "s3://data/big", resume=True)


def test_what_may_not_be_done_is_named_with_the_permission(s3: Any, tmp_path: Path):
    (tmp_path / "a").write_text("content")
    calls = {
        "put_object": lambda: put_file(s3, tmp_path / "a", "s3://data/x/a"),
        "get_object": lambda: get_file(s3, "s3://data/x/a", tmp_path / "b"),
        "list_objects_v2": lambda: list(listed(s3, "s3://data/x/")),
    }
    told = {}
    for name, call in calls.items():
        with Stubber(s3) as stub:
            stub.add_client_error(name, "AccessDenied", "Access Denied", http_status_code=403)
            with pytest.raises(AccessDenied) as caught:
                call()
        told[name] = str(caught.value)
    assert "s3:PutObject on arn:aws:s3:::data/x/a" in told["put_object"]
    assert "s3:GetObject on arn:aws:s3:::data/x/a" in told["get_object"]
    assert "s3:ListBucket on arn:aws:s3:::data" in told["list_objects_v2"]


def test_a_file_that_cannot_be_read_is_named(s3: Any, tmp_path: Path):
    with pytest.raises(ChannelError, match=r"cannot read .*nothing"):
        put_file(s3, tmp_path / "nothing", "s3://data/a")
