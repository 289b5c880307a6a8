"""The script's arguments and ``SM_*`` variables are the public training toolkit's, value by value.

Both implementations run for real, each in its own process over the same folder tree. What differs
on purpose is not in here: how ``sift_config`` and ``sift_arguments`` are handled.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("sagemaker_training") is None:
    pytest.skip("needs the public toolkit: make test", allow_module_level=True)

ROOT = Path(__file__).parents[2]

HYPERPARAMETERS: dict[str, dict[str, str]] = {
    "none": {},
    "string": {"name": '"resnet"'},
    "spaces": {"title": '"a b  c"'},
    "quotes": {"title": json.dumps('it\'s "quoted" $HOME `id`')},
    "integer": {"epochs": "3"},
    "negative": {"offset": "-1"},
    "float": {"lr": "0.1", "eps": "1e-08", "big": "1e20", "whole": "1.0"},
    "booleans": {"on": "true", "off": "false"},
    "null": {"nothing": "null"},
    "list": {"sizes": "[1, 2, 3]", "names": '["a", "b c"]', "empty": "[]"},
    "dict": {"options": '{"b": true, "a": 1}', "empty": "{}"},
    "nested": {"tree": '{"x": {"y": [1, null]}, "a": [{"z": "w"}]}'},
    "unicode": {"città": json.dumps("Århus 🚂"), "escaped": '"\\u00e9"'},
    "one letter": {"v": "1", "n": '"x"'},
    "dashes": {"batch-size": "32", "-odd": "1", "--odder": "2"},
    "empty string": {"prefix": '""'},
    "empty key": {"": '"value"'},
    "sorted": {"b": "1", "B": "2", "a": "3", "_": "4", "10": "5", "9": "6"},
    "reserved": {
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"s3://bucket/code.tar.gz"',
        "sagemaker_region": '"eu-west-1"',
        "sagemaker_job_name": '"job-1"',
        "sagemaker_container_log_level": "10",
        "sagemaker_s3_output": '"s3://bucket"',
        "sagemaker_enable_cloudwatch_metrics": "false",
        "sagemaker_estimator_class_name": '"PyTorch"',
        "lr": "0.1",
    },
    "torch_distributed": {
        "sagemaker_torch_distributed_enabled": "true",
        "sagemaker_instance_type": '"ml.g5.xlarge"',
        "sagemaker_program": '"src/train.py"',
    },
    "tuning": {"_tuning_objective_metric": '"loss"', "lr": '"0.001"'},
    "not JSON": {"raw": "hello", "half": "{1:", "quote": "'single'", "nan": "NaN", "spaced": " 1 "},
    "not text": {"number": 3, "list": [1], "flag": True},  # type: ignore[dict-item]
    "text of numbers": {"version": '"1.10"', "zip": '"007"'},
}

ONE_HOST: dict[str, Any] = {
    "current_host": "localhost",
    "hosts": ["localhost"],
    "network_interface_name": "eth0",
}
RESOURCES: dict[str, dict[str, Any]] = {
    "bare": {"current_host": "localhost", "hosts": ["localhost"]},
    "service": ONE_HOST
    | {
        "current_instance_type": "ml.m5.large",
        "current_group_name": "homogeneousCluster",
        "instance_groups": [
            {
                "instance_group_name": "homogeneousCluster",
                "instance_type": "ml.m5.large",
                "hosts": ["localhost"],
            }
        ],
    },
    "two groups": {
        "current_host": "algo-2",
        "hosts": ["algo-1", "algo-2", "algo-3"],
        "current_instance_type": "ml.g5.xlarge",
        "current_group_name": "gpu",
        "network_interface_name": "ethwe",
        "topology": [{"host": "algo-1", "capacityUnitId": "1"}],
        "instance_groups": [
            {"instance_group_name": "cpu", "instance_type": "ml.m5.large", "hosts": ["algo-1"]},
            {
                "instance_group_name": "gpu",
                "instance_type": "ml.g5.xlarge",
                "hosts": ["algo-2", "algo-3"],
            },
        ],
    },
}
CHANNELS: dict[str, dict[str, Any]] = {
    "none": {},
    "two": {
        "train": {"TrainingInputMode": "File", "RecordWrapperType": "None"},
        "eval-set": {"TrainingInputMode": "FastFile", "ContentType": "text/csv"},
    },
}
# Every table against one value of the others.
CASES = {
    **{f"hyperparameters: {k}": (v, ONE_HOST, {}) for k, v in HYPERPARAMETERS.items()},
    **{
        f"resources: {k}": ({"sagemaker_torch_distributed_enabled": "true"}, v, {})
        for k, v in RESOURCES.items()
    },
    **{f"channels: {k}": ({"lr": "1"}, ONE_HOST, v) for k, v in CHANNELS.items()},
    "groups named": (
        {"sagemaker_distribution_instance_groups": '["gpu"]'},
        RESOURCES["two groups"],
        CHANNELS["two"],
    ),
}

# Each prints, for every case, [argv, SM_* variables]. They share the reading of the cases.
_OVER_CASES = """
import json, os, sys
results = {}
for name, (hyperparameters, resources, channels) in json.load(open(sys.argv[1])).items():
    for file, content in (
        ("hyperparameters", hyperparameters),
        ("resourceconfig", resources),
        ("inputdataconfig", channels),
    ):
        with open(f"{os.environ['SAGEMAKER_BASE_DIR']}/input/config/{file}.json", "w") as out:
            json.dump(content, out)
    argv, variables = ask()
    results[name] = argv, {k: v for k, v in variables.items() if k.startswith("SM_")}
print(json.dumps(results))
"""
_TOOLKIT = """
from sagemaker_training import environment
def ask():
    env = environment.Environment()
    return env.to_cmd_args(), env.to_env_vars()
"""
_OURS = """
import os
from sift_entrypoint.arguments import arguments
from sift_entrypoint.contract import Tree, read_job
from sift_entrypoint.devices import count
from sift_entrypoint.environment import environment
def ask():
    job = read_job(Tree(os.environ["SAGEMAKER_BASE_DIR"]))
    argv = arguments(job)
    devices = count(job.resources.get("current_instance_type", "local"))
    return argv, environment(job, argv, devices)
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the toolkit and what we give to the script, for every case."""
    base = tmp_path_factory.mktemp("job")
    (base / "input" / "config").mkdir(parents=True)
    cases = base / "cases.json"
    cases.write_text(json.dumps(CASES))
    return (
        json.loads(_python(base, _TOOLKIT + _OVER_CASES, str(cases))),
        json.loads(_python(base, _OURS + _OVER_CASES, str(cases))),
    )


@pytest.mark.parametrize("case", CASES)
def test_arguments_are_the_toolkits(case: str, both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    toolkit, ours = both
    assert ours[case][0] == toolkit[case][0]


@pytest.mark.parametrize("case", CASES)
def test_variables_are_the_toolkits(case: str, both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    toolkit, ours = both
    assert ours[case][1] == toolkit[case][1]


def test_a_script_run_by_either_sees_the_same(tmp_path: Path) -> None:
    seen = {}
    for name, module in (("toolkit", "sagemaker_training.cli.train"), ("ours", _TRAIN)):
        base = tmp_path / "ml"
        _lay_out(base)
        _python(base, None, "-m", module)
        seen[name] = json.loads((base / "model" / "seen.json").read_text())
        base.rename(tmp_path / name)
    # The one variable that the toolkit does not have.
    own = seen["ours"]["variables"].pop("SM_CHECKPOINT_DIR")
    assert own == str(tmp_path / "ml" / "checkpoints")
    assert seen["ours"] == seen["toolkit"]
    assert seen["ours"]["argv"][:3] == ["train.py", "", "value"]
    assert seen["ours"]["variables"]["SM_HP_EPOCHS"] == "3"


_TRAIN = "sift_entrypoint.train"
_SCRIPT = """
import json, os, sys
seen = {
    "argv": sys.argv,
    "cwd": os.getcwd(),
    "variables": {k: v for k, v in os.environ.items() if k.startswith(("SM_", "SAGEMAKER_"))},
    "host": os.environ["CURRENT_HOST"],
}
with open(os.environ["SM_MODEL_DIR"] + "/seen.json", "w") as file:
    json.dump(seen, file)
"""


def _lay_out(base: Path) -> None:
    for folder in ("code", "model", "input/config", "output/data"):
        (base / folder).mkdir(parents=True)
    (base / "code" / "train.py").write_text(_SCRIPT)
    together = {key: value for case in HYPERPARAMETERS.values() for key, value in case.items()}
    for key in ("sagemaker_submit_directory", "sagemaker_s3_output", "not text"):
        together.pop(key, None)
    together.pop("sagemaker_torch_distributed_enabled")
    together["sagemaker_program"] = '"train.py"'
    config = base / "input" / "config"
    (config / "hyperparameters.json").write_text(json.dumps(together))
    (config / "resourceconfig.json").write_text(json.dumps(RESOURCES["service"]))
    (config / "inputdataconfig.json").write_text(json.dumps(CHANNELS["two"]))


def _python(base: Path, code: str | None, *arguments: str) -> str:
    keep = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    done = subprocess.run(
        [sys.executable, *(["-c", code] if code else []), *arguments],
        env=keep
        | {
            "PYTHONPATH": f"{ROOT / 'entrypoints'}",
            "SAGEMAKER_BASE_DIR": str(base),
            "TRAINING_JOB_NAME": "job-1",
            "AWS_DEFAULT_REGION": "us-west-2",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
