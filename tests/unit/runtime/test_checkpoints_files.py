"""What happens to a script's own checkpoint files: nothing that it could notice."""

from __future__ import annotations

import inspect
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from smart_sifting import checkpoints
from smart_sifting.checkpoints import fingerprint
from smart_sifting.checkpoints.hooks import patch
from smart_sifting.checkpoints.keeper import Keeper
from smart_sifting.checkpoints.states import States
from smart_sifting.checkpoints.whole_file import sweep
from smart_sifting.job_report import JobReport

PLAIN_SAVE, PLAIN_LOAD = torch.save, torch.load
STATE = {"weights": torch.arange(1000.0), "epoch": 3}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "checkpoints"
    path.mkdir()
    return path


@pytest.fixture
def keeper(folder: Path, tmp_path: Path) -> Iterator[Keeper]:
    clock = count().__next__
    report = JobReport(tmp_path / "output", 0.5, clock=lambda: clock() / 1000)
    report.meter.batches_given = 1
    patched = patch(folder, lambda save, load: Keeper(folder, report, None, save, load))
    yield patched.keeper()
    patched.undo()
    assert (torch.save, torch.load) == (PLAIN_SAVE, PLAIN_LOAD)
    assert torch.serialization.save is PLAIN_SAVE


def states(folder: Path) -> list[Path]:
    return sorted((folder / ".sift").glob("*.pt"))


def plain_bytes(folder: Path, name: str, **options: Any) -> bytes:
    folder.mkdir(parents=True, exist_ok=True)
    PLAIN_SAVE(STATE, folder / name, **options)
    return (folder / name).read_bytes()


@pytest.mark.parametrize("name", ["last.pt", "no_suffix", "a.b.pt", "größe.pt", "ünder/last.pt"])
@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_the_files_bytes_are_torchs_own(name, options, keeper, folder, tmp_path):
    expected = plain_bytes((tmp_path / "plain" / name).parent, Path(name).name, **options)
    (folder / name).parent.mkdir(exist_ok=True)
    for _ in range(2):  # a new file, and in the place of an old one
        torch.save(STATE, folder / name, **options)
        assert (folder / name).read_bytes() == expected
    assert [each.name for each in folder.rglob("part-*")] == []
    assert len(states(folder)) == 1


def test_whichever_way_a_file_is_named_its_state_is_kept(keeper, folder, monkeypatch):
    monkeypatch.chdir(folder)
    torch.save({"n": 1}, "relative.pt")
    torch.save(obj={"n": 2}, f=folder / "keyword.pt")
    torch.save({"n": 3}, str(folder / "text.pt"), pickle, 2)
    with (folder / "file.pt").open("wb") as file:
        torch.save({"n": 4}, file)
    names = {path.stem.rpartition("-")[0] for path in states(folder)}
    files = [path for path in folder.iterdir() if path.is_file()]
    assert names == {fingerprint.of_file(path) for path in files}
    assert len(names) == 4
    assert [torch.load(folder / f"{name}.pt")["n"] for name in ("keyword", "text")] == [2, 3]


def test_a_file_elsewhere_is_none_of_our_business(keeper, folder, tmp_path):
    torch.save(STATE, tmp_path / "model.pt")
    with (tmp_path / "file.pt").open("wb") as file:
        torch.save(STATE, file)
    assert list(folder.iterdir()) == []


def test_a_buffer_counts_once_the_folder_is_used(keeper, folder):
    buffer, second = io.BytesIO(), io.BytesIO()
    keeper._report.meter.started -= 1000  # a hundredth of the time may go into buffers
    torch.save(STATE, buffer)
    assert list(folder.iterdir()) == []
    (folder / "last.ckpt").write_bytes(buffer.getvalue())
    torch.save([STATE], second)
    names = {path.stem.rpartition("-")[0] for path in states(folder)}
    assert names == {fingerprint.of_bytes(each.getvalue()) for each in (buffer, second)}
    assert fingerprint.of_file(folder / "last.ckpt") in names


def test_a_script_that_saves_buffers_all_the_time_is_not_slowed_down(keeper, folder):
    (folder / "used").touch()
    for n in range(100):
        torch.save({"n": n}, io.BytesIO())
    assert 1 <= len(states(folder)) <= 3


def test_permissions_are_those_there_would_have_been(keeper, folder):
    torch.save(STATE, folder / "new.pt")
    (folder / "plain").touch()
    assert (folder / "new.pt").stat().st_mode == (folder / "plain").stat().st_mode
    (folder / "new.pt").chmod(0o640)
    torch.save(STATE, folder / "new.pt")
    assert (folder / "new.pt").stat().st_mode & 0o777 == 0o640


def test_links_are_written_through(keeper, folder, tmp_path):
    real = tmp_path / "real.pt"
    real.touch()
    (folder / "symbolic.pt").symlink_to(real)
    torch.save(STATE, folder / "symbolic.pt")
    assert (folder / "symbolic.pt").is_symlink()
    assert torch.load(real)["epoch"] == 3
    real.write_bytes(b"")
    (folder / "hard.pt").hardlink_to(real)
    torch.save(STATE, folder / "hard.pt")
    assert torch.load(real)["epoch"] == 3


def test_a_save_that_fails_raises_torchs_error_and_leaves_the_old_file(keeper, folder):
    torch.save(STATE, folder / "last.pt")
    before = (folder / "last.pt").read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        torch.save({"bad": lambda: None}, folder / "last.pt")
    assert (folder / "last.pt").read_bytes() == before
    assert [each.name for each in (folder / ".sift").iterdir() if "part" in each.name] == []


@pytest.mark.parametrize("name", ["missing/last.pt", "taken"])
def test_a_place_that_cannot_be_written_gives_torchs_own_error(name, keeper, folder):
    (folder / "taken").mkdir()
    with pytest.raises(RuntimeError) as plain:
        PLAIN_SAVE(STATE, folder / name)
    with pytest.raises(RuntimeError) as ours:
        torch.save(STATE, folder / name)
    assert str(ours.value).splitlines()[0] == str(plain.value).splitlines()[0]


def test_the_script_saves_whatever_becomes_of_us(keeper, folder):
    (folder / ".sift").write_text("in the way")
    torch.save(STATE, folder / "last.pt")
    assert torch.load(folder / "last.pt")["epoch"] == 3
    assert [note[:30] for note in keeper._report.notes] == ["the sifting state is not kept:"]


def test_a_keeper_that_cannot_be_made_stops_nothing(folder):
    def fail(*_: Any) -> Keeper:
        raise RuntimeError("no")

    patched = patch(folder, fail)
    try:
        torch.save(STATE, folder / "last.pt")
        assert torch.load(folder / "last.pt")["epoch"] == 3
    finally:
        patched.undo()


def test_torchs_functions_look_as_they_did(keeper):
    assert inspect.signature(torch.save) == inspect.signature(PLAIN_SAVE)
    assert torch.save.__name__ == "save"
    assert pickle.loads(pickle.dumps(torch.load)) is torch.load


def test_what_a_child_saves_has_no_state(keeper, folder):
    child = os.fork()
    if child == 0:
        try:
            torch.save(STATE, folder / "child.pt")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert [each.name for each in folder.iterdir()] == ["child.pt"]


class Saving(Dataset):
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        torch.save(STATE, self.folder / "worker.pt")
        return index


def test_what_a_data_worker_saves_has_no_state(keeper, folder):
    list(DataLoader(Saving(folder), num_workers=1))
    assert [each.name for each in folder.iterdir()] == ["worker.pt"]


def test_nothing_is_installed_without_a_checkpoint_folder(monkeypatch):
    monkeypatch.delenv("SM_CHECKPOINT_DIR", raising=False)
    checkpoints.install(lambda: pytest.fail("not asked for"), None)
    assert torch.save is PLAIN_SAVE


def test_the_newest_entry_of_the_folder_is_never_ours(keeper, folder):
    torch.save(STATE, folder / "last.pt")
    assert max(folder.iterdir(), key=lambda path: path.stat().st_mtime).name == "last.pt"


# -- fingerprints and states -----------------------------------------------------------------------


def test_a_fingerprint_is_of_the_content_alone(tmp_path):
    PLAIN_SAVE(STATE, tmp_path / "one.pt")
    content = (tmp_path / "one.pt").read_bytes()
    (tmp_path / "renamed").write_bytes(content)
    name = fingerprint.of_file(tmp_path / "one.pt")
    assert name == fingerprint.of_file(tmp_path / "renamed") == fingerprint.of_bytes(content)
    assert fingerprint.size_of(f"{name}-0.pt") == len(content)


def test_a_single_weight_changes_the_fingerprint_of_a_file_longer_than_what_is_read(tmp_path):
    weights = torch.zeros(fingerprint.TAIL_BYTES)  # four megabytes
    names = []
    for weight in (0.0, 1.0):
        weights[0] = weight
        PLAIN_SAVE(weights, tmp_path / "last.pt")
        names.append(fingerprint.of_file(tmp_path / "last.pt"))
    assert names[0] != names[1]
    assert fingerprint.size_of(names[0]) == fingerprint.size_of(names[1]) > 4_000_000


def test_the_newest_states_of_each_rank_are_kept(tmp_path):
    kept = States(tmp_path, PLAIN_SAVE, PLAIN_LOAD, kept=3)
    kept.keep("first", 1, {"n": 0})
    for n in range(5):
        kept.keep(f"state{n}", 0, {"n": n})
        os.utime(tmp_path / f"state{n}-0.pt", (n, n))
    names = {path.stem for path in tmp_path.iterdir()}
    assert names == {"first-1", "state2-0", "state3-0", "state4-0"}


def test_a_state_that_cannot_be_read_is_none(tmp_path):
    kept = States(tmp_path, PLAIN_SAVE, PLAIN_LOAD)
    assert kept.find("name", 0) is None
    (tmp_path / "name-0.pt").write_bytes(b"torn")
    PLAIN_SAVE({"code": Saving(tmp_path)}, tmp_path / "name-1.pt")
    PLAIN_SAVE([], tmp_path / "name-2.pt")
    assert [kept.find("name", rank) for rank in range(3)] == [None] * 3
    kept.keep("name", 3, {"n": 3})
    assert kept.of_any_rank("name") == {"n": 3}


# -- a process that is killed ----------------------------------------------------------------------

KILLED = """
import os, signal, sys
import torch
from pathlib import Path
from smart_sifting import checkpoints, job_report

report = job_report.start(None, 0.5, "quota")
report.meter.batches_given = 1
checkpoints.install(lambda: report, None)

class Killer:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)

path = Path(os.environ["SM_CHECKPOINT_DIR"]) / "last.pt"
torch.save({"epoch": 1, "weights": torch.ones(100_000)}, path)
torch.save({"epoch": 2, "weights": torch.ones(100_000), "killer": Killer()}, path)
"""


def test_a_process_killed_while_it_saves_leaves_the_last_whole_checkpoint(folder, keeper):
    root = Path(checkpoints.__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED],
        env={"PYTHONPATH": str(root), "SM_CHECKPOINT_DIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    assert torch.load(folder / "last.pt")["epoch"] == 1
    (torn,) = (folder / ".sift").glob("part-*/last.pt")
    with pytest.raises(Exception, match=r".*"):
        PLAIN_LOAD(torn)
    sweep(folder / ".sift")
    assert not torn.exists()
