"""Calls that cannot be served: each is one line that holds the mend, exit code 2, no traces."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_engine import INFO, fake_engine


def refused(call: Callable[..., object], state: Path, *arguments: str) -> str:
    """The one line that such a call ends with; nothing was started or written."""
    before = sorted(Path.cwd().rglob("*"))
    ended = call(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.endswith("\n")
    assert ended.err.count("\n") == 1, ended.err
    assert not state.exists()
    assert sorted(Path.cwd().rglob("*")) == before
    return ended.err.strip()


def test_no_such_script(call, state, project):
    assert refused(call, state, "trian.py") == "no such script: trian.py (did you mean train.py?)"
    assert refused(call, state, "x/y.py") == (
        f"no such script: x/y.py (there is no folder {project}/x)"
    )


def test_a_subcommand_with_a_slip_in_it(call, state, project):
    assert refused(call, state, "jbos") == "no such script: jbos (did you mean sift-launch jobs?)"


def test_a_script_that_is_a_folder(call, state, project):
    (project / "src").mkdir()
    assert refused(call, state, "src") == (
        "src is a folder: name the script in it, such as src/train.py"
    )


@pytest.mark.parametrize("name", ["notes.txt", "train", "model.ipynb"])
def test_a_script_that_is_not_a_script(call, state, project, name):
    (project / name).write_text("hello")
    assert refused(call, state, name) == (
        f"{name} is not a training script: its name must end in .py (Python) or .sh (shell)"
    )


def test_a_script_that_is_binary(call, state, project):
    (project / "bin.py").write_bytes(b"\x7fELF\x00\x01\xff\xfe")
    told = refused(call, state, "bin.py")
    assert str(project / "bin.py") in told
    assert "null bytes" in told or "utf-8" in told


def test_a_syntax_error_names_file_and_line(call, state, project):
    (project / "bad.py").write_text("import os\nfor x in range(3)\n    print(x)\n")
    assert refused(call, state, "bad.py") == (
        f"syntax error in {project}/bad.py:2: expected ':' in `for x in range(3)`"
    )


def test_a_syntax_error_as_another_interpreter_sees_it(call, state, project, tmp_path):
    (project / "bad.py").write_text("x = (\n")
    other = tmp_path / "python"
    other.symlink_to(sys.executable)
    told = refused(call, state, "bad.py", "--python", str(other))
    assert told.startswith(f"syntax error in {project}/bad.py:1: '(' was never closed")


@pytest.mark.parametrize(
    ("python", "told"),
    [
        ("/nowhere/python3", "--python /nowhere/python3 is not an interpreter"),
        ("/bin/false", "--python /bin/false is not a working Python"),
    ],
)
def test_an_interpreter_that_is_none(call, state, python, told):
    assert refused(call, state, "train.py", "--python", python).startswith(told)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--keep", "0"], "--keep 0: sift_config: keep is 0.0; write a number more than 0"),
        (["--keep", "1.5"], "--keep 1.5: sift_config: keep is 1.5; write a number more than 0"),
        (
            ["--keep", "half"],
            "Invalid value for '--keep': 'half' is no number; write one such as 0.5, or auto",
        ),
        (["--beta", "-1"], "--beta -1: sift_config: beta_value is -1.0; write a number more"),
        (["--keep", ".5", "--beta", "1"], "--keep 0.5 and --beta 1 say the same thing twice"),
        (["--sift-delay", "-1"], "--sift-delay -1: sift_config: sift_delay is -1"),
        (["--loss", "losses.py"], "--loss losses.py: sift_config: loss is 'losses.py'; write"),
        (["--no-sift", "--keep", ".5"], "--no-sift and --keep contradict each other"),
        (["--no-sift", "--sift-config", "{}"], "--no-sift and --sift-config contradict each other"),
        (
            ["--sift-config", '{"kep": 1}'],
            "--sift-config: sift_config has an unknown key 'kep'; write keep",
        ),
        (["--sift-config", '{"keep": "x"}'], "--sift-config: sift_config: keep is 'x'; write"),
        (["--sift-config", '{"keep": '], "--sift-config: sift_config: the text is"),
        (["--sift-config", "no.json"], "--sift-config no.json: No such file or directory; name"),
        (["--sift-config", "."], "--sift-config .: Is a directory; name a JSON file"),
    ],
)
def test_sifting_that_cannot_be(call, state, options, told):
    assert refused(call, state, *options, "train.py").startswith(told)


def test_a_broken_sift_config_file_is_named(call, state, project):
    (project / "sift.json").write_text('{"keep": 0.5,}')
    told = refused(call, state, "--sift-config", "sift.json", "train.py")
    assert told.startswith("--sift-config sift.json: sift_config: the text is")
    (project / "sift.json").write_bytes(b"\xff\xfe")
    told = refused(call, state, "--sift-config", "sift.json", "train.py")
    assert told == "--sift-config sift.json is not text: name a JSON file"


def test_a_channel_whose_path_is_missing(call, state, project):
    assert refused(call, state, "train.py", "--data", "train=nowhere") == (
        f"channel train: nowhere does not exist (read from {project}); "
        "--data train=PATH names a folder or a file"
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-p", "epochs"], "-p 'epochs' is not KEY=VALUE: write it as -p epochs=3"),
        (["-p", "=3"], "-p '=3' is not KEY=VALUE: write it as -p epochs=3"),
        (["-p", "a=1", "-p", "a=2"], "-p a is given twice: leave one out"),
        (["--data", "train"], "--data 'train' is not CHANNEL=PATH: write it as --data train=data/"),
        (["--data", "train="], "--data train= names no path: write --data train=PATH"),
        (["--env", "A"], "--env 'A' is not KEY=VALUE: write it as --env OMP_NUM_THREADS=2"),
        (["--tag", "a"], "--tag 'a' is not KEY=VALUE: write it as --tag team=vision"),
        (["--metric", "a"], "--metric 'a' is not NAME=REGEX: write it as --metric 'loss=loss: (["),
        (["--metric", "a=b"], "metric 'a': 'b' captures no value: put what matches the number in"),
        (["--shard", "t"], "--shard t names no channel: add --data t=PLACE, or leave it out"),
        (["--input-mode", "Pipe"], "--input-mode Pipe is unknown: File or FastFile"),
        (["--spot"], "--spot is for SageMaker's instances, and this job runs on this machine: add"),
        (["--output", "s3://bkt/x"], "--output s3://bkt/x is for jobs in SageMaker: this machine"),
        (["--checkpoint", "train.py"], "--checkpoint train.py is a file: name a folder"),
        (["--data", "t=s3://"], "--data t: 's3://' is no place in S3: write it as s3://BUCKET/"),
        (["--rehearse"], "--rehearse is for SageMaker's instances, and this job runs on this"),
        (
            ["--instance", "ml.m5.large", "--rehearse-interrupt", "50%", "--spot"],
            "--rehearse-interrupt 50% takes spot instances away from a job that is rehearsed: add "
            "--rehearse",
        ),
        (
            ["--instance", "ml.m5.large", "--rehearse-interrupt", "50%", "--rehearse"],
            "--rehearse-interrupt 50% takes spot instances away from a job that is rehearsed: add "
            "--spot",
        ),
        (
            [
                "--instance",
                "ml.m5.large",
                "--rehearse",
                "--spot",
                "--rehearse-interrupt",
                "1s,half",
            ],
            "'half' is no moment to interrupt a job: write 30s",
        ),
        (["--rehearse-on", "local_gpu"], "--rehearse-on local_gpu plays nothing: process or local"),
        (
            ["--instance", "ml.m5.large", "--rehearse", "--dry-run"],
            "--dry-run starts nothing, and --rehearse starts an AWS on this machine: leave one of",
        ),
        (["--name", "my_job"], "'my_job' cannot be a job's name"),
        (["--max-run", "0"], "--max-run 0 is not a time that SageMaker grants"),
        (["--output", "train.py"], "--output train.py is a file: name a folder"),
        (["--source-dir", "nowhere"], "--source-dir nowhere does not exist"),
        (["--source-dir", "train.py"], "--source-dir train.py is a file"),
        (["--instance", "locl"], "unknown instance 'locl' (did you mean local?): use"),
        (["--instance", "g5.xlarge"], "unknown instance 'g5.xlarge': write --instance ml.g5.xla"),
        (["--image", "x"], "--image x needs a container, and this job runs in a process: add"),
        (["--count", "2"], "--count 2 needs a container, and this job runs in a process: add"),
        (["--count", "two"], "Invalid value for '--count': 'two' is not a valid integer."),
        (["--memory", "lots"], "--memory 'lots' is not a size: write it as --memory 512m or 2g"),
        (["--shm-size", "0"], "--shm-size '0' is not a size: write it as --shm-size 512m or 2g"),
        (["--shm-size", "-1g"], "--shm-size '-1g' is not a size: write it as --shm-size 512m"),
        (["--cpus", "0"], "--cpus 0 is no number of processors: 0.01 or more, as 1.5"),
        (["--cpus", "nan"], "--cpus nan is no number of processors: 0.01 or more, as 1.5"),
        (["--platform", "arm64"], "--platform 'arm64' is not OS/ARCHITECTURE: write it as linux"),
        (["--instance", "local", "--python", "python3"], "--python python3 is for --instance"),
        (["--instance", "local", "--image", ""], "--image names no image: write --image NAME:TAG"),
        (["--lr", "3"], "no such option: --lr; what the script should get goes after --"),
        (["--kep", "3"], "no such option: --kep; did you mean "),
        (["extra"], "unexpected 'extra': what the script should get goes after --"),
        (["--keep"], "Option '--keep' requires an argument. (sift-launch --help)"),
    ],
)
def test_options_that_cannot_be(call, state, options, told):
    assert refused(call, state, "train.py", *options).startswith(told)


def test_a_script_outside_its_source_folder(call, state, project):
    (project / "src").mkdir()
    (project / "other.py").touch()
    told = refused(call, state, str(project / "other.py"), "--source-dir", "src")
    assert told.startswith(f"script {project}/other.py lies outside --source-dir src")


@pytest.mark.parametrize("name", ["status", "logs", "stop", "receipt"])
def test_a_job_that_is_not_there(call, state, name):
    assert refused(call, state, name, "nobody") == (
        "no job is named 'nobody': sift-launch jobs lists those there are"
    )
    assert refused(call, state, name, "../../etc").startswith("no job is named '../../etc'")


@pytest.mark.parametrize("name", ["status", "logs", "stop", "receipt"])
def test_a_command_about_no_job(call, state, name):
    assert refused(call, state, name).startswith("Missing argument 'NAME'.")


def test_an_output_folder_that_cannot_be_written(call, state, project):
    (project / "file").touch()
    told = refused(call, state, "train.py", "--output", "file/out")
    assert told == (
        f"cannot write to the output folder {project}/file/out (Not a directory): make room "
        "there, or name another with --output"
    )


def test_a_state_folder_that_cannot_be_written(call, project, monkeypatch):
    (project / "file").touch()
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(project / "file" / "state"))
    ended = call("train.py", "--output", "out")
    assert ended.code == 2
    assert "set SIFT_LAUNCHER_HOME to a folder that can be written" in ended.err
    assert sorted(path.name for path in project.iterdir()) == ["file", "train.py"]


def test_a_defect_of_ours_is_one_line_that_names_the_traceback(call, state, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr("sift_launcher.cli.train_here.gather", broken)
    ended = call("train.py")
    (log,) = (state / "crashes").iterdir()
    assert ended.code == 1
    assert ended.err == (
        "sift-launch broke (RuntimeError: two lines): a defect of ours; "
        f"the traceback is in {log}\n"
    )
    assert 'raise RuntimeError("two\\nlines")' in log.read_text()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("unix:///nowhere.sock", "no Docker engine answers at /nowhere.sock: start it (sudo syste"),
        ("tcp://10.0.0.1:2376", "the Docker engine at tcp://10.0.0.1:2376 is on another machine"),
        ("ssh://ada@farm", "the Docker engine at ssh://ada@farm is on another machine and cannot"),
        ("farm", "DOCKER_HOST=farm is no engine's address: write unix:///var/run/docker.sock"),
    ],
)
def test_an_engine_that_cannot_run_the_job(call, state, monkeypatch, address, told):
    monkeypatch.setenv("DOCKER_HOST", address)
    assert refused(call, state, "train.py", "--instance", "local").startswith(told)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["local"], "there is no image sift-training:cpu yet: sift-launch build makes it"),
        (
            ["local_gpu"],
            "there is no image sift-training:gpu yet: sift-launch build --device gpu makes it",
        ),
        (
            ["local", "--image", "a/b", "--dry-run"],
            "image a/b is not on this machine: docker pull a/b, or see docker image ls for those "
            "that are",
        ),
    ],
)
def test_an_image_that_is_not_here(call, state, tmp_path, monkeypatch, options, told):
    with fake_engine(tmp_path, INFO | {"Runtimes": {"nvidia": {}}}) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        assert refused(call, state, "train.py", "--instance", *options) == told


def test_gpus_that_the_engine_has_not_got(call, state, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with fake_engine(tmp_path) as address:
        monkeypatch.setenv("DOCKER_HOST", address)
        told = refused(call, state, "train.py", "--instance", "local_gpu")
    assert told.startswith("the Docker engine has no NVIDIA runtime, so no container gets a GPU: ")


def test_what_is_wrong_with_the_script_is_said_before_any_engine_is_asked(call, state, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere.sock")
    told = refused(call, state, "trian.py", "--instance", "local")
    assert told == "no such script: trian.py (did you mean train.py?)"
    told = refused(call, state, "train.py", "--instance", "local", "--name", "my_job")
    assert told.startswith("'my_job' cannot be a job's name")


def test_a_state_folder_that_cannot_be_read(call, project, monkeypatch):
    (project / "jobs").touch()
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(project))
    ended = call("jobs")
    assert (ended.code, ended.err) == (
        2,
        f"cannot read the job records in {project}/jobs (Not a directory): set "
        "SIFT_LAUNCHER_HOME to your own state folder\n",
    )


def test_nothing_typed_is_answered_with_the_help(call):
    ended = call()
    assert ended.code == 2
    assert ended.err.startswith("Usage: sift-launch [OPTIONS] SCRIPT [-- SCRIPT ARGS]\n")
