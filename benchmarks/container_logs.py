"""How fast a script's lines come through to a terminal, and whether all of them do, whole."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import re
import statistics
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.container_peers import TOOLKIT
from benchmarks.measure import Figure, Part
from benchmarks.startup import LAUNCH, lay_out

LINES = 500_000
ROWS, COLUMNS = 24, 80
FORMAT = (
    "step={:07d} loss=0.693147 accuracy=0.512345 learning_rate=0.001000 samples_per_second=12345.6"
)
"""Longer than the terminal is wide, which must not split it."""

# Whole blocks of text, cut without regard to lines: the script's own speed must not count.
SCRIPT = f"""
import os
lines = "".join({FORMAT!r}.format(number) + "\\n" for number in range({LINES}))
text = lines.encode()
for start in range(0, len(text), 50_000):
    rest = memoryview(text)[start : start + 50_000]
    while rest:
        rest = rest[os.write(1, rest):]
"""
PRINTING = f"for number in range({LINES}): print({FORMAT!r}.format(number))\n"

# What a terminal shows of a line: what follows the last time that it was erased, as the line of
# the job's state is before each batch of the log.
_SHOWN = re.compile(rb"^(?:[^\n]*\r\x1b\[2K)?(step=\d{7}[^\r\n]*)\r*\n", re.MULTILINE)


def logs(scratch: Path, image: str, rounds: int) -> Part:
    """Both through a pseudo-terminal, one after the other."""
    numbers = itertools.count()
    env = os.environ | {"SIFT_LAUNCHER_HOME": str(scratch / "home")}
    output = ["--output", str(scratch / "output")]

    def script(name: str, text: str) -> Path:
        path = scratch / name / "train.py"
        path.parent.mkdir(parents=True)
        path.write_text(text)
        return path

    in_blocks, printing = script("blocks", SCRIPT), script("printing", PRINTING)

    def ours(path: Path) -> list[str]:
        name = f"logs-{next(numbers)}"
        options = ["--instance", "local", "--image", image, "--name", name, *output]
        return [LAUNCH, *options, str(path)]

    def toolkit(path: Path) -> list[str]:
        tree = lay_out(scratch / f"ml-{next(numbers)}", path, "/opt/ml/code")
        options = ["--rm", "--hostname", "algo-1", "--volume", f"{tree}:/opt/ml"]
        return ["docker", "run", *options, TOOLKIT, "train"]

    arms: dict[str, Callable[[], list[str]]] = {
        "ours": lambda: ours(in_blocks),
        "toolkit": lambda: toolkit(in_blocks),
        "ours, print()": lambda: ours(printing),
        "toolkit, print()": lambda: toolkit(printing),
    }
    rates: dict[str, list[float]] = {arm: [] for arm in arms}
    spoilt: dict[str, list[int]] = {arm: [] for arm in arms}
    for _ in range(max(3, rounds // 2)):
        for arm, command in arms.items():
            rate, missing = through_a_terminal(command(), env)
            rates[arm].append(round(rate))
            spoilt[arm].append(missing)
    figures = []
    for mine, peer, how in (
        ("ours", "toolkit", "written in blocks"),
        ("ours, print()", "toolkit, print()", "one print() each"),
    ):
        rate, its_rate = statistics.median(rates[mine]), statistics.median(rates[peer])
        worst, its_worst = max(spoilt[mine]), max(spoilt[peer])
        runs = len(rates[mine])
        claim = "at least 100,000/s" if mine == "ours" else ""
        holds = rate >= 100_000 if claim else None
        figures += [
            Figure(
                f"log lines a second to a terminal, {how}",
                rate,
                "",
                f"docker run, {peer}",
                its_rate,
                claim,
                holds,
                runs,
            ),
            Figure(
                f"lines of {LINES:,} lost or split in the worst run, {how}",
                worst,
                "",
                f"docker run, {peer}",
                its_worst,
                "none",
                worst == 0,
                runs,
            ),
        ]
    return Part(
        figures,
        {
            **{f"lines a second: {arm}": values for arm, values in rates.items()},
            **{f"lost or split: {arm}": values for arm, values in spoilt.items()},
        },
        [
            f"- Logs: a line has {len(FORMAT.format(0))} characters, the terminal {COLUMNS} "
            "columns; from the first line's arrival to the last one's."
        ],
    )


def through_a_terminal(command: Sequence[str], env: dict[str, str]) -> tuple[float, int]:
    """The lines a second that came out of a terminal, and how many did not come out whole."""
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=writer, stderr=writer, env=env
    )
    os.close(writer)
    text, arrivals = bytearray(), []
    while chunk := _read(reader):
        text += chunk
        arrivals.append((len(text), time.perf_counter()))
    os.close(reader)
    if code := process.wait():
        sys.stderr.write(text[-2000:].decode("utf-8", "replace"))
        raise RuntimeError(f"{' '.join(command)} ended with {code}")
    whole = {match[1]: match.end() for match in _SHOWN.finditer(bytes(text))}
    wanted = [FORMAT.format(number).encode() for number in range(LINES)]
    found = [line for line in wanted if line in whole]
    if len(found) < 2:
        raise RuntimeError(f"no lines came through: {bytes(text[-500:])!r}")
    first, last = (
        next(at for end, at in arrivals if end >= whole[line]) for line in (found[0], found[-1])
    )
    return (len(found) - 1) / (last - first), LINES - len(found)


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, 1 << 16)
    except OSError:  # EIO: nobody has the other end any more
        return b""
