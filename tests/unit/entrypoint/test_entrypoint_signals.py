"""Stopping a job, and the processes a script leaves behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from entrypoint_job import DEADLINE, JobTree

Until = Callable[[Callable[[], object]], None]
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_reaches_the_script_whose_exit_code_counts(
    job: JobTree, until: Until, number: signal.Signals
) -> None:
    job.script(
        f"""
        import signal, sys, time
        def stop(number, frame):
            print("saved a checkpoint")
            sys.exit(7)
        signal.signal({int(number)}, stop)
        open("ready", "w").close()
        while True:
            time.sleep(0.01)
        """
    )
    with job.start() as process:
        until((job.code / "ready").exists)
        process.send_signal(number)
        out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out, err) == (7, "saved a checkpoint\n", "")
    assert job.failure == "exit code 7"


def test_a_script_that_does_not_listen_dies_of_the_signal(job: JobTree, until: Until) -> None:
    job.script("import signal; open('ready', 'w').close(); signal.pause()")
    with job.start() as process:
        until((job.code / "ready").exists)
        process.terminate()
        process.communicate(timeout=DEADLINE)
    assert process.returncode == 143
    assert job.failure == "killed by signal 15\nexit code 143"


def test_a_script_may_finish_its_work_after_the_signal(job: JobTree, until: Until) -> None:
    job.script(
        """
        import signal, time
        stopping = []
        signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
        open("ready", "w").close()
        while not stopping:
            time.sleep(0.01)  # a pause would not end for a signal that came just before it
        print("finished the epoch")
        """
    )
    with job.start() as process:
        until((job.code / "ready").exists)
        process.terminate()
        out, _ = process.communicate(timeout=DEADLINE)
    assert (process.returncode, out) == (0, "finished the epoch\n")
    assert job.succeeded


def test_the_signal_reaches_a_shell_scripts_children(job: JobTree, until: Until) -> None:
    # A shell waits for its child before it handles a signal: only the group's signal arrives.
    job.script(f"trap '' TERM\n{job.python} train.py\nexit 5\n", "train.sh")
    job.hyperparameters("train.sh")
    job.script(
        """
        import os, signal, time
        signal.signal(signal.SIGTERM, lambda *_: open("heard", "w").close())
        open("ready", "w").close()
        while not os.path.exists("heard"):
            time.sleep(0.01)
        """
    )
    with job.start() as process:
        until((job.code / "ready").exists)
        process.terminate()
        process.communicate(timeout=DEADLINE)
    assert (job.code / "heard").exists()
    assert process.returncode == 5


def test_the_script_starts_with_the_systems_own_signal_handling(job: JobTree) -> None:
    # Python ignores SIGPIPE; a script's tools that inherited that would complain here.
    job.script("yes | head -n 1\n", "run.sh")
    job.hyperparameters("run.sh")
    done = job.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "y\n", "")


@NEEDS_PROC
def test_orphans_of_the_script_are_reaped_while_it_runs(job: JobTree) -> None:
    job.script(
        """
        import os, sys, time
        read, write = os.pipe()
        if os.fork() == 0:
            orphan = os.fork()
            if orphan == 0:
                os._exit(0)
            os.write(write, str(orphan).encode())
            os._exit(0)
        os.wait()
        orphan = int(os.read(read, 100))
        deadline = time.monotonic() + 30
        while os.path.exists(f"/proc/{orphan}"):
            if time.monotonic() > deadline:
                sys.exit("the orphan stayed a zombie")
            time.sleep(0.01)
        """
    )
    done = job.run()
    assert done.returncode == 0, done.stderr


@NEEDS_PROC
@pytest.mark.parametrize("session", [False, True], ids=["in the group", "in its own session"])
def test_a_process_that_outlives_the_script_neither_hangs_the_job_nor_survives_it(
    job: JobTree, session: bool
) -> None:
    job.script(
        f"""
        import signal, subprocess, sys
        code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", code], start_new_session={session})
        print(child.pid)
        sys.exit(4)
        """
    )
    done = job.run()
    assert done.returncode == 4
    pid = next(line for line in done.stdout.splitlines() if line.isdigit())
    assert not Path(f"/proc/{pid}").exists()


@NEEDS_PROC
def test_a_job_that_is_held_back_itself_ends_what_outlives_its_script(job: JobTree) -> None:
    # Each look at its children takes it longer than all that they have left.
    job.program = [
        "-c",
        "import time; from sift_entrypoint import child, train\n"
        "child._AFTERLIFE, reap = 0.01, child._reap\n"
        "child._reap = lambda pid: time.sleep(0.05) or reap(pid)\n"
        "raise SystemExit(train.main())",
    ]
    job.script(
        """
        import subprocess, sys
        code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
        child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        print(child.pid)
        """
    )
    done = job.run()
    assert done.returncode == 0, done.stderr
    assert not Path(f"/proc/{done.stdout.strip()}").exists()


def test_what_a_late_child_prints_is_in_the_log(job: JobTree) -> None:
    # As long as it takes: a busy machine may let a child wait for more than a job's second.
    job.program = [
        "-c",
        "from sift_entrypoint import child, train\n"
        f"child._AFTERLIFE = {DEADLINE}\n"
        "raise SystemExit(train.main())",
    ]
    job.script(
        """
        import os
        script = os.getpid()
        if os.fork() == 0:
            while os.getppid() == script:
                pass
            print("late")
        """
    )
    done = job.run()
    assert (done.returncode, done.stdout) == (0, "late\n")


def test_a_signal_after_the_scripts_end_comes_too_late(job: JobTree) -> None:
    job.program = [
        "-c",
        "import os; from sift_entrypoint import failure, train\n"
        "write = failure.write_success\n"
        "failure.write_success = lambda tree: os.kill(os.getpid(), 15) or write(tree)\n"
        "raise SystemExit(train.main())",
    ]
    job.script("pass")
    done = job.run()
    assert (done.returncode, done.stderr) == (0, "")
    assert job.succeeded


def test_a_signal_while_packages_are_installed_stops_the_job(job: JobTree) -> None:
    # A pip that the signal reaches just as it is done.
    (job.base / "pip").mkdir()
    (job.base / "pip" / "__init__.py").touch()
    (job.base / "pip" / "__main__.py").write_text("import os; os.kill(os.getppid(), 15)")
    job.packages.append(job.base)
    job.script("nothing", "requirements.txt")
    job.script("print('ran')")
    done = job.run()
    assert (done.returncode, done.stdout) == (143, "")
    assert done.stderr.splitlines()[-1] == "sift: stopped by signal 15 before the script started"


@NEEDS_PROC
def test_a_signal_before_the_script_stops_the_job(job: JobTree, until: Until) -> None:
    # The configuration is a pipe that nobody writes to: the job waits there, and sleeps.
    (job.config / "hyperparameters.json").unlink()
    os.mkfifo(job.config / "hyperparameters.json")
    with job.start() as process:
        until((job.output / "data").exists)
        stat = Path(f"/proc/{process.pid}/stat")
        until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")
        process.terminate()
        _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 143
    assert err == "sift: stopped by signal 15 before the script started\n"
