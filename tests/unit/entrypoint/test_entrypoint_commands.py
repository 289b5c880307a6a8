"""Every kind of entry point, and every way the code arrives."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from entrypoint_job import ROOT, JobTree, make_wheel

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="needs torch")


@needs_torch
def test_torchrun_starts_as_many_ranks_as_asked_for(job: JobTree) -> None:
    job.script(
        """
        import os, sys
        for step in range(200):
            print("rank", os.environ["RANK"], "of", os.environ["WORLD_SIZE"], "step", step)
        print(sys.argv)
        """
    )
    job.hyperparameters(
        sagemaker_torch_distributed_enabled=True,
        sagemaker_instance_type="ml.m5.large",
        sagemaker_mpi_num_of_processes_per_host=2,
        lr=0.1,
    )
    done = job.run()
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stdout.splitlines())
    assert lines[:2] == ["['train.py', '--lr', '0.1']"] * 2
    assert len(lines) == 402
    assert all(re.fullmatch(r"rank [01] of 2 step \d+", line) for line in lines[2:])


@needs_torch
@pytest.mark.parametrize(
    ("end", "failure"),
    [
        ("raise ValueError('bad shape')", ["ValueError: bad shape", "exit code 1"]),
        ("sys.exit(3)", ["exit code 3"]),
    ],
)
def test_the_rank_that_fails_first_is_the_cause_and_the_exit_code(
    job: JobTree, end: str, failure: list[str]
) -> None:
    job.script(
        f"""
        import os, sys, time
        if os.environ["RANK"] == "1":
            {end}
        time.sleep(600)
        """
    )
    job.hyperparameters(
        sagemaker_torch_distributed_enabled=True, sagemaker_mpi_num_of_processes_per_host=2
    )
    done = job.run()
    assert (job.failure or "").splitlines()[: len(failure)] == failure
    assert done.returncode == int(failure[-1].split()[-1]), done.stderr


def test_a_shell_script_gets_its_arguments_without_a_shell_reading_them(job: JobTree) -> None:
    job.script('printf "%s\\n" "$0" "$@"\nexit 9\n', "run.sh")
    job.hyperparameters("run.sh", name="$(touch hacked); 'x'", v=1)
    done = job.run()
    assert done.returncode == 9
    assert done.stdout == "./run.sh\n--name\n$(touch hacked); 'x'\n-v\n1\n"
    assert not (job.code / "hacked").exists()


def test_a_scripts_interpreter_line_counts_without_execute_permission(job: JobTree) -> None:
    job.script(f"#!{job.python} -B\nimport sys; print(sys.flags.dont_write_bytecode)", "run")
    job.hyperparameters("run")
    assert job.run().stdout == "1\n"


def test_an_interpreter_that_is_not_there_is_named(job: JobTree) -> None:
    job.script("#!/nowhere/bash\n", "run.sh")
    job.hyperparameters("run.sh")
    done = job.run()
    assert done.returncode == 2
    assert done.stderr == "sift: cannot start /nowhere/bash: No such file or directory\n"


def test_requirements_are_installed_first(job: JobTree, tmp_path: Path) -> None:
    make_wheel(job.code / "greeting-1.0-py3-none-any.whl", "greeting", "WORD = 'hello'")
    job.script("./greeting-1.0-py3-none-any.whl", "requirements.txt")
    job.script("import greeting; print(greeting.WORD)")
    done = _run_installing(job, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "hello"


def test_requirements_that_cannot_be_installed_end_the_job(job: JobTree, tmp_path: Path) -> None:
    job.script("./nothing-1.0-py3-none-any.whl", "requirements.txt")
    job.script("print('ran')")
    done = _run_installing(job, tmp_path)
    assert done.returncode == 1
    assert "ran" not in done.stdout
    assert (job.failure or "").startswith(f"pip install -r requirements.txt failed in {job.code}: ")


def test_a_package_is_installed_and_its_module_runs(job: JobTree, tmp_path: Path) -> None:
    # Its build backend comes with it, so that the build needs no other package.
    job.script("", "setup.py")
    job.script(
        """
        [build-system]
        requires = []
        build-backend = "backend"
        backend-path = ["."]
        """,
        "pyproject.toml",
    )
    job.script(
        f"""
        import sys
        sys.path.insert(0, {str(ROOT / "tests")!r})
        from entrypoint_job import make_wheel
        from pathlib import Path
        NAME = "trainer-1.0-py3-none-any.whl"
        def build_wheel(folder, config_settings=None, metadata_directory=None):
            make_wheel(Path(folder) / NAME, "trainer", "WORD = 'installed'")
            return NAME
        """,
        "backend.py",
    )
    job.script("import sys, trainer; print(__spec__.name, trainer.WORD, sys.argv[1:])", "src/go.py")
    job.hyperparameters("src/go.py", lr=1)
    done = _run_installing(job, tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert done.stdout.splitlines()[-1] == "src.go installed ['--lr', '1']"


@pytest.mark.parametrize("address", ["{path}", "file://{path}"])
def test_an_archive_is_unpacked_into_the_code_folder(
    job: JobTree, tmp_path: Path, address: str
) -> None:
    archive = tmp_path / "source dir.tar.gz"
    _archive(archive, {"train.py": "print(__file__)"})
    path = str(archive).replace(" ", "%20") if "file" in address else str(archive)
    job.hyperparameters(sagemaker_submit_directory=address.format(path=path))
    done = job.run()
    assert done.stdout == f"{job.code}/train.py\n", done.stderr


@pytest.mark.parametrize(
    "member", ["../outside.py", "/tmp/absolute.py", "a/../../outside.py", "link -> ../../etc"]
)
def test_an_archive_with_a_member_that_leaves_the_folder_is_refused(
    job: JobTree, tmp_path: Path, member: str
) -> None:
    archive = tmp_path / "code.tar.gz"
    _archive(archive, {"train.py": "print('ran')", member: "x"})
    job.hyperparameters(sagemaker_submit_directory=str(archive))
    done = job.run()
    name = member.partition(" -> ")[0]
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"sift: {archive}: refused member {name!r}: ")
    assert done.stderr.count("\n") == 1
    assert not (job.base / "outside.py").exists()


@pytest.mark.parametrize(
    ("submitted", "message"),
    [
        ("s3://bucket/code.tar.gz", "cannot fetch s3://bucket/code.tar.gz"),
        ("/nowhere/code", "no code: /nowhere/code is not there"),
        ("{base}/input/config/hyperparameters.json", "is not a tar archive"),
    ],
)
def test_code_that_cannot_be_brought_is_named(job: JobTree, submitted: str, message: str) -> None:
    job.hyperparameters(sagemaker_submit_directory=submitted.format(base=job.base))
    done = job.run()
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("hyperparameter", "value", "message"),
    [
        ("sagemaker_mpi_enabled", True, "sagemaker_mpi_enabled is not served here: use"),
        ("sagemaker_pytorch_ddp_enabled", True, '{"torch_distributed": {"enabled": True}}'),
        ("sagemaker_mpi_num_of_processes_per_host", "two", "must be a number, not 'two'"),
    ],
)
def test_a_distribution_that_cannot_be_served_is_named(
    job: JobTree, hyperparameter: str, value: object, message: str
) -> None:
    job.script("pass")
    job.hyperparameters(sagemaker_torch_distributed_enabled=True, **{hyperparameter: value})
    done = job.run()
    assert done.returncode == 2
    assert message in done.stderr


def test_torchrun_takes_no_shell_script(job: JobTree) -> None:
    job.script("true", "run.sh")
    job.hyperparameters("run.sh", sagemaker_torch_distributed_enabled=True)
    done = job.run()
    assert (done.returncode, done.stderr) == (
        2,
        "sift: torchrun runs Python alone, and run.sh is none: name a .py script\n",
    )


RAW = {"zeta": "1", "batch-size": "32", "name": "a b", "on": "true", "o": '{"b": [1, null]}'}


def test_the_model_trainers_dialect_keeps_order_and_json(job: JobTree) -> None:
    job.script(
        """
        import json, os, sys
        names = ["SM_HP_BATCH_SIZE", "SM_HP_ON", "SM_HP_O", "SM_HPS", "SM_CHANNELS", "SM_HOSTS"]
        names += ["SM_HOST_COUNT", "SM_CURRENT_HOST_RANK", "SM_MASTER_ADDR", "SM_MASTER_PORT"]
        names += ["SM_SOURCE_DIR", "SM_ENTRY_SCRIPT", "SM_CHANNEL_CODE", "SM_HP_SIFT_CONFIG"]
        print(json.dumps([sys.argv, os.getcwd(), {name: os.environ[name] for name in names}]))
        """
    )
    job.model_trainer(
        {"source_dir": "src", "entry_script": "train.py"},
        RAW | {"sift_config": '{"keep": 0.5}', "sift_arguments": '["--raw", "x y"]'},
    )
    (job.config / "inputdataconfig.json").write_text('{"train": {}, "code": {}}')
    (job.config / "resourceconfig.json").write_text(
        '{"current_host": "algo-1", "hosts": ["algo-1"], "network_interface_name": "eth0"}'
    )
    done = job.run()
    assert done.returncode == 0, done.stderr
    argv, cwd, variables = json.loads(done.stdout)
    data = job.base / "input" / "data"
    assert cwd == str(data / "code")
    options = ["--zeta", "1", "--batch-size", "32", "--name", "a b", "--on", "true"]
    assert argv == ["train.py", *options, "--o", '{"b": [1, null]}', "--raw", "x y"]
    assert variables == {
        "SM_HP_BATCH_SIZE": "32",
        "SM_HP_ON": "true",
        "SM_HP_O": '{"b": [1, null]}',
        "SM_HPS": '{"zeta": 1, "batch-size": 32, "name": "a b", "on": true, "o": {"b": [1, null]}}',
        "SM_CHANNELS": '["train", "code"]',
        "SM_HOSTS": '["algo-1"]',
        "SM_HOST_COUNT": "1",
        "SM_CURRENT_HOST_RANK": "0",
        "SM_MASTER_ADDR": "algo-1",
        "SM_MASTER_PORT": "7777",
        "SM_SOURCE_DIR": str(data / "code"),
        "SM_ENTRY_SCRIPT": "train.py",
        "SM_CHANNEL_CODE": str(data / "code"),
        "SM_HP_SIFT_CONFIG": '{"keep": 0.5}',
    }


def test_the_model_trainers_own_command_runs_in_the_code_folder(job: JobTree) -> None:
    job.model_trainer({"command": "echo $((1 + 2)) && pwd && exit 6"}, {"lr": "1"})
    done = job.run()
    assert (done.returncode, done.stdout) == (6, f"3\n{job.base}/input/data/code\n")


def test_a_users_home_is_given_where_there_is_none(job: JobTree, tmp_path: Path) -> None:
    job.script("import os; print(os.environ.get('HOME'), os.environ.get('USER'))")
    named = os.environ["HOME"]
    user = os.environ.get("USER")  # this user has an entry: nothing needs to be added
    assert job.run().stdout == f"{named} {user}\n"
    done = job.run(HOME="/nowhere/at/all", TMPDIR=str(tmp_path))
    home = f"{tmp_path}/home-{os.getuid()}"
    assert (done.returncode, done.stdout) == (0, f"{home} {user}\n")
    assert done.stderr == (
        f"sift: HOME is {home}: user {os.getuid()} cannot write in /nowhere/at/all\n"
    )
    assert stat.S_IMODE(Path(home).stat().st_mode) == 0o700


def test_a_home_that_cannot_be_made_is_said_and_the_script_runs(job: JobTree) -> None:
    job.script("print('ran')")
    done = job.run(HOME="/nowhere", TMPDIR="/proc/nowhere")
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert done.stderr == (
        f"sift: no HOME: cannot make /proc/nowhere/home-{os.getuid()}: No such file or directory; "
        "set HOME to a folder that can be\n"
    )


def _run_installing(job: JobTree, tmp_path: Path):
    """Run with pip kept off the network and away from this environment's packages."""
    target = tmp_path / "installed"
    job.packages.append(target)
    return job.run(PIP_TARGET=str(target), PIP_NO_INDEX="1", PIP_CACHE_DIR=str(tmp_path / "cache"))


def _archive(path: Path, members: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in members.items():
            name, _, target = name.partition(" -> ")
            member = tarfile.TarInfo(name)
            if target:
                member.type, member.linkname = tarfile.SYMTYPE, target
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content.encode()))
