"""Jobs that bypass the image's ENTRYPOINT, as the model trainer starts them.

What the trainer sends as the channel ``sm_drivers`` is stood in for by scripts that do what the
public ones do: write the job's variables to a file, source it, and run a driver that starts the
script with the hyperparameters as arguments.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from container_run import LOOP, NOBODY, Ended, lay_out, on, run_container

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker
USERS = pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "unknown"])

TRAIN = """#!/bin/bash
set -e
handle_error() {
    EXIT_STATUS=$?
    echo "An error occurred with exit code $EXIT_STATUS"
    [ -s /opt/ml/output/failure ] || echo "Training Execution failed." > /opt/ml/output/failure
    exit $EXIT_STATUS
}
trap 'handle_error' ERR
python3 /opt/ml/input/data/sm_drivers/scripts/environment.py
source /opt/ml/input/sm_training.env
cd /opt/ml/input/data/code
python3 /opt/ml/input/data/sm_drivers/distributed_drivers/driver.py
"""
ENVIRONMENT = """
import json, shlex
hyperparameters = json.load(open("/opt/ml/input/config/hyperparameters.json"))
values = {"SM_MODEL_DIR": "/opt/ml/model", "SM_OUTPUT_DATA_DIR": "/opt/ml/output/data"}
values["SM_HPS"] = json.dumps(hyperparameters)
values["SM_TRAINING_ENV"] = json.dumps({"hyperparameters": hyperparameters})
for name, value in hyperparameters.items():
    values["SM_HP_" + name.upper().replace("-", "_")] = value
with open("/opt/ml/input/sm_training.env", "w") as file:
    for name, value in values.items():
        file.write(f"export {name}={shlex.quote(value)}\\n")
"""
DRIVER = """
import json, os, subprocess, sys
source = json.load(open("/opt/ml/input/data/sm_drivers/sourcecode.json"))
command = LAUNCHER + [source["entry_script"]]
for name, value in json.loads(os.environ["SM_HPS"]).items():
    command += ["--" + name, value]
with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
    for line in process.stdout:
        sys.stdout.buffer.write(line)
sys.exit(process.returncode)
"""
PYTHON = 'LAUNCHER = ["python3"]'
TORCHRUN = 'LAUNCHER = ["torchrun", "--standalone", "--nproc_per_node", "2"]'


class TrainerJob:
    """A job's tree in the model trainer's dialect."""

    def __init__(self, base: Path) -> None:
        self.tree = lay_out(base)
        self.drivers = base / "input" / "data" / "sm_drivers"

    def lay_out(self, script: str, launcher: str = PYTHON, **hyperparameters: str) -> None:
        self.tree.script(script)
        self.tree.model_trainer({"entry_script": "train.py"}, hyperparameters)
        for folder in ("scripts", "distributed_drivers"):
            (self.drivers / folder).mkdir()
        (self.drivers / "sm_train.sh").write_text(TRAIN)
        (self.drivers / "scripts" / "environment.py").write_text(ENVIRONMENT)
        (self.drivers / "distributed_drivers" / "driver.py").write_text(f"{launcher}\n{DRIVER}")

    def run(self, engine: DockerClient, image: str, user: int = 0) -> Ended:
        script = "/opt/ml/input/data/sm_drivers/sm_train.sh"
        start = ["-c", f"chmod +x {script} && {script}"]
        options = on(self.tree, user)
        return run_container(engine, image, entrypoint="/bin/bash", command=start, **options)


@pytest.fixture
def job(tmp_path: Path) -> TrainerJob:
    return TrainerJob(tmp_path / "ml")


CONFIG = json.dumps({"keep": 0.5})


@USERS
def test_sifting_is_on_and_the_script_sees_nothing_of_it(
    engine: DockerClient, image: str, job: TrainerJob, user: int
) -> None:
    job.lay_out(LOOP, epochs="4", sift_config=CONFIG)
    done = job.run(engine, image, user)
    assert done.code == 0, done.out + done.err
    lines = done.out.splitlines()
    assert lines[0] == "['train.py', '--epochs', '4']"
    receipts = [line for line in lines if line.startswith("sift: receipt: ")]
    assert len(receipts) == 1
    assert receipts[0].startswith("sift: receipt: kept 512 of 1024 samples (50.0 %) in 32 steps")
    assert (job.tree.output / "data" / "receipt.json").stat().st_uid == user


def test_a_job_without_a_sift_config_is_untouched(
    engine: DockerClient, image: str, job: TrainerJob
) -> None:
    job.lay_out(LOOP, epochs="4")
    done = job.run(engine, image)
    assert (done.code, done.out, done.err) == (0, "['train.py', '--epochs', '4']\n", "")


def test_ranks_of_torchrun_are_sifted_and_their_launcher_is_not(
    engine: DockerClient, image: str, job: TrainerJob
) -> None:
    ranks = LOOP.replace(
        "torch.manual_seed(0)",
        "torch.distributed.init_process_group('gloo'); torch.manual_seed(0)",
    ).replace("shuffle=True", "sampler=torch.utils.data.DistributedSampler(data)")
    ranks += "\ntorch.distributed.destroy_process_group()\n"
    job.lay_out(ranks, TORCHRUN, epochs="4", sift_config=CONFIG)
    done = job.run(engine, image)
    assert done.code == 0, done.out + done.err
    lines = done.out.splitlines()
    assert lines.count("['train.py', '--epochs', '4']") == 2
    assert sum("sift: receipt: " in line for line in lines) == 1


@pytest.mark.parametrize(
    ("end", "code"), [("sys.exit(3)", 3), ("raise ValueError('bad shape')", 1)]
)
def test_the_exit_code_is_the_scripts(
    engine: DockerClient, image: str, job: TrainerJob, end: str, code: int
) -> None:
    job.lay_out(f"import sys; {end}", sift_config=CONFIG)
    assert job.run(engine, image).code == code
    assert job.tree.failure == "Training Execution failed.\n"


def test_a_trainers_job_also_runs_through_the_images_own_entrypoint(
    engine: DockerClient, image: str, job: TrainerJob
) -> None:
    job.lay_out(LOOP, epochs="4", sift_config=CONFIG)
    done = run_container(engine, image, command=["train"], **on(job.tree))
    assert (done.code, done.out) == (0, "['train.py', '--epochs', '4']\n"), done.err
    assert "sift: receipt: kept 512 of 1024 samples (50.0 %) in 32 steps" in done.err
