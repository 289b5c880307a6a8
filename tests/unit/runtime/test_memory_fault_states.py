"""A state that is damaged, or of something else: sifting begins anew, and training goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from interrupted_jobs import BATCH, Indexed, process
from script_loops import net
from torch.utils.data import DataLoader

from smart_sifting.checkpoints.hooks import OURS
from smart_sifting.job_report import JobReport

State = dict[str, Any]


def train(folder: Path, samples: int = 400) -> list[int]:
    """Two epochs of a script that goes on from its last checkpoint; the samples of each."""
    checkpoint = folder / "checkpoints" / "last.pt"
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    if checkpoint.exists():
        model.load_state_dict(torch.load(checkpoint))
    loader = DataLoader(Indexed(samples), batch_size=BATCH, shuffle=True)
    sizes = []
    for _ in range(2):
        sizes.append(0)
        for x, y, _ in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            sizes[-1] += len(x)
        torch.save(model.state_dict(), checkpoint)
    return sizes


def interrupted(folder: Path, **config: Any) -> list[Path]:
    """The files of state that a job has left behind."""
    with process(folder, source="memory", **config) as report:
        assert train(folder) == [200, 200]
        assert report.tier == "memory"
    return sorted((folder / "checkpoints" / OURS).glob("*.pt"))


def resumed(folder: Path, samples: int = 400, **config: Any) -> tuple[JobReport, list[int]]:
    with process(folder, source="memory", **config) as report:
        return report, train(folder, samples)


def test_a_state_that_is_whole_is_used(tmp_path: Path) -> None:
    interrupted(tmp_path)
    report, sizes = resumed(tmp_path)

    assert (sizes, report.tier, report.meter.epochs) == ([200, 200], "memory", 4)
    assert ([each.step for each in report.resumed], report.notes) == ([40], [])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: b"something else",
        lambda content: content[:400] + bytes(400) + content[800:],
    ],
    ids=["cut off", "empty", "foreign", "zeros within"],
)
def test_a_file_that_cannot_be_read(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    for file in interrupted(tmp_path):
        file.write_bytes(damage(file.read_bytes()))
    report, sizes = resumed(tmp_path)

    assert (sizes, report.tier, report.meter.epochs) == ([200, 200], "memory", 2)
    assert report.notes == ["last.pt has no sifting state with it: sifting starts anew"]


def other_length(state: State) -> None:
    memory = state["sifters"][0]["state"]["memory"]
    memory["score"] = memory["score"][:300]


def other_version(state: State) -> None:
    del state["sifters"][0]["state"]["trained"]


def other_losses(state: State) -> None:
    state["sifters"][0]["state"]["losses"]["terms"][0]["kind"] = "unheard of"


def no_counts(state: State) -> None:
    del state["report"]["meter"]


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (other_length, "sifting state: score is torch.float16 of shape (300,)"),
        (other_version, "'trained'"),
        (other_losses, "'unheard of'"),
        (no_counts, "'meter'"),
    ],
)
def test_a_state_whose_content_is_another(
    spoil: Callable[[State], None], why: str, tmp_path: Path
) -> None:
    for file in interrupted(tmp_path):
        state = torch.load(file)
        spoil(state)
        torch.save(state, file)
    report, sizes = resumed(tmp_path)

    assert (sizes, report.tier) == ([200, 200], "memory")
    (note,) = report.notes
    assert note.startswith(f"the sifting state is not used: {why}")


@pytest.mark.parametrize(
    ("config", "note"),
    [
        ({"seed": 1}, "the job is sifted in another way now"),
        ({"keep": 0.5, "sift_delay": 3}, "the job is sifted in another way now"),
    ],
)
def test_the_state_of_another_configuration(
    config: dict[str, Any], note: str, tmp_path: Path
) -> None:
    interrupted(tmp_path)
    report, sizes = resumed(tmp_path, **config)

    assert (sizes[1], report.tier, report.meter.epochs) == (200, "memory", 2)
    assert report.notes == [f"the sifting state with last.pt is not used: {note}"]


def test_the_state_of_another_data_sets_length_serves_for_the_counts_alone(tmp_path: Path) -> None:
    interrupted(tmp_path)
    report, sizes = resumed(tmp_path, samples=600)

    assert (sizes, report.tier, report.meter.epochs) == ([300, 300], "memory", 4)
    assert report.meter.kept == 1000


def test_the_state_of_another_way_of_sifting_serves_for_the_counts_alone(tmp_path: Path) -> None:
    for file in interrupted(tmp_path):
        state = torch.load(file)
        state["sifters"][0]["kind"] = "window"
        torch.save(state, file)
    report, sizes = resumed(tmp_path)

    assert (sizes, report.tier, report.meter.epochs) == ([200, 200], "memory", 4)
