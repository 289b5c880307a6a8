"""Who gets what of a sharded channel."""

from __future__ import annotations

from pathlib import Path

from sift_launcher.local.shards import files_below, link_files, share_of


def test_shares_are_disjoint_and_together_they_are_all():
    names = ["a", "b", "c", "d", "e"]
    assert [share_of(names, host, 3) for host in range(3)] == [["a", "d"], ["b", "e"], ["c"]]
    assert share_of(["a"], 1, 2) == []


def test_files_come_in_the_order_of_their_keys(tmp_path: Path):
    for name in ("b/2", "b/10", "B", "a.csv", "a/x"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert files_below(tmp_path) == ["B", "a.csv", "a/x", "b/10", "b/2"]


def test_a_share_takes_no_room_on_the_disk_of_the_data(tmp_path: Path):
    (tmp_path / "data" / "x").mkdir(parents=True)
    (tmp_path / "data" / "x" / "1").write_text("one")
    (tmp_path / "link").symlink_to(tmp_path / "data")
    link_files(tmp_path / "link", ["x/1"], tmp_path / "share")
    made = tmp_path / "share" / "x" / "1"
    assert made.samefile(tmp_path / "data" / "x" / "1")
    assert not made.is_symlink()


def test_a_share_from_another_disk_is_copied(tmp_path: Path, monkeypatch):
    def no_links(source, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", no_links)
    (tmp_path / "1").write_text("one")
    link_files(tmp_path, ["1"], tmp_path / "share")
    assert (tmp_path / "share" / "1").read_text() == "one"
    assert not (tmp_path / "share" / "1").samefile(tmp_path / "1")
