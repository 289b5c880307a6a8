"""The suite from its command line to its page: a tiny workload, two arms, real jobs."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.sifting.__main__ import main
from benchmarks.sifting.workloads import WORKLOADS

TINY = {"width": 4, "depths": (1, 1), "stem-stride": 2, "epochs": 2, "batch-size": 50}


@pytest.fixture
def pictures(tmp_path):
    """Ten classes of noise: class k has k bright rows."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for split, count in (("train", 1000), ("test", 200)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 60, (count, 14, 14, 1)).astype(np.uint8)
        images[np.arange(14)[None, :] < labels[:, None]] += 150
        np.save(folder / f"{split}_images.npy", images)
        np.save(folder / f"{split}_labels.npy", labels)
    return folder


def test_a_workload_is_measured_written_down_and_remembered(
    tmp_path, monkeypatch, pictures, capsys
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setitem(WORKLOADS, "fashion", replace(WORKLOADS["fashion"], cpu=TINY))
    results = tmp_path / "results"
    command = ["fashion", "--arms", "full,memory-0.5", "--seeds", "3", "--jobs", "2"]
    where = ["--data", f"fashion-mnist={pictures}", "--results", str(results)]
    assert main(command + where) == 0
    assert "2/2" in capsys.readouterr().out

    result = json.loads((results / "fashion.json").read_text())
    assert result["data"] == {"name": "fashion-mnist", "genuine": False}
    full, ours = result["arms"]
    assert (full["arm"], full["samples"], full["forward_equivalents"]) == ("full", 2000, 6000)
    assert (ours["arm"], ours["samples"], ours["loaded"]) == ("memory-0.5", 1000, 1000)
    # Three for each sample that was trained on; discovery ran a few batches more.
    assert 3000 <= ours["forward_equivalents"] <= 3300
    assert ours["tiers"] == ["memory"]
    (run,) = result["runs"]["memory-0.5"]
    assert run["command"].startswith("sift-launch --sift-config")
    assert str(tmp_path / "cache") not in run["command"]

    page = (results / "README.md").read_text()
    assert "| ours, memory, keep 0.5 |" in page
    assert "**Not the genuine data.**" in page
    assert "make bench-sifting ARGS='fashion --arms full,memory-0.5 --seeds 3'" in page
    assert (results / "fashion.svg").read_text().startswith("<svg")

    assert main(command + where) == 0
    assert "2/2" not in capsys.readouterr().out
    assert main(["claims", "--results", str(results)]) == 0
    assert "| Fashion-MNIST, small ResNet | " in capsys.readouterr().out
