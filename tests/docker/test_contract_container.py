"""Our image keeps the container contract, as process 1 and as any user."""

from __future__ import annotations

import io
import json
import signal
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aws_stand_in import StandInAws
from container_run import LOOP, NOBODY, ended, lay_out, on, run_container, started
from entrypoint_job import ROOT, JobTree, make_wheel

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker
USERS = pytest.mark.parametrize("user", [0, NOBODY], ids=["root", "unknown"])


@pytest.fixture
def tree(tmp_path: Path) -> JobTree:
    return lay_out(tmp_path / "ml")


@USERS
def test_a_script_trains_and_ends(
    engine: DockerClient, image: str, tree: JobTree, user: int
) -> None:
    tree.script(
        """
        import getpass, os, sys, tempfile
        home = os.path.expanduser("~")
        open(home + "/cache", "w").close()
        open(os.environ["SM_MODEL_DIR"] + "/model", "w").close()
        print(sys.argv, os.getcwd(), getpass.getuser(), home)
        """
    )
    tree.hyperparameters(lr=0.1)
    done = run_container(engine, image, **on(tree, user))
    who = "root /root" if user == 0 else "user54321 /tmp/home-54321"
    assert done.out == f"['train.py', '--lr', '0.1'] /opt/ml/code {who}\n", done.err
    assert (done.code, done.err) == (0, "")
    assert tree.succeeded
    assert (tree.base / "model" / "model").stat().st_uid == user


@USERS
@pytest.mark.parametrize(
    ("end", "code", "failure"),
    [
        ("sys.exit(3)", 3, "exit code 3"),
        ("os.kill(os.getpid(), 11)", 139, "killed by signal 11\nexit code 139"),
        (
            "os.kill(os.getpid(), 9)",
            137,
            "killed by SIGKILL (signal 9) from outside: memory had not run out\nexit code 137",
        ),
    ],
)
def test_the_exit_code_is_the_scripts(
    engine: DockerClient, image: str, tree: JobTree, user: int, end: str, code: int, failure: str
) -> None:
    tree.script(f"import os, sys; {end}")
    assert run_container(engine, image, **on(tree, user)).code == code
    assert tree.failure == failure


def test_a_failure_is_at_most_1024_characters_and_begins_with_its_cause(
    engine: DockerClient, image: str, tree: JobTree
) -> None:
    tree.script(
        "def f(n): return f(n - 1) if n else [][0]\nraise ValueError('é' * 900 + str(f(50)))"
    )
    assert run_container(engine, image, **on(tree)).code == 1
    assert len(tree.failure or "") <= 1024
    assert (tree.failure or "").startswith("IndexError: list index out of range\nexit code 1\n")


@USERS
def test_a_script_that_exceeds_its_memory_is_named_with_the_limit(
    engine: DockerClient, image: str, tree: JobTree, user: int
) -> None:
    tree.script("print('begun', flush=True); x = b'x' * (1 << 30); print('survived')")
    limits = {"mem_limit": "64m", "memswap_limit": "64m"}
    done = run_container(engine, image, **on(tree, user), **limits)
    assert (done.code, done.out) == (137, "begun\n")
    assert tree.failure == (
        "OutOfMemory: killed by SIGKILL (signal 9) as memory ran out (limit 64 MiB)\nexit code 137"
    )


def test_a_child_of_the_script_that_exceeds_its_memory_is_named(
    engine: DockerClient, image: str, tree: JobTree
) -> None:
    tree.script(
        """
        import subprocess, sys
        subprocess.run([sys.executable, "-c", "x = b'x' * (1 << 30)"], check=True)
        """
    )
    limits = {"mem_limit": "64m", "memswap_limit": "64m"}
    assert run_container(engine, image, **on(tree), **limits).code == 1
    assert (tree.failure or "").startswith(
        "OutOfMemory: a process of the job was killed as memory ran out (limit 64 MiB)\n"
        "exit code 1\n"
    )


@USERS
def test_a_stop_reaches_the_script(
    engine: DockerClient,
    image: str,
    tree: JobTree,
    user: int,
    until: Callable[[Callable[[], Any]], Any],
) -> None:
    tree.script(
        """
        import signal, sys, time
        def stop(number, frame):
            print("saved a checkpoint")
            sys.exit(7)
        signal.signal(signal.SIGTERM, stop)
        open("/opt/ml/output/ready", "w").close()
        while True:
            time.sleep(0.01)
        """
    )
    with started(engine, image, **on(tree, user)) as container:
        until((tree.output / "ready").exists)
        container.kill(signal.SIGTERM)
        done = ended(container)
    assert (done.code, done.out, done.err) == (7, "saved a checkpoint\n", "")
    assert tree.failure == "exit code 7"


def test_orphans_of_the_script_are_reaped(engine: DockerClient, image: str, tree: JobTree) -> None:
    tree.script(
        """
        import os, subprocess
        for _ in range(20):
            subprocess.run(["sh", "-c", "sleep 0.01 &"])  # whose parent goes first
        read, write = os.pipe()
        while "sleep" in (found := subprocess.run(
            ["sh", "-c", "cat /proc/[0-9]*/stat"], capture_output=True, text=True
        ).stdout):
            pass
        print([line for line in found.splitlines() if ") Z" in line])
        """
    )
    done = run_container(engine, image, **on(tree))
    assert (done.code, done.out) == (0, "[]\n")


def test_of_two_hundred_thousand_lines_none_is_lost_or_cut(
    engine: DockerClient, image: str, tree: JobTree
) -> None:
    tree.script(
        """
        import sys
        for step in range(200_000):
            print("step", step, "loss:", 0.125)
            if step % 100 == 0:
                print("warning at", step, file=sys.stderr)
        """
    )
    done = run_container(engine, image, **on(tree))
    assert done.code == 0
    assert done.out == "".join(f"step {n} loss: 0.125\n" for n in range(200_000))
    assert done.err == "".join(f"warning at {n}\n" for n in range(0, 200_000, 100))


@USERS
def test_requirements_are_installed_and_what_the_image_has_counts(
    engine: DockerClient, image: str, tree: JobTree, user: int
) -> None:
    make_wheel(tree.code / "greeting-1.0-py3-none-any.whl", "greeting", "WORD = 'hello'")
    tree.script("./greeting-1.0-py3-none-any.whl\ntorch\nnumpy>=1\n", "requirements.txt")
    tree.script(
        """
        import subprocess, sys
        import greeting, numpy, torch
        print(greeting.WORD)
        print(torch.__file__)
        subprocess.run(["python3", "-c", "import greeting; print('and in a child')"], check=True)
        """
    )
    done = run_container(
        engine, image, environment={"PIP_NO_INDEX": "1"}, network_mode="none", **on(tree, user)
    )
    assert done.code == 0, done.err + done.out
    lines = done.out.splitlines()
    assert lines[-3:] == [
        "hello",
        next(line for line in lines if line.endswith("torch/__init__.py")),
        "and in a child",
    ]
    assert "/tmp/packages-" not in lines[-2]
    told = [line for line in done.err.splitlines() if line.startswith("sift: ")]
    if user == 0:
        assert told == []
    else:
        assert len(told) == 1
        assert told[0].startswith("sift: packages go to /tmp/packages-")


def test_a_package_of_the_image_is_replaced_for_an_unknown_user(
    engine: DockerClient, image: str, tree: JobTree
) -> None:
    make_wheel(tree.code / "numpy-99.0-py3-none-any.whl", "numpy", "MINE = True", "99.0")
    tree.script("./numpy-99.0-py3-none-any.whl", "requirements.txt")
    tree.script("import numpy; print(numpy.MINE)")
    done = run_container(
        engine, image, environment={"PIP_NO_INDEX": "1"}, network_mode="none", **on(tree, NOBODY)
    )
    assert done.code == 0, done.err + done.out
    assert done.out.splitlines()[-1] == "True"


def test_requirements_are_installed_where_the_distribution_forbids_pip(
    engine: DockerClient, base_image: str, wheelhouse: Path, tree: JobTree
) -> None:
    make_wheel(tree.code / "greeting-1.0-py3-none-any.whl", "greeting", "WORD = 'hello'")
    tree.script("./greeting-1.0-py3-none-any.whl", "requirements.txt")
    tree.script("import greeting; print(greeting.WORD)")
    options = on(tree)
    (pip,) = wheelhouse.glob("pip-*.whl")  # the base has none; a wheel of it can be imported from
    options["volumes"] |= {
        str(ROOT / "entrypoints"): {"bind": "/runtime", "mode": "ro"},
        str(pip): {"bind": f"/{pip.name}", "mode": "ro"},
    }
    done = run_container(
        engine,
        base_image,
        entrypoint=["python3", "-m", "sift_entrypoint"],
        environment={"PYTHONPATH": f"/runtime:/{pip.name}", "PIP_NO_INDEX": "1"},
        network_mode="none",
        **options,
    )
    assert done.code == 0, done.err + done.out
    assert done.out.splitlines()[-1] == "hello"
    assert "those of /usr/bin/python3 are not to be changed" in done.err


def test_a_home_that_is_another_users_is_not_taken(
    engine: DockerClient, image: str, tree: JobTree, tmp_path: Path
) -> None:
    (tmp_path / "tmp" / f"home-{NOBODY}").mkdir(parents=True)
    (tmp_path / "tmp" / f"home-{NOBODY}").chmod(0o777)
    tree.script("import os; print(os.environ['HOME'])")
    options = on(tree, NOBODY)
    options["volumes"][str(tmp_path / "tmp")] = {"bind": "/tmp"}
    done = run_container(engine, image, **options)
    assert (done.code, done.out) == (0, "/\n")
    assert done.err == (
        "sift: no HOME: /tmp/home-54321 is another user's; set HOME to a folder of your own\n"
    )


def test_a_package_is_installed_for_an_unknown_user_and_its_module_runs(
    engine: DockerClient, image: str, tree: JobTree
) -> None:
    # Its build backend comes with it, so that the build needs no network.
    tree.script("", "setup.py")
    tree.script(
        """
        [build-system]
        requires = []
        build-backend = "backend"
        backend-path = ["."]
        """,
        "pyproject.toml",
    )
    make_wheel(tree.code / "trainer-1.0-py3-none-any.whl", "trainer", "WORD = 'installed'")
    tree.script(
        """
        import shutil
        NAME = "trainer-1.0-py3-none-any.whl"
        def build_wheel(folder, config_settings=None, metadata_directory=None):
            return shutil.copy(NAME, folder) and NAME
        """,
        "backend.py",
    )
    tree.script("import trainer; print(__spec__.name, trainer.WORD)", "src/go.py")
    tree.hyperparameters("src/go.py")
    done = run_container(engine, image, network_mode="none", **on(tree, NOBODY))
    assert done.code == 0, done.err + done.out
    assert done.out.splitlines()[-1] == "src.go installed"


@USERS
def test_torchrun_starts_two_ranks(
    engine: DockerClient, image: str, tree: JobTree, user: int
) -> None:
    tree.script(
        """
        import torch, torch.distributed as dist
        dist.init_process_group("gloo")
        total = torch.ones(1)
        dist.all_reduce(total)
        print("rank", dist.get_rank(), "of", int(total))
        dist.destroy_process_group()
        """
    )
    tree.hyperparameters(
        sagemaker_torch_distributed_enabled=True, sagemaker_mpi_num_of_processes_per_host=2
    )
    done = run_container(engine, image, **on(tree, user))
    assert done.code == 0, done.err
    assert sorted(done.out.splitlines()) == ["rank 0 of 2", "rank 1 of 2"]


def test_sifting_is_on_in_a_job_that_asks_for_it_and_leaves_its_receipt(
    engine: DockerClient, image: str, tree: JobTree
) -> None:
    tree.script(LOOP)
    tree.hyperparameters(epochs=4, sift_config=json.dumps({"keep": 0.5}))
    done = run_container(engine, image, **on(tree, NOBODY))
    assert (done.code, done.out) == (0, "['train.py', '--epochs', '4']\n"), done.err
    assert "sift: receipt: kept 512 of 1024 samples (50.0 %) in 32 steps" in done.err
    assert (tree.output / "data" / "receipt.json").stat().st_uid == NOBODY


def test_a_script_may_ask_by_the_public_toolkits_name(
    engine: DockerClient, image: str, tree: JobTree
) -> None:
    tree.script(
        """
        from sagemaker_training import environment
        env = environment.Environment()
        print(env.model_dir, env.hyperparameters, env.current_host, env.to_cmd_args())
        """
    )
    tree.hyperparameters(lr=0.1)
    done = run_container(engine, image, **on(tree, NOBODY))
    assert (done.code, done.err) == (0, "")
    assert done.out == "/opt/ml/model {'lr': 0.1} algo-1 ['--lr', '0.1']\n"


def test_a_tree_that_cannot_be_written_is_named_before_anything_starts(
    engine: DockerClient, image: str, tree: JobTree
) -> None:
    tree.script("print('ran')")
    options = on(tree, 0) | {"user": f"{NOBODY}:{NOBODY}"}
    done = run_container(engine, image, **options)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "sift: cannot write in /opt/ml/model; give it to user 54321, or run as its owner\n"
        "sift: cannot write /opt/ml/output/failure: Permission denied\n"
    )


def test_a_read_only_container_with_a_job_that_is_not_trains(
    engine: DockerClient, image: str, tree: JobTree
) -> None:
    tree.script("print('ran')")
    done = run_container(engine, image, read_only=True, **on(tree, NOBODY))
    assert (done.code, done.out) == (0, "ran\n")
    assert done.err == (
        "sift: no HOME: cannot make /tmp/home-54321: Read-only file system; "
        "set HOME to a folder that can be\n"
    )


def test_code_in_s3_is_fetched_with_what_the_image_has(
    engine: DockerClient, image: str, tree: JobTree, aws: StandInAws
) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        member = tarfile.TarInfo("train.py")
        member.size = 13
        archive.addfile(member, io.BytesIO(b"print('ran')\n"))
    aws.client("s3").create_bucket(Bucket="code")
    aws.client("s3").put_object(Bucket="code", Key="code.tar.gz", Body=content.getvalue())
    tree.hyperparameters(sagemaker_submit_directory="s3://code/code.tar.gz")
    done = run_container(
        engine, image, environment=aws.environment, network_mode="host", **on(tree)
    )
    assert (done.code, done.out, done.err) == (0, "ran\n", "")


def test_code_in_s3_that_cannot_be_had_is_said_in_one_line(
    engine: DockerClient, image: str, tree: JobTree
) -> None:
    tree.hyperparameters(sagemaker_submit_directory="s3://bucket/code.tar.gz")
    done = run_container(engine, image, **on(tree))
    assert done.code == 2
    assert done.err == (
        "sift: cannot fetch s3://bucket/code.tar.gz: no region is set; set AWS_REGION\n"
    )
