from __future__ import annotations

import stat
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest

from sift_launcher.errors import ExtraMissing, RehearsalError
from sift_launcher.rehearsal import requirements, start
from sift_launcher.rehearsal.endpoint import Endpoint, in_the_way
from sift_launcher.rehearsal.files import RehearsalFiles
from sift_launcher.rehearsal.start import running, stop_server

ENDPOINT = Endpoint("http://127.0.0.1:9", {"AWS_ACCESS_KEY_ID": "ASIAKEY"})


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RehearsalFiles:
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(tmp_path / "home"))
    files = RehearsalFiles()
    files.make()
    return files


def test_the_folder_with_the_key_is_its_owners_alone(files):
    assert stat.S_IMODE(files.folder.stat().st_mode) == 0o700


def test_what_a_server_wrote_is_read(files):
    assert files.read() is None
    files.write(ENDPOINT, 7, "bucket")
    assert files.read() == (ENDPOINT, 7)
    assert "DefaultS3Bucket: bucket\n" in files.sdk_config.read_text()


def test_one_server_at_a_time_serves_the_folder(files):
    assert not files.is_served()
    with files.served():
        assert files.is_served()
        with pytest.raises(RehearsalError, match="served already"), RehearsalFiles().served():
            pass
        files.write(ENDPOINT, 7, "bucket")
    assert not files.is_served()
    assert files.read() is None


@pytest.mark.parametrize("left", ["", "{", "{}", '{"pid": 1, "endpoint": {"other": 2}}'])
def test_what_cannot_be_read_is_no_server(files, left: str):
    (files.folder / "server.json").write_text(left)
    assert files.read() is None


def test_a_server_that_left_its_address_and_died_is_none(files):
    files.write(ENDPOINT, 7, "bucket")
    assert running() is None
    assert stop_server() is False


def test_a_server_that_is_about_to_end_is_waited_for(files, monkeypatch):
    started: list[bool] = []

    def begin(files: RehearsalFiles, runs: str) -> Endpoint:
        started.append(files.is_served())
        return ENDPOINT

    monkeypatch.setattr(start, "_start", begin)
    held = ExitStack()
    held.enter_context(files.served())
    ends = threading.Timer(0.2, held.close)
    ends.start()
    assert start.ensure_server() is ENDPOINT
    assert started == [False]
    ends.join()


def test_a_server_that_never_answers_is_not_waited_for_forever(files, monkeypatch):
    monkeypatch.setattr(start, "_STOP_SECONDS", 0.1)
    with files.served(), pytest.raises(RehearsalError, match="does not answer"):
        start.ensure_server()


def test_a_rehearsal_without_moto_says_what_to_install(monkeypatch):
    monkeypatch.setattr(requirements, "find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match=r"pip install 'sift-launcher\[rehearsal\]'"):
        requirements.require_moto()


def test_variables_that_lead_elsewhere_are_found():
    variables = {"AWS_PROFILE": "p", "AWS_ENDPOINT_URL_S3": "u", "AWS_CA_BUNDLE": "c", "HOME": "h"}
    assert in_the_way(variables) == ["AWS_PROFILE", "AWS_ENDPOINT_URL_S3"]
