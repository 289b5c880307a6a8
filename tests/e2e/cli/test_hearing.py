"""When a process begins to hear a signal, as the system shows it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from sift_launcher.local.hearing import hears

TOLD = """
import signal, sys
sys.stdin.readline()
{listen}
print("listens", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(
    "listen",
    [
        "signal.signal(signal.SIGTERM, print)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])",
    ],
)
def test_a_process_hears_a_signal_once_it_has_a_handler_or_holds_it_back(listen):
    command = [sys.executable, "-c", TOLD.format(listen=listen)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen(command, **pipes) as process:
        # Every control group's path has a slash in it.
        assert hears("/", process.pid, signal.SIGTERM) is False
        process.stdin.write("\n")
        assert process.stdout.readline() == "listens\n"
        assert hears("/", process.pid, signal.SIGTERM) is True
        assert hears("/", process.pid, signal.SIGHUP) is False
        assert hears("another", process.pid, signal.SIGTERM) is None
        pid = process.pid
    assert hears("/", pid, signal.SIGTERM) is None
