"""What a failed script printed, told in 1,024 characters with the cause first."""

from __future__ import annotations

import pytest

from sift_entrypoint.child import Outcome
from sift_entrypoint.failure import LIMIT, exit_code
from sift_entrypoint.failure import describe as describe_watched
from sift_entrypoint.memory import MemoryWatch

FRAMES = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n    f()\n'
RANKS = """\
W 1 torch/distributed/elastic/multiprocessing/api.py:900] Sending process 8 closing signal SIGTERM
E 1 torch/distributed/elastic/multiprocessing/api.py:874] failed (exitcode: {code}) local_rank: 1
Traceback (most recent call last):
  File "<frozen runpy>", line 198, in _run_module_as_main
  File "/site-packages/torch/distributed/run.py", line 896, in <module>
    main()
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Failures:
  <NO_OTHER_FAILURES>
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2025-01-01_00:00:00
  host      : algo-1
  rank      : 1 (local_rank: 1)
  exitcode  : {code} (pid: 9)
  error_file: <N/A>
  traceback : To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html
============================================================
"""


class Watched(MemoryWatch):
    """A watch over a run whose end is known."""

    __slots__ = ("_known",)

    def __init__(self, killed: bool | None = None, limit: str = "") -> None:
        self._known = killed, limit

    def killed(self) -> bool | None:
        return self._known[0]

    def limit(self) -> str:
        return self._known[1]


def describe(outcome: Outcome, memory: MemoryWatch | None = None) -> str:
    return describe_watched(outcome, memory or Watched())


def _failed(code: int, stderr: str) -> Outcome:
    return Outcome(code, b"", stderr.encode())


@pytest.mark.parametrize(
    ("code", "stderr", "lines"),
    [
        (1, FRAMES + "ValueError: bad shape\n", ["ValueError: bad shape", "exit code 1"]),
        (1, FRAMES + "KeyboardInterrupt\n", ["KeyboardInterrupt", "exit code 1"]),
        (
            1,
            FRAMES + "KeyError: 'a'\n\nDuring handling of the above exception, another exception "
            "occurred:\n\n" + FRAMES + "my.Oops: b\n",
            ["my.Oops: b", "exit code 1"],
        ),
        (
            1,
            FRAMES + "RuntimeError: Error(s) in loading\n\tMissing key\nsize mismatch\n",
            ["RuntimeError: Error(s) in loading", "exit code 1"],
        ),
        (
            1,
            '  File "train.py", line 1\n    def (:\n        ^\nSyntaxError: invalid syntax\n',
            ["SyntaxError: invalid syntax", "exit code 1"],
        ),
        (
            1,
            FRAMES + "ValueError: bad\nlate words of a library\n",
            ["ValueError: bad", "exit code 1"],
        ),
        (2, "usage: t\nt: error: no such option: --x\n", ["t: error: no such option: --x"]),
        (127, "run.sh: line 2: foo: not found\n", ["run.sh: line 2: foo: not found"]),
        (3, FRAMES + "ValueError: caught and logged\n", ["exit code 3"]),
        (1, "please set --data\n", ["exit code 1", "please set --data"]),
        (4, "", ["exit code 4"]),
        (-11, "words\n", ["killed by signal 11", "exit code 139", "words"]),
    ],
)
def test_the_cause_comes_first(code: int, stderr: str, lines: list[str]) -> None:
    assert describe(_failed(code, stderr)).splitlines()[: len(lines)] == lines


@pytest.mark.parametrize(
    ("code", "last", "first"),
    [
        (
            -9,
            "",
            "OutOfMemory: killed by SIGKILL (signal 9), as a host does when its memory is full",
        ),
        (
            137,
            "",
            "OutOfMemory: killed by SIGKILL (signal 9), as a host does when its memory is full",
        ),
        (1, "MemoryError\n", "OutOfMemory: MemoryError"),
        (1, "MemoryError: 8 GiB\n", "OutOfMemory: MemoryError: 8 GiB"),
        (
            1,
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB\n",
            "OutOfMemory: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        ),
        (
            1,
            "RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory\n",
            "OutOfMemory: RuntimeError: [enforce fail] DefaultCPUAllocator: can't allocate memory",
        ),
        (1, "OSError: [Errno 12] Cannot allocate memory\n", "OutOfMemory: OSError: [Errno 12] "),
        (1, "ValueError: memory\n", "ValueError: memory"),
    ],
)
def test_out_of_memory_is_named(code: int, last: str, first: str) -> None:
    assert describe(_failed(code, FRAMES + last)).startswith(first)


@pytest.mark.parametrize(
    ("killed", "limit", "first"),
    [
        (
            True,
            "64 MiB",
            "OutOfMemory: killed by SIGKILL (signal 9) as memory ran out (limit 64 MiB)",
        ),
        (True, "", "OutOfMemory: killed by SIGKILL (signal 9) as this machine's memory ran out"),
        (False, "64 MiB", "killed by SIGKILL (signal 9) from outside: memory had not run out"),
    ],
)
def test_what_the_system_knows_of_a_kill_is_told(killed: bool, limit: str, first: str) -> None:
    told = describe(_failed(-9, ""), Watched(killed, limit))
    assert told == f"{first}\nexit code 137"


@pytest.mark.parametrize(
    "words",
    [
        FRAMES + "RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed.",
        FRAMES + "subprocess.CalledProcessError: Command 'x' died with <Signals.SIGKILL: 9>.",
        FRAMES + "concurrent.futures.process.BrokenProcessPool: A process in the process pool was "
        "terminated abruptly while the future was running or pending.",
        "./run.sh: line 3:    12 Killed                  python prepare.py",
    ],
)
def test_a_child_of_the_script_that_memory_killed_is_told(words: str) -> None:
    told = describe(_failed(1, words + "\n"), Watched(True, "64 MiB"))
    assert told == (
        "OutOfMemory: a process of the job was killed as memory ran out (limit 64 MiB)\n"
        f"exit code 1\n{words}"
    )
    assert not describe(_failed(1, words), Watched(False)).startswith("OutOfMemory")


def test_a_kill_that_the_script_survived_is_not_the_cause_of_another_error() -> None:
    told = describe(_failed(1, FRAMES + "ValueError: bad shape\n"), Watched(True, "64 MiB"))
    assert told.startswith("ValueError: bad shape\nexit code 1\n")


def test_the_traceback_follows_and_its_end_survives_the_limit() -> None:
    frames = "".join(f'  File "deep.py", line {n}, in f\n    f({n})\n' for n in range(200))
    text = f"Traceback (most recent call last):\n{frames}ValueError: deep\n"
    told = describe(_failed(1, text))
    assert len(told) == LIMIT == 1024
    assert told.startswith("ValueError: deep\nexit code 1\n…")
    assert told.endswith('  File "deep.py", line 199, in f\n    f(199)\nValueError: deep')


def test_a_long_message_leaves_room_for_the_exit_code() -> None:
    told = describe(_failed(1, FRAMES + "ValueError: " + "x" * 5000))
    assert len(told) == 1024
    assert "\nexit code 1\n" in told


@pytest.mark.parametrize(("code", "job"), [(3, 3), (-9, 137), (-15, 143), (1, 1)])
def test_the_exit_code_of_the_rank_that_failed_first_counts(code: int, job: int) -> None:
    assert exit_code(_failed(1, RANKS.format(code=code))) == job


def test_the_first_failed_ranks_own_words_are_the_cause() -> None:
    def of(rank: int, text: str) -> str:
        return "".join(f"[rank{rank}]: {line}\n" for line in text.splitlines())

    stderr = of(1, FRAMES + "ValueError: first") + of(0, FRAMES + "RuntimeError: peer has gone")
    told = describe(_failed(1, stderr + RANKS.format(code=1)))
    assert told == f"ValueError: first\nexit code 1\n{FRAMES}ValueError: first"


def test_a_rank_that_was_killed_is_named_out_of_memory() -> None:
    told = describe(_failed(1, RANKS.format(code=-9)))
    assert told.startswith("OutOfMemory: killed by SIGKILL")
    assert "exit code 137" in told


def test_text_that_is_no_utf8_is_told_all_the_same() -> None:
    told = describe(Outcome(1, b"", FRAMES.encode() + b"ValueError: \xff\n"))
    assert told.startswith("ValueError: \ufffd\nexit code 1\n")
