"""`--loss module:Class`: the user's own loss wins, and its mistakes are told in one line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting.discovery import patch
from smart_sifting.discovery.discoverer import Discoverer
from smart_sifting.discovery.user_loss import load_loss
from smart_sifting.errors import LossImplementationNotProvidedException, LossOutputException
from smart_sifting.job_report import JobReport
from smart_sifting.sift_config.job_config import SiftConfig

LOSSES = """
import torch
import torch.nn.functional as F
from smart_sifting.loss.abstract_sift_loss_module import Loss

class Good(Loss):
    def loss(self, model, transformed_batch, original_batch=None):
        x, y = transformed_batch
        return F.cross_entropy(model(x), y, reduction="none")

class Scalar(Loss):
    def loss(self, model, transformed_batch, original_batch=None):
        x, y = transformed_batch
        return F.cross_entropy(model(x), y)

class Short(Loss):
    def loss(self, model, transformed_batch, original_batch=None):
        x, y = transformed_batch
        return F.cross_entropy(model(x), y, reduction="none")[1:]

class NeedsArguments(Loss):
    def __init__(self, temperature):
        self.temperature = temperature

    def loss(self, model, transformed_batch, original_batch=None):
        return None

class NoLoss:
    pass
"""


@pytest.fixture(autouse=True)
def losses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "my_losses.py").write_text(LOSSES)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_losses", None)


@pytest.fixture
def fit() -> Iterator[Callable[[str], tuple[JobReport, int]]]:
    """Trains once over 640 samples with a loss that no tape can follow; samples that were seen."""
    undo: list[Callable[[], Any]] = []

    def start(loss: str) -> tuple[JobReport, int]:
        report = JobReport(None, 0.5)

        def make(plain_length: Callable[[Any], int]) -> Discoverer:
            made = Discoverer(SiftConfig(keep=0.5, loss=loss), report, plain_length)
            undo.append(made.close)
            return made

        undo.append(patch(make))
        torch.manual_seed(0)
        x = torch.randn(640, 4)
        model = nn.Linear(4, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        seen = 0
        for inputs, labels in DataLoader(
            TensorDataset(x, x[:, :3].argmax(1)), batch_size=16, shuffle=True
        ):
            seen += len(inputs)
            optimizer.zero_grad()
            penalty = sum(p.abs().sum() for p in model.parameters())
            (F.cross_entropy(model(inputs), labels) + penalty).backward()
            optimizer.step()
        return report, seen

    yield start
    for each in reversed(undo):
        each()


def test_the_users_loss_sifts_where_the_scripts_own_cannot_be_taken_apart(
    fit: Callable[[str], tuple[JobReport, int]],
) -> None:
    report, seen = fit("my_losses:Good")

    assert (report.tier, report.reason) == ("forward", "scored by my_losses:Good")
    assert seen == 320


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "my_losses:Scalar",
            "Scalar.loss() returned a tensor of shape () for 16 samples: return shape (16,), "
            "for instance with reduction='none'",
        ),
        (
            "my_losses:Short",
            "Short.loss() returned a tensor of shape (15,) for 16 samples: return shape (16,), "
            "for instance with reduction='none'",
        ),
    ],
)
def test_a_loss_of_another_shape_stops_the_job_with_its_mend(
    name: str, message: str, fit: Callable[[str], tuple[JobReport, int]]
) -> None:
    with pytest.raises(LossOutputException) as error:
        fit(name)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "no_such_module:Good",
            "--loss no_such_module:Good: module no_such_module cannot be imported "
            "(No module named 'no_such_module'); put it beside the script",
        ),
        (
            "my_losses:Missing",
            "--loss my_losses:Missing: module my_losses has no Missing; name a class of it",
        ),
        (
            "my_losses:NoLoss",
            "--loss my_losses:NoLoss: NoLoss is not a Loss; derive it from "
            "smart_sifting.loss.abstract_sift_loss_module.Loss",
        ),
    ],
)
def test_a_loss_that_is_none_stops_the_job_with_its_mend(
    name: str, message: str, fit: Callable[[str], tuple[JobReport, int]]
) -> None:
    with pytest.raises(LossImplementationNotProvidedException) as error:
        fit(name)
    assert str(error.value) == message


def test_a_loss_that_cannot_be_made_without_arguments_is_told() -> None:
    with pytest.raises(LossImplementationNotProvidedException, match="without arguments"):
        load_loss("my_losses:NeedsArguments")


def test_a_loss_in_the_running_script_is_found_without_running_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import my_losses  # type: ignore[import-not-found]

    script = type(sys)("__main__")
    script.__file__ = str(tmp_path / "train.py")
    script.Good = my_losses.Good  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "__main__", script)

    assert isinstance(load_loss("train:Good"), my_losses.Good)
    assert "train" not in sys.modules
