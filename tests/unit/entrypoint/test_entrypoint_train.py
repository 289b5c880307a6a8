"""A job from its tree to its exit code: what the script gets, and what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from entrypoint_job import JobTree


def test_a_script_runs_in_its_folder_with_its_arguments(job: JobTree) -> None:
    job.script("import os, sys; print(sys.argv, os.getcwd(), flush=True)")
    job.hyperparameters(lr=0.1, epochs=3)
    done = job.run()
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"['train.py', '--epochs', '3', '--lr', '0.1'] {job.code}\n"
    assert done.stderr == ""
    assert job.succeeded
    assert job.failure is None


def test_a_submitted_folder_is_used_in_place(job: JobTree, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.py").write_text("print(__file__)")
    job.hyperparameters(sagemaker_submit_directory=str(tmp_path / "mine"))
    assert job.run().stdout == f"{tmp_path}/mine/train.py\n"
    assert list(job.code.iterdir()) == []


def test_modules_beside_the_code_folders_root_import_from_a_script_below_it(job: JobTree) -> None:
    job.script("VALUE = 7", "shared.py")
    job.script("import shared; print(shared.VALUE)", "src/train.py")
    job.hyperparameters("src/train.py")
    assert job.run().stdout == "7\n"


def test_the_sift_configuration_is_a_variable_and_nothing_else(job: JobTree) -> None:
    job.script(
        """
        import json, os, sys
        print(json.dumps([sys.argv, os.environ["SM_HP_SIFT_CONFIG"]]))
        print(sorted(key for key, value in os.environ.items() if "keep" in value or "_SIFT" in key))
        """
    )
    job.hyperparameters(sift_config=json.dumps({"keep": 0.5}), lr=0.1)
    done = job.run()
    argv, config = json.loads(done.stdout.splitlines()[0])
    assert argv == ["train.py", "--lr", "0.1"]
    assert config == '{"keep": 0.5}'
    assert done.stdout.splitlines()[1] == "['SM_HP_SIFT_CONFIG']"


@pytest.mark.parametrize(
    ("described", "folder"),
    [
        (None, "{base}/checkpoints"),
        ({"S3Uri": "s3://bucket/kept"}, "{base}/checkpoints"),
        ({"S3Uri": "s3://bucket/kept", "LocalPath": "/opt/ml/checkpoints"}, "{base}/checkpoints"),
        ({"S3Uri": "s3://bucket/kept", "LocalPath": "/opt/ml/kept/here/"}, "{base}/kept/here"),
        ({"S3Uri": "s3://bucket/kept", "LocalPath": "/scratch/kept"}, "/scratch/kept"),
    ],
)
def test_a_script_is_told_where_its_checkpoints_are_kept(
    described: dict[str, str] | None, folder: str, job: JobTree
) -> None:
    job.script("import os; print(os.environ['SM_CHECKPOINT_DIR'])")
    if described:
        (job.config / "checkpointconfig.json").write_text(json.dumps(described))
    assert job.run(SM_CHECKPOINT_DIR="/another/job").stdout == folder.format(base=job.base) + "\n"


def test_raw_arguments_follow_the_others_exactly_as_typed(job: JobTree) -> None:
    typed = ["--name", "a b", "it's", '"', "$HOME", "", "--sift_config", "ünï", "-x", "\n"]
    job.script("import json, sys; print(json.dumps(sys.argv))")
    job.hyperparameters(zeta=1, alpha=2, sift_arguments=json.dumps(typed))
    argv = json.loads(job.run().stdout)
    assert argv == ["train.py", "--alpha", "2", "--zeta", "1", *typed]


def test_another_jobs_sift_configuration_is_not_inherited(job: JobTree) -> None:
    job.script("import os; print(os.environ.get('SM_HP_SIFT_CONFIG'))")
    assert job.run(SM_HP_SIFT_CONFIG='{"keep": 0.1}').stdout == "None\n"


@pytest.mark.parametrize("code", [1, 3, 77, 255])
def test_the_scripts_exit_code_is_the_jobs(job: JobTree, code: int) -> None:
    job.script(f"import sys; sys.exit({code})")
    assert job.run().returncode == code
    assert job.failure == f"exit code {code}"
    assert not job.succeeded


def test_a_raised_exception_is_the_first_line_of_the_failure(job: JobTree) -> None:
    job.script(
        """
        def train():
            raise ValueError("bad shape")
        train()
        """
    )
    done = job.run()
    assert done.returncode == 1
    assert "ValueError: bad shape" in done.stderr
    lines = (job.failure or "").splitlines()
    assert lines[:3] == [
        "ValueError: bad shape",
        "exit code 1",
        "Traceback (most recent call last):",
    ]
    assert lines[-1] == "ValueError: bad shape"


def test_a_syntax_error_is_the_first_line_of_the_failure(job: JobTree) -> None:
    job.script("def (:\n")
    assert job.run().returncode == 1
    assert (job.failure or "").startswith("SyntaxError: ")


def test_a_failure_is_at_most_1024_characters(job: JobTree) -> None:
    job.script("raise RuntimeError('ü' * 5000)")
    job.run()
    assert len(job.failure or "") == 1024
    assert (job.failure or "").startswith("RuntimeError: üüü")


@pytest.mark.skipif(not Path("/proc/vmstat").exists(), reason="needs Linux")
def test_a_script_that_somebody_killed_is_not_named_out_of_memory(job: JobTree) -> None:
    job.script("import os; print('before', flush=True); os.kill(os.getpid(), 9)")
    done = job.run()
    assert done.returncode == 137
    assert done.stdout == "before\n"
    assert job.failure == (
        "killed by SIGKILL (signal 9) from outside: memory had not run out\nexit code 137"
    )


def test_a_script_killed_by_another_signal_names_it(job: JobTree) -> None:
    job.script("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert job.run().returncode == 128 + signal.SIGSEGV
    assert job.failure == "killed by signal 11\nexit code 139"


def test_every_line_a_script_printed_before_its_death_is_in_the_log(job: JobTree) -> None:
    job.script("import os; print('step 1'); print('step 2'); os.kill(os.getpid(), 9)")
    assert job.run().stdout == "step 1\nstep 2\n"


def test_the_scripts_own_failure_file_is_kept(job: JobTree) -> None:
    job.script(
        "import os; open(os.environ['SM_OUTPUT_DIR'] + '/failure', 'w').write('mine'); 1 / 0"
    )
    assert job.run().returncode == 1
    assert job.failure == "mine"


def test_an_earlier_runs_ending_is_forgotten(job: JobTree) -> None:
    job.output.mkdir()
    (job.output / "failure").write_text("old")
    job.script("pass")
    assert job.run().returncode == 0
    assert job.failure is None
    assert job.succeeded


def test_a_failure_that_cannot_be_written_is_said_and_keeps_the_exit_code(job: JobTree) -> None:
    job.script("import sys; sys.exit(3)")
    (job.output / "failure").mkdir(parents=True)  # in the way, as root can write anywhere
    (job.output / "failure" / "x").touch()
    done = job.run()
    assert done.returncode == 3
    assert "failure" in done.stderr
    assert done.stderr.startswith("sift: cannot ")


def test_a_job_that_could_leave_nothing_behind_does_not_start(job: JobTree) -> None:
    job.script("print('ran')")
    job.output.write_text("a file where the folder should be")
    done = job.run()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"sift: cannot make {job.output}/data: Not a directory; "
        f"give it to user {os.getuid()}, or run as its owner\n"
        f"sift: cannot write {job.output}/failure: Not a directory\n"
    )


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("nothing.py", "no script nothing.py in {code}: there are picture.py, train.py, train.sh"),
        ("folder", "{code}/folder is a folder: name the script in it, e.g. folder/train.py"),
        ("picture.py", "picture.py is not Python: it holds binary data; name a Python script"),
        (
            "notes.txt",
            "notes.txt is neither Python nor a shell script: "
            "name it .py or .sh, or begin it with a #! line",
        ),
        (
            "../train.py",
            "entry point ../train.py lies outside the code folder: "
            "name a path inside it, e.g. train.py",
        ),
        (None, "no entry point: set the hyperparameter sagemaker_program, e.g. train.py"),
    ],
)
def test_an_entry_point_that_cannot_run_is_named_with_its_mend(
    job: JobTree, program: str | None, message: str
) -> None:
    job.script("pass")
    job.script("true", "train.sh")
    job.script("to do", "notes.txt")
    (job.code / "folder").mkdir()
    (job.code / "picture.py").write_bytes(b"\x89PNG\0\0")
    job.hyperparameters(program)
    done = job.run()
    expected = message.format(code=job.code)
    assert done.returncode == 2
    assert done.stderr == f"sift: {expected}\n"
    assert job.failure == expected


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("hyperparameters.json", "{", "is not JSON"),
        ("hyperparameters.json", "[1]", "must hold a JSON object, not list"),
        ("hyperparameters.json", None, "is SAGEMAKER_BASE_DIR the folder of a job?"),
        ("resourceconfig.json", '{"hosts": []}', "must name 'hosts', and 'current_host' among"),
        ("inputdataconfig.json", "nonsense", "is not JSON"),
        (
            "hyperparameters.json",
            json.dumps({"sift_arguments": '"7"', "sagemaker_program": '"train.py"'}),
            "hyperparameter sift_arguments must be a JSON list of strings",
        ),
    ],
)
def test_a_broken_contract_names_the_file(
    job: JobTree, file: str, content: str | None, message: str
) -> None:
    job.script("pass")
    path = job.config / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    done = job.run()
    assert done.returncode == 2
    assert done.stderr.startswith("sift: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert f"sift: {job.failure}\n" == done.stderr


@pytest.mark.parametrize("bad", ["a\0b", "\ud800"])
def test_a_value_that_no_argument_can_hold_is_refused(job: JobTree, bad: str) -> None:
    job.script("pass")
    job.hyperparameters(name=bad)
    done = job.run()
    assert done.returncode == 2
    assert done.stderr.startswith("sift: a hyperparameter cannot be handed to the script: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_under_the_log_does_not_end_the_training(job: JobTree) -> None:
    job.script("print('lost'); open('trained', 'w').close()")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [job.python, "-m", "sift_entrypoint.train"],
            env=job.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 0
    assert (job.code / "trained").exists()
    assert done.stderr == (
        "sift: output is lost, the log cannot be written: No space left on device\n"
    )
