"""What makes the command pleasant: help at once, completion, a status line, tables."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from contextlib import suppress

import pytest

from sift_launcher import cli as command

RECEIPT = {
    "schema": 1,
    "final": True,
    "tier": "forward",
    "reason": "verified",
    "keep": 0.5,
    "acceptance": "quota",
    "rank": 0,
    "world_size": 1,
    "samples": {"seen": 1000, "kept": 500, "dropped": 500, "left_over": 2, "non_finite": 0},
    "batches": {"seen": 100, "given": 50},
    "steps": 50,
    "epochs": 1,
    "seconds": {"total": 9.0, "scoring": 1.0, "training": 4.0, "data": 0.5, "discovery": 0.5},
    "unsifted": {"step_seconds": 0.08, "data_seconds": 0.0, "measured_steps": 3, "seconds": 8.0},
    "saved": {"seconds": 2.0, "share": 0.25, "dollars": None},
    "classes": [{"label": 7, "seen": 400, "kept": 100}],
    "history": [{"step": 10, "seconds": 1.0, "kept_share": 0.5, "loss": 1.5}],
    "loaders": [],
    "notes": ["a note"],
    "versions": {},
}
WRITES_A_RECEIPT = """
import json, os, sys
with open(os.environ["SM_OUTPUT_DATA_DIR"] + "/receipt.json", "w") as file:
    file.write(sys.argv[1])
"""


def test_the_help_imports_nothing_heavy():
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from sift_launcher.cli import run\n"
            "run(['--help'])\n"
            "heavy = {'rich', 'torch', 'numpy', 'boto3', 'sagemaker', 'tarfile'}\n"
            "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n",
        ],
        capture_output=True,
        text=True,
    )
    assert told.stderr == ""
    assert told.returncode == 0
    for word in ("--keep", "In SageMaker (--instance ml.*):", "--help", "init", "./jobs"):
        assert word in told.stdout


@pytest.mark.parametrize(
    ("line", "items"),
    [
        (["sift-launch", "sto"], ["plain,stop"]),
        (["sift-launch", "tra"], []),
        (["sift-launch", "--dry"], ["plain,--dry-run"]),
        (["sift-launch", "train.py", "--ke"], ["plain,--keep", "plain,--keep-alive"]),
        (["sift-launch", "status", "fir"], ["plain,first"]),
        (["sift-launch", "logs", "--fol"], ["plain,--follow"]),
    ],
)
def test_the_shell_completes_options_commands_and_job_names(cli, line, items):
    cli.script("")
    cli("train.py", "--name", "first")
    cli.environment |= {
        "_SIFT_LAUNCH_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(line),
        "COMP_CWORD": str(len(line) - 1),
    }
    completed = subprocess.run(
        [sys.executable, "-c", "from sift_launcher.cli import main; main()"],
        cwd=cli.project,
        env=cli.environment,
        capture_output=True,
        text=True,
    )
    assert [each for each in completed.stdout.split() if not each.startswith("file,")] == items


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed(cli, shell):
    ended = cli("completion", shell)
    assert ended.returncode == 0
    assert "_SIFT_LAUNCH_COMPLETE" in ended.stdout


def test_a_terminal_shows_where_the_job_is(cli, until):
    running = RECEIPT | {"final": False}
    cli.script(
        WRITES_A_RECEIPT + "import pathlib, time\n"
        "while not pathlib.Path(sys.argv[2]).exists(): time.sleep(.005)\n"
        "print('a line')\n"
    )
    go_on = cli.project / "go-on"
    ours, theirs = pty.openpty()
    process = cli.start(
        "train.py", "--name", "job", "--", json.dumps(running), str(go_on), stdout=theirs
    )
    os.close(theirs)
    os.set_blocking(ours, False)
    shown = bytearray()

    def shows(expression: str) -> bool:
        with suppress(BlockingIOError):
            shown.extend(os.read(ours, 1000))
        return re.search(expression.encode(), shown) is not None

    until(lambda: shows(r"job · training · step 50 · kept 50% · \d+:\d\d"))
    go_on.touch()
    until(lambda: shows(r"\x1b\[2Ka line\r\n"))
    process.communicate(timeout=cli.patience_seconds)
    os.close(ours)
    assert process.returncode == 0


def test_the_receipt_is_a_line_a_table_and_a_picture(cli):
    cli.script(WRITES_A_RECEIPT)
    ended = cli("train.py", "--name", "job", "--", json.dumps(RECEIPT))
    summary = (
        "kept 500 of 1000 samples (50.0 %) in 50 steps; 6.0 s against 8.0 s unsifted: "
        "saved 2.0 s (25.0 %); tier forward"
    )
    assert f": {summary}; outputs: {cli.results('job')}" in ended.stderr
    table = [" ".join(line.split()) for line in cli("receipt", "job").stdout.splitlines()]
    for row in (
        "tier forward: verified",
        "samples kept 500 (50.0%)",
        "samples left over at the end 2",
        "visits of a sample 0.5 (few: what is dropped before visit 4 usually costs accuracy; "
        "--keep auto drops nothing before)",
        "seconds in scoring 1.00",
        "seconds unsifted 8.00 (measured: 3 full steps, 80.00 ms each and 0.00 ms for the data)",
        "seconds saved 2.00 (25.0%)",
        "note a note",
        "7 400 100 25.0%",
        summary,
        f"picture: {cli.results('job')}/receipt.svg",
    ):
        assert row in table
    assert (cli.results("job") / "receipt.svg").read_text().startswith("<svg")
    assert json.loads(cli("receipt", "job", "--json").stdout)["samples"]["kept"] == 500


def test_a_receipt_says_when_sifting_cost_more_than_it_saved(cli):
    cli.script(WRITES_A_RECEIPT)
    lost = RECEIPT | {"saved": {"seconds": -1.5, "share": -0.2, "dollars": None}}
    cli("train.py", "--name", "job", "--", json.dumps(lost))
    assert "none: sifting cost 1.50 more than it saved (20.0%)" in cli("receipt", "job").stdout


def test_a_job_without_a_receipt_says_why(cli):
    cli.script("")
    cli("train.py", "--name", "plain", "--no-sift")
    cli("train.py", "--name", "sifted")
    assert cli("receipt", "plain").stderr == (
        "job plain has no receipt: it was not sifted (--no-sift)\n"
    )
    told = cli("receipt", "sifted")
    assert told.returncode == 2
    assert told.stderr == (
        "job sifted has no receipt: it has not trained yet, or nothing in it uses torch\n"
    )


def test_jobs_are_listed_as_a_table_and_as_json(cli):
    assert cli("jobs").stdout == "no jobs yet: sift-launch SCRIPT launches one\n"
    cli.script("")
    for name in ("first", "second"):
        cli("train.py", "--name", name)
    header, _, *rows = cli("jobs").stdout.splitlines()
    assert header.split() == ["job", "status", "where", "created", "seconds", "cost"]
    assert [row.split()[:2] for row in rows] == [["second", "Completed"], ["first", "Completed"]]
    listed = json.loads(cli("jobs", "--json").stdout)
    assert [job["TrainingJobName"] for job in listed] == ["second", "first"]


def test_a_reader_that_goes_away_is_no_crash(cli):
    cli.script("for i in range(100000): print(i)")
    process = cli.start("train.py", "--name", "job")
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    process.wait(timeout=cli.patience_seconds)
    assert process.returncode == 1
    assert err.splitlines()[1:] == ["nobody reads the log any more; job job goes on"]
    assert not (cli.state / "crashes").exists()


def test_a_reader_that_was_never_there_is_no_crash(cli):
    cli.script("print('line')")
    cli("train.py", "--name", "job")
    cli.environment.pop("PYTHONUNBUFFERED", None)  # the buffer is flushed at the end
    unread, pipe = os.pipe()
    os.close(unread)
    process = cli.start("logs", "job", stdout=pipe)
    os.close(pipe)
    assert process.stderr.read() == ""
    assert process.wait(timeout=cli.patience_seconds) == 1


def test_errors_are_red_on_a_terminal_alone(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    command.run(["nothing.py"])
    assert capsys.readouterr().err.startswith("\x1b[31mno such script: nothing.py")
    monkeypatch.setenv("NO_COLOR", "1")
    command.run(["nothing.py"])
    assert capsys.readouterr().err.startswith("no such script: nothing.py")
