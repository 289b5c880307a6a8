"""`sift-launch SCRIPT --instance local`: a user's command, in containers of the real engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_runner import Cli

pytestmark = pytest.mark.docker

LOOPS = Path(__file__).parents[1] / "e2e" / "loops"
Launch = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def local(image: str) -> list[str]:
    return ["--instance", "local", "--image", image]


def result(printed: str) -> dict[str, Any]:
    found = re.search(r"RESULT (.*)", printed)
    assert found, printed
    return json.loads(found[1])


def receipt(cli: Cli, name: str) -> dict[str, Any]:
    return json.loads((cli.results(name) / "receipt.json").read_text())


def test_an_unmodified_loop_is_sifted_as_it_is_in_a_process(
    cli: Cli, local: list[str], left_behind: Callable[[], list[str]]
):
    cli.script((LOOPS / "plain.py").read_text())
    told, receipts, kept = [], [], []
    for name, place in (("process", []), ("container", local)):
        ended = cli("train.py", "--keep", ".5", "--name", name, *place)
        assert ended.returncode == 0, ended.stderr
        told.append(result(ended.stdout))
        receipts.append(receipt(cli, name))
        kept.append(sorted(path.name for path in cli.results(name).iterdir()))
        assert "kept 3000 of 6000 samples (50.0 %)" in ended.stderr.splitlines()[-1]
        assert "6000" in cli("receipt", name).stdout
    assert told[1]["train_samples"] == told[0]["train_samples"] == [1000, 1000, 1000]
    assert receipts[1].keys() == receipts[0].keys()
    for part in ("samples", "steps", "tier", "final", "reason", "quota", "world_size"):
        assert receipts[1].get(part) == receipts[0].get(part), part
    assert kept[1] == kept[0]
    assert left_behind() == []


def test_two_hosts_train_one_sifted_model(
    cli: Cli, local: list[str], left_behind: Callable[[], list[str]]
):
    cli.script((LOOPS / "ddp.py").read_text())
    ended = cli("train.py", "--keep", ".5", "--name", "job", "--count", "2", *local)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[0] == (
        "job job runs in 2 containers on this machine; Ctrl-C stops it"
    )
    told = result(ended.stdout)
    assert (told["world_size"], told["same_weights"]) == (2, True)
    assert told["train_samples_of_ranks"] == [[500, 500, 500], [500, 500, 500]]
    assert "kept 3000 of 6000 samples (50.0 %)" in ended.stderr.splitlines()[-1]
    assert (receipt(cli, "job")["world_size"], receipt(cli, "job")["tier"]) == (2, "memory")
    assert cli("logs", "job").stdout == ended.stdout
    assert left_behind() == []


def test_without_a_distribution_every_host_runs_the_script_by_itself(cli: Cli, local: list[str]):
    cli.script(
        "import os\n"
        "host = os.environ['SM_CURRENT_HOST']\n"
        "print(host, os.environ['SM_HOSTS'], 'RANK' in os.environ)\n"
        "open(os.environ['SM_MODEL_DIR'] + '/' + host, 'w')\n"
    )
    ended = cli(
        "train.py", "--no-sift", "--name", "job", "--count", "2", "--distribution", "none", *local
    )
    assert ended.returncode == 0, ended.stderr
    assert sorted(ended.stdout.splitlines()) == [
        'algo-1 | algo-1 ["algo-1","algo-2"] False',
        'algo-2 | algo-2 ["algo-1","algo-2"] False',
    ]
    with tarfile.open(cli.results("job") / "model.tar.gz") as model:
        assert model.getnames() == ["algo-1"]
    with tarfile.open(cli.results("job") / "algo-2" / "model.tar.gz") as model:
        assert model.getnames() == ["algo-2"]


def test_a_host_that_fails_fails_the_job_by_name(cli: Cli, local: list[str]):
    cli.script("import os, sys\nsys.exit(5 if os.environ['SM_CURRENT_HOST'] == 'algo-2' else 0)\n")
    ended = cli(
        "train.py", "--no-sift", "--name", "job", "--count", "2", "--distribution", "none", *local
    )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("job job failed: algo-2: ")
    assert "exit code 5" in cli.describe("job")["FailureReason"]


def test_a_container_gets_the_share_that_was_asked_for(cli: Cli, local: list[str]):
    cli.script(
        "import os, pathlib, shutil\n"
        "def first(*names):\n"
        "    return next(pathlib.Path(n).read_text() for n in names if os.path.exists(n))\n"
        "group = '/sys/fs/cgroup'\n"
        "print(shutil.disk_usage('/dev/shm').total)\n"
        "print(first(f'{group}/memory.max', f'{group}/memory/memory.limit_in_bytes').strip())\n"
        "quota = first(f'{group}/cpu.max', f'{group}/cpu/cpu.cfs_quota_us').split()[0]\n"
        "print(quota)\n"
    )
    share = ["--shm-size", "96m", "--memory", "700m", "--cpus", "0.5"]
    ended = cli("train.py", "--no-sift", *local, *share)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [str(96 * 1024**2), str(700 * 1024**2), "50000"]


def test_a_dry_run_shows_image_hosts_and_share_and_starts_nothing(
    cli: Cli, local: list[str], image: str, left_behind: Callable[[], list[str]]
):
    cli.script("raise SystemExit('it ran')")
    options = [
        "train.py",
        "--dry-run",
        "--count",
        "2",
        "--memory",
        "2g",
        "--shm-size",
        "1g",
        *local,
    ]
    ended = cli(*options)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    assert f"image     {image}" in lines
    assert (
        "hosts     2, each in a container on this machine with /dev/shm 1.1 GB, memory 2.1 GB"
    ) in lines
    assert "cost      at most $0.00" in lines
    plan = json.loads(cli(*options, "--json").stdout)
    assert plan["request"]["ResourceConfig"]["InstanceCount"] == 2
    assert plan["request"]["AlgorithmSpecification"]["TrainingImage"] == image
    assert plan["share"]["memory_bytes"] == 2 * 1024**3
    assert not cli.state.exists()
    assert left_behind() == []


def test_two_jobs_at_once_go_on_side_by_side(
    cli: Cli, local: list[str], until: Callable[..., Any], left_behind: Callable[[], list[str]]
):
    cli.script(
        "import os, sys, time\n"
        "here = os.path.dirname(os.environ['SM_MODEL_DIR']) + '/checkpoints/go-on'\n"
        "while not os.path.exists(here): time.sleep(.01)\n"
        "open(os.environ['SM_MODEL_DIR'] + '/' + sys.argv[1], 'w')\n"
        "print(sys.argv[1])\n"
    )
    names = ("one", "two")
    for name in names:
        ended = cli("train.py", "--no-wait", "--no-sift", "--name", name, *local, "--", name)
        assert (ended.returncode, ended.stdout) == (0, f"{name}\n"), ended.stderr
    until(lambda: all(cli.describe(name)["SecondaryStatus"] == "Training" for name in names))
    for name in names:
        (cli.results(name).parent / "checkpoints" / "go-on").touch()
    until(lambda: all(cli.describe(name)["TrainingJobStatus"] == "Completed" for name in names))
    for name in names:
        assert cli("logs", name).stdout == f"{name}\n"
        with tarfile.open(cli.results(name) / "model.tar.gz") as model:
            assert model.getnames() == [name]
    assert left_behind() == []


def test_a_second_ctrl_c_kills_a_job_that_does_not_stop(
    cli: Cli,
    local: list[str],
    interrupt: Callable[[subprocess.Popen[str]], None],
    left_behind: Callable[[], list[str]],
):
    cli.script(
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: print('asked', flush=True))\n"
        "open(os.environ['SM_MODEL_DIR'] + '/saved', 'w')\n"
        "print('ready', flush=True)\n"
        "while True: time.sleep(.01)\n"
    )
    process = cli.start("train.py", "--no-sift", "--name", "job", *local)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    interrupt(process)
    assert process.stdout.readline() == "asked\n"
    interrupt(process)
    _, err = process.communicate(timeout=cli.patience_seconds)
    assert process.returncode == 130
    assert err.splitlines()[-1].startswith("job job was stopped; its outputs are in ")
    with tarfile.open(cli.results("job") / "model.tar.gz") as model:
        assert model.getnames() == ["saved"]
    assert left_behind() == []


def test_outputs_belong_to_the_caller(cli: Cli, local: list[str]):
    cli.script(
        "import os\n"
        "open(os.environ['SM_MODEL_DIR'] + '/w', 'w')\n"
        "os.makedirs('runs'); open('runs/1', 'w')\n"
        "print(os.getuid())\n"
    )
    ended = cli("train.py", "--no-sift", "--name", "job", *local)
    assert ended.stdout == f"{os.getuid()}\n"
    for path in [cli.project, *cli.project.rglob("*"), *cli.state.rglob("*")]:
        assert path.lstat().st_uid == os.getuid(), path


def test_gpus_that_are_not_there_are_named_before_anything_starts(cli: Cli, image: str):
    cli.script("")
    ended = cli("train.py", "--instance", "local_gpu", "--image", image)
    assert ended.returncode == 2
    assert ended.stderr.startswith("the Docker engine has no NVIDIA runtime, so no container gets")
    assert "nvidia-container-toolkit" in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert not cli.state.exists()


def test_a_syntax_of_another_python_is_the_containers_to_judge(cli: Cli, local: list[str]):
    cli.script("this is no python\n")
    ended = cli("train.py", "--no-sift", "--name", "job", *local)
    assert ended.returncode == 1
    assert "SyntaxError" in ended.stderr.splitlines()[-1]
