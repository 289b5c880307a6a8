"""Lines reach the log whole, in order and complete."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from entrypoint_job import JobTree

from sift_entrypoint.lines import TAIL_BYTES, LineStream


class Log:
    """A file that tells what was written to it since it was last asked."""

    def __init__(self, path: Path) -> None:
        self.write = os.open(path, os.O_RDWR | os.O_CREAT)
        self._read = 0

    def written(self) -> str:
        new = os.pread(self.write, 1 << 22, self._read)
        self._read += len(new)
        return new.decode(errors="surrogateescape")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "log")
    yield log
    os.close(log.write)


def test_a_line_in_pieces_is_written_once_it_is_complete(log: Log) -> None:
    stream = LineStream(log.write)
    stream.feed(b"loss: ")
    assert log.written() == ""
    stream.feed(b"0.5")
    assert log.written() == ""
    stream.feed(b"\nnext")
    assert log.written() == "loss: 0.5\n"
    stream.close()
    assert log.written() == "next"


def test_a_progress_bar_passes_at_once_until_its_line_ends(log: Log) -> None:
    stream = LineStream(log.write)
    stream.feed(b"\r 10%|#")
    assert log.written() == "\r 10%|#"
    stream.feed(b"   |")
    assert log.written() == "   |"
    stream.feed(b"\r100%\nafter")
    assert log.written() == "\r100%\n"
    stream.feed(b"\n")
    assert log.written() == "after\n"


def test_a_windows_line_ending_stays_one_line(log: Log) -> None:
    stream = LineStream(log.write)
    stream.feed(b"one\r\ntwo\r\n")
    assert log.written() == "one\r\ntwo\r\n"


def test_a_line_without_end_is_not_held_for_ever(log: Log) -> None:
    stream = LineStream(log.write)
    for _ in range(32):
        stream.feed(b"x" * 32 * 1024)
    assert log.written() == ""
    stream.feed(b"y")
    assert log.written() == "x" * 1024 * 1024 + "y"


def test_bytes_that_are_no_text_pass_unchanged(log: Log) -> None:
    LineStream(log.write).feed(b"\xff\xfe\x00\n")
    assert log.written().encode(errors="surrogateescape") == b"\xff\xfe\x00\n"


def test_the_tail_is_what_came_last(log: Log) -> None:
    stream = LineStream(log.write)
    expected = b"".join(b"%d\n" % number for number in range(100_000))[-TAIL_BYTES:]
    for number in range(100_000):
        stream.feed(b"%d\n" % number)
        assert number % 997 or len(stream.tail) <= TAIL_BYTES
        assert number % 997 or stream.tail.endswith(b"%d\n" % number)
    assert stream.tail == expected


def test_a_reader_that_went_away_is_kept_as_the_streams_error(log: Log) -> None:
    read, write = os.pipe()
    os.close(read)
    stream = LineStream(write)
    stream.feed(b"line\n")
    os.close(write)
    assert isinstance(stream.error, BrokenPipeError)


def test_both_streams_stay_apart_and_complete(job: JobTree) -> None:
    job.script(
        """
        import sys
        for number in range(20000):
            print(f"out {number}")
            if number % 10 == 0:
                print(f"err {number}", file=sys.stderr)
        print("last", end="")
        """
    )
    done = job.run()
    assert done.stdout == "".join(f"out {n}\n" for n in range(20000)) + "last"
    assert done.stderr == "".join(f"err {n}\n" for n in range(0, 20000, 10))


@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_ranks_that_print_at_once_never_share_a_line(job: JobTree, unbuffered: str) -> None:
    # Unbuffered ranks write a line's text and its newline apart, others cut lines where a buffer
    # is full. A stand-in for torchrun that starts its ranks as torchrun does: the same pipe,
    # LOCAL_WORLD_SIZE in their environment.
    job.script(
        """
        import os, subprocess, sys
        rank = "for n in range(3000): print('rank', RANK, 'step', n)"
        os.environ["LOCAL_WORLD_SIZE"] = "4"
        ranks = [
            subprocess.Popen([sys.executable, "-c", rank.replace("RANK", str(r))])
            for r in range(4)
        ]
        sys.exit(max(rank.wait() for rank in ranks))
        """
    )
    done = job.run(PYTHONUNBUFFERED=unbuffered)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 12000
    assert all(re.fullmatch(r"rank \d step \d+", line) for line in lines)
