"""What a failed job leaves behind: ``output/failure``, the cause in its first line."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .child import Outcome
    from .contract import Tree
    from .memory import MemoryWatch

LIMIT = 1024  # SageMaker's FailureReason is the file's first 1,024 characters
_CAUSE_LIMIT = 600
_OUT_OF_MEMORY = "OutOfMemory: "
_KILLED = 9
_TRACEBACK = "Traceback (most recent call last):"
_EXCEPTION = re.compile(
    r"(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Warning)(?::|$)"
)
_COMPLAINT = re.compile(r"\berror:|: not found$|: command not found$", re.IGNORECASE)
_MEMORY = re.compile(
    r"^(?:[\w.]*\.)?OutOfMemoryError\b|^MemoryError\b|^(?:[\w.]*\.)?ArrayMemoryError\b"
    r"|out of memory|can't allocate memory|Cannot allocate memory"
)
# How a script that goes on tells that a process of its own was killed.
_CHILD_KILLED = re.compile(r"killed|SIGKILL|terminated abruptly", re.IGNORECASE)
_RANK_PREFIX = re.compile(r"^\[rank\d+\]: ?", re.MULTILINE)
_ROOT_RANK = re.compile(r"Root Cause.*?^\s*rank\s*:\s*(\d+)", re.DOTALL | re.MULTILINE)
_ROOT_EXIT = re.compile(r"Root Cause.*?^\s*exitcode\s*:\s*(-?\d+)", re.DOTALL | re.MULTILINE)
_RANKS_FAILED = "ChildFailedError"


def exit_code(outcome: Outcome) -> int:
    """The job's exit code: the script's own, ``128 + n`` where signal ``n`` killed it.

    torchrun ends with 1 whatever its ranks end with; the rank that failed first counts.
    """
    code = _returncode(outcome)
    return 128 - code if code < 0 else code


def describe(outcome: Outcome, memory: MemoryWatch) -> str:
    """Why the script failed: the cause, its exit code, the end of its traceback.

    At most 1,024 characters. A script that ended by itself without an exception is described by
    its exit code and the last lines it printed to standard error. ``memory`` has watched the run.
    """
    code = _returncode(outcome)
    text = _of_root_rank(outcome.stderr_tail.decode("utf-8", "replace")).strip("\n")
    lines = text.splitlines()
    start = _traceback_start(lines)
    cause = _cause(code, lines, start, memory)
    head = f"exit code {exit_code(outcome)}"
    if cause:
        head = f"{cause[:_CAUSE_LIMIT]}\n{head}"
    rest = "\n".join(lines[start:] if start is not None and cause else lines)
    room = LIMIT - len(head) - 1
    if len(rest) > room:
        rest = "…" + rest[len(rest) - room + 1 :]
    return f"{head}\n{rest}" if rest else head


def write_failure(tree: Tree, message: str) -> str | None:
    """Write the failure file; what prevented it, or None. A script's own file is left alone."""
    try:
        with open(tree.failure, "x", encoding="utf-8") as file:
            file.write(message[:LIMIT])
    except FileExistsError:
        return None
    except OSError as error:
        return f"cannot write {tree.failure}: {error.strerror}"
    return None


def write_success(tree: Tree) -> str | None:
    """Write the success file; what prevented it, or None."""
    try:
        with open(tree.success, "w", encoding="utf-8"):
            return None
    except OSError as error:
        return f"cannot write {tree.success}: {error.strerror}"


def _returncode(outcome: Outcome) -> int:
    if outcome.returncode == 1:
        text = outcome.stderr_tail.decode("utf-8", "replace")
        found = _ROOT_EXIT.search(text) if _RANKS_FAILED in text else None
        if found and int(found[1]) != 0:
            return int(found[1])
    return outcome.returncode


def _of_root_rank(text: str) -> str:
    """Where torchrun names the rank that failed first, that rank's own lines, else all of them."""
    root = _ROOT_RANK.search(text) if _RANKS_FAILED in text else None
    if root:
        prefix = f"[rank{root[1]}]:"
        own = [line for line in text.splitlines() if line.startswith(prefix)]
        text = "\n".join(own) or text[: text.find(_RANKS_FAILED)]
    return _RANK_PREFIX.sub("", text)


def _traceback_start(lines: list[str]) -> int | None:
    """Where the last traceback begins that is not torchrun's own."""
    starts = [index for index, line in enumerate(lines) if line.strip() == _TRACEBACK]
    for index in reversed(starts):
        if not any("torch/distributed/run.py" in line for line in lines[index : index + 12]):
            return index
    return None


def _cause(code: int, lines: list[str], start: int | None, memory: MemoryWatch) -> str:
    """One line for why the script failed; empty where it only says so by its exit code."""
    if code in (-_KILLED, 128 + _KILLED):
        return _killed(memory)
    if code < 0:
        return f"killed by signal {-code}"
    exception = _exception(lines, start)
    last_words = exception or "\n".join(lines[-3:])
    if _CHILD_KILLED.search(last_words) and memory.killed():
        return f"{_OUT_OF_MEMORY}a process of the job was killed as {_ran_out(memory)}"
    if code == 1 and exception:
        return _OUT_OF_MEMORY + exception if _MEMORY.search(exception) else exception
    if lines and _COMPLAINT.search(lines[-1]):
        return lines[-1].strip()
    return ""


def _killed(memory: MemoryWatch) -> str:
    known = memory.killed()
    if known:
        return f"{_OUT_OF_MEMORY}killed by SIGKILL (signal 9) as {_ran_out(memory)}"
    if known is None:
        return (
            f"{_OUT_OF_MEMORY}killed by SIGKILL (signal 9), as a host does when its memory is full"
        )
    return "killed by SIGKILL (signal 9) from outside: memory had not run out"


def _ran_out(memory: MemoryWatch) -> str:
    limit = memory.limit()
    return f"memory ran out (limit {limit})" if limit else "this machine's memory ran out"


def _exception(lines: list[str], start: int | None) -> str:
    """The line ``Type: message`` that ends a traceback, or a SyntaxError's, which has none."""
    if start is not None:
        for line in lines[start + 1 :]:
            if line and not line[0].isspace():
                return line
    for line in reversed(lines):
        if _EXCEPTION.match(line):
            return line
    return ""
