"""The estimator in a rehearsal: as in SageMaker, and its jobs really run."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from rehearsed_aws import BUCKET, ROLE, Rehearsed

from sift_launcher.estimator.pytorch import SiftPyTorch

EXAMPLE = Path(__file__).parents[3] / "examples/estimator.py"

# Counts to five, and never twice to the same number; at three it waits for its interruption.
SCRIPT = """
import os, time
from pathlib import Path
saved = Path(os.environ["SM_CHECKPOINT_DIR"], "count")
count = start = int(saved.read_text()) if saved.exists() else 0
print("from", count, flush=True)
while count < 5:
    count += 1
    saved.write_text(str(count))
    print(f"step {count}/5", flush=True)
    while count == 3 and start == 0: time.sleep(.01)
Path(os.environ["SM_MODEL_DIR"], "count").write_text(str(count))
"""


@pytest.fixture
def here(rehearsed: Rehearsed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rehearsed:
    """This process is led to the rehearsal, as a notebook is by its environment."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in rehearsed.endpoint.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(rehearsed.state))
    monkeypatch.chdir(tmp_path)
    return rehearsed


def test_a_spot_job_of_the_estimator_is_interrupted_and_goes_on(here, capfd):
    Path("train.py").write_text(SCRIPT)
    estimator = SiftPyTorch(
        "train.py",
        sift_config=None,
        instance_type="ml.m5.xlarge",
        instance_count=1,
        role=ROLE,
        use_spot_instances=True,
        max_run=600,
        max_wait=1200,
        checkpoint_s3_uri=f"s3://{BUCKET}/estimator-spot/checkpoints",
    )
    how = {"at": ["60%"], "runs": "process", "python": sys.executable}
    here.endpoint.stage("estimator-spot", **how)
    estimator.fit(job_name="estimator-spot")
    told = capfd.readouterr().out.splitlines()
    assert [line for line in told if line.startswith(("from", "step"))] == [
        *("from 0", "step 1/5", "step 2/5", "step 3/5"),
        *("from 3", "step 4/5", "step 5/5"),
    ]
    states = [
        each["Status"] for each in here.describe("estimator-spot")["SecondaryStatusTransitions"]
    ]
    assert states.count("Interrupted") == 1
    assert estimator.model_data == f"s3://{BUCKET}/estimator-spot/output/model.tar.gz"
    model = here("s3").get_object(Bucket=BUCKET, Key="estimator-spot/output/model.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(model["Body"].read())) as archive:
        assert archive.extractfile("count").read() == b"5"
    assert SiftPyTorch.attach("estimator-spot").sift_config is None


def test_the_example_runs_there_as_anywhere(here):
    done = subprocess.run(
        [sys.executable, EXAMPLE, "ml.m5.xlarge", "--epochs", "1"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^test accuracy: 0\.\d", done.stdout, re.M)
    assert re.search(r"^sift: receipt: kept \d+ of \d+ samples", done.stdout, re.M)
    (name,) = re.findall(r"^started (digits-\S+)$", done.stdout, re.M)
    assert f"model: s3://{BUCKET}/{name}/output/model.tar.gz\n" in done.stdout
    assert "sifted by SiftConfig(keep=0.5," in done.stdout
