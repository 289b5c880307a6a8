"""Our image does what it is told: train, or any other command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from container_run import LOOP, NOBODY, lay_out, on, run_container

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker
CONFIG = json.dumps({"keep": 0.5})


@pytest.mark.parametrize("command", [None, ["train"]])
def test_train_or_nothing_runs_the_job(
    engine: DockerClient, image: str, tmp_path: Path, command: list[str] | None
) -> None:
    tree = lay_out(tmp_path / "ml")
    tree.script("print('trained')")
    done = run_container(engine, image, command=command, **on(tree))
    assert (done.code, done.out, done.err) == (0, "trained\n", "")
    assert tree.succeeded


def test_train_where_there_is_no_job_is_one_line(engine: DockerClient, image: str) -> None:
    done = run_container(engine, image, command=["train"])
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("sift: no /opt/ml/input/config/hyperparameters.json: ")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "unknown"])
def test_a_command_runs_as_typed_with_its_own_exit_code(
    engine: DockerClient, image: str, user: int
) -> None:
    words = ["bash", "-c", 'echo "$0|$1|$$|$(id -u)"; touch ~/x; exit 9', "a b", "$(y)"]
    done = run_container(engine, image, command=words, user=str(user))
    assert (done.code, done.out, done.err) == (9, f"a b|$(y)|1|{user}\n", "")


def test_a_script_run_by_hand_is_sifted_when_it_is_told_to(
    engine: DockerClient, image: str, tmp_path: Path
) -> None:
    tree = lay_out(tmp_path / "ml")
    tree.script(LOOP)
    words = ["python", "/opt/ml/code/train.py", "--epochs", "4", "--sift_config", CONFIG]
    done = run_container(engine, image, command=words, **on(tree))
    assert (done.code, done.out) == (0, "['/opt/ml/code/train.py', '--epochs', '4']\n"), done.err
    assert "sift: tier memory" in done.err


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [("nowhere", 127, "there is no such command"), ("/etc/passwd", 126, "Permission denied")],
)
def test_a_command_that_cannot_run_is_one_line(
    engine: DockerClient, image: str, name: str, code: int, why: str
) -> None:
    done = run_container(engine, image, command=[name])
    assert (done.code, done.out) == (code, "")
    assert done.err == f"sift: cannot run {name!r}: {why}; name train, or a command of this image\n"
