"""A machine without any account, and a small script to train on it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import sift_launcher.estimator.sdk  # noqa: F401 - the SDK, before a test imports it loudly

SCRIPT = """
import json, os, sys
from pathlib import Path
print("arguments", json.dumps(sys.argv[1:]))
if "--fail" in sys.argv:
    sys.exit(3)
train = os.environ.get("SM_CHANNEL_TRAIN")
if train:
    print("data", sorted(path.name for path in Path(train).iterdir()))
Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text("learned")
print("trained", flush=True)
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's, with nothing of AWS's in the environment but a broken profile."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "of-nobody")
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(tmp_path / "home"))
    work = tmp_path / "work"
    (work / "src").mkdir(parents=True)
    (work / "src/train.py").write_text(SCRIPT)
    monkeypatch.chdir(work)
    return work
