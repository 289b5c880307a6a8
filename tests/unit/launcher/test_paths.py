from __future__ import annotations

import os
from pathlib import Path

import pytest

from sift_launcher.paths import file_uri, local_path, state_folder


def test_the_state_folder_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("SIFT_LAUNCHER_HOME", raising=False)
    assert state_folder() == Path("/home/ada/.local/state/sift-launcher")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert state_folder() == Path("/state/sift-launcher")
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", "/own")
    assert state_folder() == Path("/own")


@pytest.mark.parametrize("path", ["/a", "/a b/c%d", "/ü", os.fsdecode(b"/\xff")])
def test_a_path_comes_back_from_its_address(path: str):
    assert file_uri(path).isascii()
    assert local_path(file_uri(path)) == Path(path)


@pytest.mark.parametrize("uri", ["s3://bucket/x", "file://host/x", "/x", ""])
def test_an_address_elsewhere_is_no_path(uri: str):
    assert local_path(uri) is None
