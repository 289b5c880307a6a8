"""Jobs that are stopped: by Ctrl-C, from another terminal, by their longest run time."""

from __future__ import annotations

import tarfile

from cli_runner import POLITE, long_enough

STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(os.environ["SM_MODEL_DIR"] + "/saved", "w").write("s")
os.write(1, b"ready\\n")  # whole, beside another process
while True: time.sleep(.01)
"""


def saved(cli, name: str) -> bool:
    with tarfile.open(cli.results(name) / "model.tar.gz") as model:
        return model.getnames() == ["saved"]


def test_ctrl_c_stops_the_job_keeps_its_outputs_and_exits_130(cli, interrupt):
    cli.script(POLITE)
    process = cli.start("train.py", "--name", "job")
    assert process.stdout.readline() == "ready\n"
    interrupt(process)
    out, err = process.communicate(timeout=cli.patience_seconds)
    assert process.returncode == 130
    assert out == "saved\n"
    assert err.splitlines()[1:] == [
        "stopping job job and keeping its outputs; Ctrl-C again kills it",
        f"job job was stopped; its outputs are in {cli.results('job')}",
    ]
    assert saved(cli, "job")
    job = cli.describe("job")
    assert job["TrainingJobStatus"] == job["SecondaryStatus"] == "Stopped"
    assert "Stopping" in [each["Status"] for each in job["SecondaryStatusTransitions"]]


def test_a_second_ctrl_c_kills_the_job_and_keeps_its_outputs(cli, interrupt):
    cli.script(STUBBORN)
    process = cli.start("train.py", "--name", "job")
    assert process.stdout.readline() == "ready\n"
    process.stderr.readline()
    interrupt(process)
    assert process.stderr.readline().startswith("stopping job job")
    interrupt(process)
    assert process.stderr.readline() == "killing job job; its outputs are kept\n"
    process.communicate(timeout=cli.patience_seconds)
    assert process.returncode == 130
    assert saved(cli, "job")


def test_a_job_that_does_not_stop_by_itself_is_killed_after_its_time(cli, interrupt):
    cli.environment["SIFT_LAUNCHER_STOP_SECONDS"] = "0.2"
    cli.script(STUBBORN)
    process = cli.start("train.py", "--name", "job")
    assert process.stdout.readline() == "ready\n"
    interrupt(process)
    process.communicate(timeout=cli.patience_seconds)
    assert process.returncode == 130
    assert saved(cli, "job")


def test_a_job_is_followed_and_stopped_from_other_terminals(cli):
    cli.script(POLITE)
    assert cli("train.py", "--name", "job", "--no-wait").stdout == "job\n"
    following = cli.start("logs", "job", "--follow")
    assert following.stdout.readline() == "ready\n"
    stop = cli("stop", "job")
    assert (stop.returncode, stop.stderr) == (
        0,
        "stopping job job; sift-launch status job tells when it has\n",
    )
    out, err = following.communicate(timeout=cli.patience_seconds)
    assert out == "saved\n"
    assert following.returncode == 130
    assert err == f"job job was stopped; its outputs are in {cli.results('job')}\n"
    assert saved(cli, "job")
    again = cli("stop", "job")
    assert again.returncode == 2
    assert again.stderr == "job job is over (Stopped): there is nothing to stop\n"


def test_ctrl_c_on_a_followed_log_leaves_the_job_alone(cli, interrupt):
    cli.script(POLITE)
    cli("train.py", "--name", "job", "--no-wait")
    following = cli.start("logs", "job", "--follow")
    assert following.stdout.readline() == "ready\n"
    interrupt(following)
    following.communicate(timeout=cli.patience_seconds)
    assert following.returncode == 130
    assert cli.describe("job")["TrainingJobStatus"] == "InProgress"


def test_a_job_is_killed_from_another_terminal_with_all_it_started(cli, until, processes_below):
    cli.script("import os\nif os.fork() == 0: os.setsid()\n" + STUBBORN)
    cli("train.py", "--name", "job", "--no-wait")
    until(lambda: cli("logs", "job").stdout == "ready\nready\n")
    tree = cli.record("job") / "hosts" / "algo-1"
    assert len(processes_below(tree)) == 3
    cli("stop", "job", "--kill")
    until(lambda: not processes_below(tree))
    until(lambda: cli.describe("job")["TrainingJobStatus"] == "Stopped")
    assert saved(cli, "job")


def test_a_job_whose_launcher_is_killed_goes_on(cli, until):
    cli.script(POLITE)
    process = cli.start("train.py", "--name", "job")
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.communicate()
    assert cli.describe("job")["TrainingJobStatus"] == "InProgress"
    cli("stop", "job")
    until(lambda: cli.describe("job")["TrainingJobStatus"] == "Stopped")


def test_a_job_past_its_longest_run_time_is_stopped(cli):
    cli.script(POLITE)

    def run(seconds: int) -> bool:
        name = f"job-{seconds}"
        ended = cli("train.py", "--name", name, "--max-run", f"{seconds}")
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1] == (
            f"job {name} was stopped after its --max-run of {seconds} s; "
            f"its outputs are in {cli.results(name)}"
        )
        job = cli.describe(name)
        assert job["TrainingJobStatus"] == "Stopped"
        assert job["SecondaryStatus"] == "MaxRuntimeExceeded"
        return ended.stdout == "ready\nsaved\n" and saved(cli, name)

    long_enough(run)


def test_what_a_job_leaves_running_ends_with_it(cli, until, processes_below):
    cli.script(
        "import os, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'],\n"
        "    start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print('started')\n"
    )
    ended = cli("train.py", "--name", "job")
    assert (ended.returncode, ended.stdout) == (0, "started\n")
    until(lambda: not processes_below(cli.record("job") / "hosts" / "algo-1"))
