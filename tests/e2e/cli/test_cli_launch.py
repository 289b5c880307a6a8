"""A script runs as a job: what reaches it, what is kept of it."""

from __future__ import annotations

import json
import os
import sys
import tarfile
import venv

import pytest

ECHO = """
import json, os, sys
print(json.dumps({
    "argv": sys.argv[1:],
    "cwd": os.getcwd(),
    "files": sorted(os.listdir(".")),
    "env": {k: v for k, v in os.environ.items() if k.startswith("SM_") or k in ("A", "B")},
    "train": sorted(os.listdir(os.environ["SM_CHANNEL_TRAIN"]))
    if "SM_CHANNEL_TRAIN" in os.environ else None,
}))
"""
AWKWARD = [
    "--flag", "two words", "", "it's", 'say "hi"', "a\nb", "$HOME `id` \\", "ünï ✓", "--", "-p",
]  # fmt: skip


def test_a_job_runs_and_its_model_and_outputs_are_kept(cli):
    cli.script(
        "import os\n"
        "print('training')\n"
        "open(os.environ['SM_MODEL_DIR'] + '/weights', 'w').write('w')\n"
        "open(os.environ['SM_OUTPUT_DATA_DIR'] + '/metrics', 'w').write('m')\n"
        "open('/'.join([os.environ['SM_OUTPUT_DATA_DIR'], '..', '..', 'checkpoints', 'c']), 'w')\n"
    )
    ended = cli("train.py", "--name", "first")
    assert (ended.returncode, ended.stdout) == (0, "training\n")
    started, completed = ended.stderr.splitlines()
    assert started == "job first runs in a process on this machine; Ctrl-C stops it"
    assert completed.startswith("job first completed in ")
    assert completed.endswith(f"; outputs: {cli.results('first')}")
    with tarfile.open(cli.results("first") / "model.tar.gz") as model:
        assert model.getnames() == ["weights"]
    with tarfile.open(cli.results("first") / "output.tar.gz") as output:
        assert output.getnames() == ["metrics"]
    assert (cli.results("first").parent / "checkpoints" / "c").exists()
    # Collected once, nothing is kept twice.
    assert not (cli.record("first") / "hosts").exists()

    job = cli.describe("first")
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Completed"
    assert job["ModelArtifacts"] == {
        "S3ModelArtifacts": f"file://{cli.results('first')}/model.tar.gz"
    }
    assert [each["Status"] for each in job["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Uploading", "Completed",
    ]  # fmt: skip
    assert cli("logs", "first").stdout == "training\n"


def test_what_follows_the_dashes_reaches_the_script_as_typed(cli):
    cli.script(ECHO)
    ended = cli("train.py", "-p", "epochs=3", "--", *AWKWARD)
    assert json.loads(ended.stdout)["argv"] == ["--epochs", "3", *AWKWARD]


def test_bytes_that_are_no_text_reach_the_script_too(cli):
    cli.script("import os, sys; print(os.fsencode(sys.argv[1]))")
    assert cli("train.py", "--", os.fsdecode(b"\xff\x80")).stdout == "b'\\xff\\x80'\n"


def test_hyperparameters_channels_and_variables_reach_the_script(cli):
    cli.script(ECHO, "src/train.py")
    cli.script("", "src/net.py")
    cli.script("", "data/a.csv")
    cli.script("", "labels.csv")
    options = ["-p", "lr=0.1", "-p", "name=big net", "-p", "amp=true", "--env", "A=1 2"]
    data = ["--data", "train=data", "--data", "labels=labels.csv"]
    told = json.loads(cli("src/train.py", *options, *data, "--env", "B=").stdout)
    assert told["argv"] == ["--amp", "True", "--lr", "0.1", "--name", "big net"]
    assert told["files"] == ["net.py", "train.py"]
    assert told["cwd"].endswith("/code")
    assert told["train"] == ["a.csv"]
    assert told["env"]["SM_CHANNEL_LABELS"].endswith("/labels")
    assert (told["env"]["A"], told["env"]["B"]) == ("1 2", "")
    assert told["env"]["SM_HP_LR"] == "0.1"


def test_a_job_sifts_unless_told_not_to_and_the_script_never_sees_it(cli):
    cli.script(ECHO)
    sifted = json.loads(cli("train.py", "--keep", ".25").stdout)
    assert sifted["argv"] == []
    assert json.loads(sifted["env"]["SM_HP_SIFT_CONFIG"])["keep"] == 0.25
    plain = json.loads(cli("train.py", "--no-sift").stdout)
    assert "SM_HP_SIFT_CONFIG" not in plain["env"]


def test_a_script_in_a_source_folder_is_named_either_way(cli):
    cli.script("import sys; sys.path.insert(0, '.'); import util", "src/jobs/train.py")
    cli.script("print('util')", "src/util.py")
    for script in ("src/jobs/train.py", "jobs/train.py"):
        assert cli(script, "--source-dir", "src").stdout == "util\n"


def test_what_a_script_writes_beside_itself_is_kept(cli):
    cli.script("old", "notes.txt")
    cli.script("x = 1", "util.py")
    cli.script(
        "import pathlib, util\n"
        "pathlib.Path('model.pt').write_text('m')\n"
        "pathlib.Path('runs/1').mkdir(parents=True)\n"
        "pathlib.Path('runs/1/events').write_text('e')\n"
        "pathlib.Path('notes.txt').write_text('changed')\n"
    )
    ended = cli("train.py", "--name", "job")
    assert ended.stderr.endswith("; in code/ what it wrote into its working folder\n")
    code = cli.results("job") / "code"
    assert {
        str(path.relative_to(code)): path.read_text() for path in code.rglob("*") if path.is_file()
    } == {"model.pt": "m", "runs/1/events": "e", "notes.txt": "changed"}
    # The user's own folder is as it was.
    assert (cli.project / "notes.txt").read_text() == "old"


def test_jobs_that_lie_in_the_source_folder_do_not_travel(cli):
    cli.script("import os; print(sorted(os.listdir('.')))")
    cli.environment["SIFT_LAUNCHER_HOME"] = str(cli.project / "state")
    cli("train.py", "--name", "first")
    assert cli("train.py", "--name", "second").stdout == "['train.py']\n"


def test_a_shell_script_is_a_script(cli):
    cli.script('echo "sh $1"\n', "train.sh")
    assert cli("train.sh", "--", "a b").stdout == "sh a b\n"


def test_a_script_named_as_a_command_is_reached_by_its_path(cli):
    cli.script("print('script')", "jobs")
    (cli.project / "jobs").rename(cli.project / "stop.py")
    assert cli("./stop.py").stdout == "script\n"
    assert "no jobs yet" not in cli("jobs").stdout


def test_another_interpreter_gets_the_runtime_from_here(cli, tmp_path):
    venv.create(tmp_path / "other", symlinks=True, with_pip=False)
    python = str(tmp_path / "other" / "bin" / "python")
    cli.script("import sys, smart_sifting; print(sys.executable, smart_sifting.__file__)")
    ended = cli("train.py", "--python", python)
    assert ended.stdout.startswith(f"{python} {cli.state}/jobs/"), ended.stderr
    assert ended.stdout.endswith("/packages/smart_sifting/__init__.py\n")


def test_nothing_is_installed_in_the_users_environment(cli):
    cli.script("print('ran')")
    cli.script("no-such-package-anywhere==99\n", "requirements.txt")
    ended = cli("train.py")
    assert ended.returncode == 0
    assert ended.stdout == (
        "sift: requirements.txt is not installed: a process runs in your own environment as it is\n"
        "ran\n"
    )
    assert (cli.project / "requirements.txt").exists()


def test_all_lines_come_and_they_come_live(cli):
    cli.script(
        "import sys, pathlib, time\n"
        "print('first')\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(.005)\n"
        "for i in range(20000): print(i)\n"
        "sys.stdout.write('no newline')\n"
    )
    go_on = cli.project / "go-on"
    process = cli.start("train.py", "--", str(go_on))
    # Read while the script waits for this very line to have come.
    assert process.stdout.readline() == "first\n"
    go_on.touch()
    rest, _ = process.communicate(timeout=cli.patience_seconds)
    assert rest == "".join(f"{i}\n" for i in range(20000)) + "no newline"


def test_stdout_and_stderr_are_one_log_on_stdout(cli):
    cli.script("import sys; print('out', flush=True); print('err', file=sys.stderr)")
    ended = cli("train.py")
    assert sorted(ended.stdout.splitlines()) == ["err", "out"]


def test_json_describes_the_ended_job_on_stdout_and_logs_on_stderr(cli):
    cli.script("print('line')")
    ended = cli("train.py", "--json")
    assert json.loads(ended.stdout)["TrainingJobStatus"] == "Completed"
    assert "line\n" in ended.stderr


def test_without_waiting_the_job_goes_on_by_itself(cli, until):
    go_on = cli.project / "go-on"
    cli.script(
        "import sys, pathlib, time\n"
        "while not pathlib.Path(sys.argv[1]).exists(): time.sleep(.005)\n"
        "print('done')\n"
    )
    ended = cli("train.py", "--no-wait", "--name", "later", "--", str(go_on))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "later\n", "")
    assert cli.describe("later")["TrainingJobStatus"] == "InProgress"
    assert "later" in cli("jobs").stdout
    go_on.touch()
    until(lambda: cli.describe("later")["TrainingJobStatus"] == "Completed")
    assert cli("logs", "later").stdout == "done\n"


@pytest.mark.parametrize("as_json", [True, False])
def test_a_dry_run_starts_and_writes_nothing(cli, as_json):
    cli.script("raise SystemExit('it ran')")
    before = sorted(cli.project.rglob("*"))
    ended = cli("train.py", "--name", "dry", "--dry-run", *(["--json"] if as_json else []))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(cli.project.rglob("*")) == before
    assert not cli.state.exists()
    if as_json:
        plan = json.loads(ended.stdout)
        assert plan["request"]["TrainingJobName"] == "dry"
        assert plan["image"] == f"file://{sys.executable}"
        assert plan["max_cost_dollars"] == 0.0
        assert [file["path"] for file in plan["bundle"]["files"]] == ["train.py"]
    else:
        assert '"TrainingJobName": "dry"' in ended.stdout
        assert ended.stdout.endswith("Nothing was started: this was a dry run.\n")


def test_the_request_of_the_dry_run_is_the_request_of_the_job(cli):
    cli.script("")
    cli.script("", "d/x")
    options = ["train.py", "--name", "same", "--data", "train=d", "--keep", "0.3", "-p", "a=1"]
    dry = json.loads(cli(*options, "--dry-run", "--json", "--", "x y").stdout)
    cli(*options, "--", "x y")
    assert json.loads((cli.record("same") / "request.json").read_text()) == dry["request"]


def test_the_environment_of_the_job_is_the_users_own(cli):
    cli.script("import os; print(os.environ.get('PYTHONPATH', '').split(os.pathsep)[-1])")
    cli.environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, [cli.environment.get("PYTHONPATH"), "/users/own"])
    )
    assert cli("train.py").stdout == "/users/own\n"
