"""A script that asks ``sagemaker_training.environment`` about its job hears the same from ours.

One program runs with the real toolkit and, in another process, with our package of that name.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_toolkit_parity import CASES, ROOT

PROGRAM = """
import json, os, sys
from sagemaker_training import environment
import sagemaker_training.environment as same
assert same is environment
constants = "base_dir code_dir model_dir input_dir input_config_dir output_dir output_data_dir"
results = {}
for name, files in json.load(open(sys.argv[1])).items():
    for file, content in zip(("hyperparameters", "resourceconfig", "inputdataconfig"), files):
        with open(f"{environment.input_config_dir}/{file}.json", "w") as out:
            json.dump(content, out)
    env = environment.Environment()
    assert all(getattr(env, key) == env[key] == value for key, value in env.items())
    assert hasattr(env, "model_dir") and not hasattr(env, "model-dir") and not hasattr(env, "_no")
    results[name] = {
        "everything": dict(env),
        "order": list(env),
        "length": len(env),
        "text": str(env),
        "arguments": env.to_cmd_args(),
        "variables": env.to_env_vars(),
        "s3": env.sagemaker_s3_output(),
        "hyperparameters": environment.read_hyperparameters(),
        "resources": environment.read_resource_config(),
        "channels": environment.read_input_data_config(),
        "channel": environment.channel_path("train"),
        "devices": [environment.num_gpus(), environment.num_cpus(), environment.num_neurons("x")],
        "constants": [getattr(environment, name) for name in constants.split()],
        "intermediate": environment.output_intermediate_dir,
        "given": dict(environment.Environment(
            {"current_host": "a", "hosts": ["a", "b"]}, {"mine": {}}, {"lr": 1, "sagemaker_x": 2}
        )),
    }
print(json.dumps(results))
"""
COMPAT = ROOT / "container" / "compat"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    base = tmp_path_factory.mktemp("job")
    (base / "input" / "config").mkdir(parents=True)
    (base / "cases.json").write_text(json.dumps(CASES))
    return _ask(base, []), _ask(base, [COMPAT, ROOT / "entrypoints"])


def _ask(base: Path, path: list[Path]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(base / "cases.json")],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": ":".join(map(str, path)),
            "SAGEMAKER_BASE_DIR": str(base),
            "TRAINING_JOB_NAME": "job-1",
            "AWS_DEFAULT_REGION": "us-west-2",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("case", CASES)
def test_a_script_hears_the_same(case: str, told: tuple[dict[str, Any], dict[str, Any]]) -> None:
    toolkit, ours = told
    assert ours[case] == toolkit[case]


def test_what_sifts_the_job_is_no_hyperparameter(tmp_path: Path) -> None:
    base = tmp_path / "ml"
    (base / "input" / "config").mkdir(parents=True)
    raw = {"lr": "0.1", "sift_config": '{"keep": 0.5}', "sift_arguments": '["--x", "1"]'}
    (base / "cases.json").write_text(
        json.dumps({"sifted": (raw, {"current_host": "a", "hosts": ["a"]}, {})})
    )
    answer = _ask(base, [COMPAT, ROOT / "entrypoints"])["sifted"]
    assert answer["everything"]["hyperparameters"] == {"lr": 0.1}
    assert answer["hyperparameters"] == {"lr": 0.1}
    assert answer["arguments"] == ["--lr", "0.1", "--x", "1"]
