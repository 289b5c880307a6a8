"""The examples run as they are, by hand and as sifted jobs."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[2] / "examples"
DIGITS = EXAMPLES / "digits/train.py"
FASHION = EXAMPLES / "fashion_mnist/train.py"
FETCH = EXAMPLES / "fashion_mnist/fetch.py"


def run(*command: object, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SM_")}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        env=clean | {"OMP_NUM_THREADS": "1"} | env,
        capture_output=True,
        text=True,
    )


def test_digits_trains_by_hand_and_leaves_its_model(tmp_path):
    result = run(DIGITS, "--epochs", 2, SM_MODEL_DIR=str(tmp_path / "model"))
    assert result.returncode == 0, result.stderr
    assert "trained on 2874 samples in 46 steps" in result.stdout
    assert float(re.findall(r"^test accuracy: (.*)", result.stdout, re.M)[0]) > 0.9
    assert (tmp_path / "model/model.pt").exists()


def test_digits_with_a_seed_is_the_same_run_again():
    first, again, other = (run(DIGITS, "--epochs", 1, "--seed", seed).stdout for seed in (5, 5, 6))
    epoch_line = re.compile(r"^epoch .*", re.M)
    assert epoch_line.findall(first) == epoch_line.findall(again)
    assert epoch_line.findall(first) != epoch_line.findall(other)


def test_digits_reads_a_channel_too(tmp_path):
    rng = np.random.default_rng(0)
    table = np.column_stack([rng.integers(0, 17, (100, 64)), np.arange(100) % 10])
    np.savetxt(tmp_path / "digits.csv", table, delimiter=",", fmt="%d")
    result = run(DIGITS, "--epochs", 1, SM_CHANNEL_TRAIN=str(tmp_path))
    assert "trained on 80 samples in 2 steps" in result.stdout, result.stderr


def test_fashion_mnist_trains_on_a_channel_plain_or_gzipped(pictures):
    options = ("--epochs", 2, "--limit", 1050, "--lr", "0.1", "--threads", 1)
    plain = run(FASHION, *options, SM_CHANNEL_TRAIN=str(pictures))
    assert plain.returncode == 0, plain.stderr
    assert "trained on 2000 samples in 20 steps" in plain.stdout

    for path in list(pictures.iterdir()):
        Path(f"{path}.gz").write_bytes(gzip.compress(path.read_bytes(), 1))
        path.unlink()
    gzipped = run(FASHION, *options, "--data-dir", pictures)
    accuracy = re.compile(r"accuracy.*")
    assert accuracy.findall(gzipped.stdout) == accuracy.findall(plain.stdout)


# Runs a script that is killed once it has said that its second epoch is over.
KILLED = """
import builtins, os, runpy, signal, sys
def say(line, *, print=print):
    print(line, flush=True)
    if line.startswith("epoch 2/4"):
        os.kill(os.getpid(), signal.SIGKILL)
builtins.print = say
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_fashion_mnist_ends_with_the_same_model_when_it_was_killed_on_the_way(pictures, tmp_path):
    options = ["--epochs", 4, "--limit", 400, "--threads", 1, "--data-dir", pictures]

    def command(name: str) -> list[str]:
        folders = ["--model-dir", tmp_path / name, "--checkpoint-dir", tmp_path / f"{name}-kept"]
        return [str(each) for each in (FASHION, *options, *folders)]

    whole = run(*command("whole"))
    assert whole.returncode == 0, whole.stderr
    killed = run("-c", KILLED, *command("killed"))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    resumed = run(*command("killed"))
    assert resumed.stdout.startswith("going on after epoch 2/4\n"), resumed.stderr
    ends = [done.stdout.splitlines()[-2:] for done in (whole, resumed)]
    assert ends[0] == ends[1]
    models = [(tmp_path / name / "model.pt").read_bytes() for name in ("whole", "killed")]
    assert models[0] == models[1]


def test_fashion_mnist_without_data_says_what_to_give():
    result = run(FASHION)
    assert result.returncode == 2
    assert result.stderr.endswith("no data: give --data-dir, or a channel named train\n")


def test_fetching_does_not_take_other_files_for_the_genuine_ones(pictures, tmp_path):
    # Without apt-get on the path it can only refuse.
    result = run(FETCH, "--folder", pictures, PATH=str(tmp_path))
    assert result.returncode == 1
    assert result.stderr.startswith("Fashion-MNIST is not there: no apt-get here")


def sift(tmp_path: Path, *arguments: object) -> tuple[dict, str]:
    """Run a sifted job; its receipt and its log."""
    home = {"SIFT_LAUNCHER_HOME": str(tmp_path / "home")}
    job = ["-m", "sift_launcher", "--name", "job", "--output", tmp_path / "output"]
    result = run(*job, *arguments, **home)
    assert result.returncode == 0, result.stdout + result.stderr
    receipt = run("-m", "sift_launcher", "receipt", "job", "--json", **home).stdout
    return json.loads(receipt), run("-m", "sift_launcher", "logs", "job", **home).stdout


def test_digits_sifts(tmp_path):
    receipt, log = sift(tmp_path, "--keep", 0.5, DIGITS, "--", "--epochs", 5)
    assert receipt["tier"] == "memory"
    assert receipt["final"] is True
    # 1,437 samples an epoch, of which 719 are kept, in batches of 64.
    assert receipt["samples"]["seen"] == 7185
    assert receipt["samples"]["kept"] == 3595
    assert receipt["samples"]["dropped"] == 3590
    assert receipt["steps"] == 60
    assert [each["label"] for each in receipt["classes"]] == list(range(10))
    assert "trained on 3595 samples in 60 steps" in log


def test_fashion_mnist_sifts_with_a_schedule_that_ends(tmp_path, pictures):
    options = ("--keep", 0.5, "--data", f"train={pictures}")
    receipt, log = sift(tmp_path, *options, FASHION, "--", "--epochs", 4, "--threads", 1)
    assert receipt["tier"] == "memory"
    assert "trained on 2400 samples in 24 steps" in log
    # From its peak of 0.2, over the steps that came; over the unsifted 48 it would still be 0.2.
    assert float(re.findall(r"learning rate at the end: (.*)", log)[0]) < 0.005
