"""The Lightning callback, in the real Trainer."""

from __future__ import annotations

import logging
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from smart_sifting.dataloader.sift_dataloader import SiftingDataloader
from smart_sifting.loss import Loss
from smart_sifting.sift_config import SiftConfig

lightning = pytest.importorskip("lightning.pytorch")
ROOT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    # Lightning asks torch's pytree in a way that torch has deprecated.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
]


class Classifier(lightning.LightningModule):  # type: ignore[misc,name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def training_step(self, batch: Any, _: int) -> Any:
        inputs, labels = batch
        return cross_entropy(self.layer(inputs), labels)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class ClassLoss(Loss):
    def loss(self, model: Any, transformed_batch: Any, original_batch: Any = None) -> Any:
        inputs, labels = original_batch
        return cross_entropy(model.layer(inputs), labels, reduction="none")


def plain_loader() -> DataLoader[Any]:
    torch.manual_seed(0)
    return DataLoader(TensorDataset(torch.randn(100, 4), torch.arange(100) % 2), batch_size=10)


def trained(folder: Path, loaders: Any, model: Any, steps_between_logs: int = 4) -> Any:
    from smart_sifting.metrics.lightning import TrainingMetricsRecorder

    recorder = TrainingMetricsRecorder()
    lightning.Trainer(
        max_epochs=2,
        accelerator="cpu",
        callbacks=[recorder],
        log_every_n_steps=steps_between_logs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=str(folder),
    ).fit(model, loaders)
    return recorder


def test_samples_steps_and_seconds_are_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="smart_sifting")
    model = Classifier()
    loader = SiftingDataloader(SiftConfig(keep=0.5), plain_loader(), ClassLoss(), model)
    ticks = count()
    loader.sifter.meter.clock = lambda: next(ticks) / 1e6  # in no time, however busy the machine is
    recorder = trained(tmp_path, loader, model)
    assert (recorder.steps, recorder.samples_seen, recorder.samples_kept) == (10, 200, 100)
    assert recorder.step_seconds > 0
    lines = [each.message for each in caplog.records if "num_orig_samples_seen: " in each.message]
    # Every fourth step and at the end of each epoch of five.
    assert len(lines) == 4
    assert lines[-1].startswith(
        "sift: num_orig_samples_seen: 200, num_orig_samples_kept: 100, "
        "sifted_batch_creation_latency: 0."
    )


@pytest.mark.parametrize("form", ["list", "dict"])
def test_sifting_loaders_are_found_among_several(tmp_path: Path, form: str) -> None:
    class Both(Classifier):
        def training_step(self, batch: Any, index: int) -> Any:
            first, second = batch.values() if isinstance(batch, dict) else batch
            return super().training_step(first, index) + super().training_step(second, index)

    model = Both()
    sifting = SiftingDataloader(SiftConfig(keep=0.5), plain_loader(), ClassLoss(), model)
    loaders = [sifting, plain_loader()]
    recorder = trained(
        tmp_path, loaders if form == "list" else dict(zip("ab", loaders, strict=True)), model
    )
    assert recorder.samples_kept > 0


def test_a_plain_loader_has_steps_alone(tmp_path: Path) -> None:
    recorder = trained(tmp_path, plain_loader(), Classifier())
    assert (recorder.steps, recorder.samples_seen, recorder.samples_kept) == (20, 0, 0)


def test_seconds_are_those_of_the_steps() -> None:
    from smart_sifting.metrics.lightning import TrainingMetricsRecorder

    class Nothing:
        log_every_n_steps = 0

    ticks = iter([1.0, 1.5, 7.0, 7.25])
    recorder = TrainingMetricsRecorder(clock=lambda: next(ticks))
    for _ in range(2):
        recorder.on_train_batch_start(Nothing(), None, None, 0)
        recorder.on_train_batch_end(Nothing(), None, None, None, 0)
    assert (recorder.steps, recorder.step_seconds) == (2, 0.75)


def test_without_lightning_the_import_says_what_to_install() -> None:
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if 'lightning' in name else find(name, *a)\n"
        "import smart_sifting.metrics\n"
        "try:\n    import smart_sifting.metrics.lightning\n"
        "except ImportError as missing:\n    print(missing)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "container")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert out == (
        "smart_sifting.metrics.lightning needs Lightning, which is not installed; "
        "write: pip install lightning\n"
    )
