from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from sift_launcher.console import LiveLog
from sift_launcher.follow import follow
from sift_launcher.local.job import LocalJob
from sift_launcher.local.records import JobRecords
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.status import Status, created

LINES = 200_000


class Growing(LocalTrainingService):
    """A job whose hosts print a piece each at every look, and which ends with the last pieces."""

    def __init__(self, home: Path, **pieces: list[bytes]) -> None:
        super().__init__(home)
        self._pieces = {name.replace("_", "-"): left for name, left in pieces.items()}
        self._looks = 0
        count = {"ResourceConfig": {"InstanceCount": len(pieces)}}
        _, lock = JobRecords(home).create("job", count, {}, created(1.0))
        os.close(lock)

    @property
    def job(self) -> LocalJob:
        return LocalJob("job", self)

    def status(self, name: str) -> Status:
        for host, pieces in self._pieces.items():
            if self._looks < len(pieces):
                with (self.record(name).logs / f"{host}.log").open("ab") as log:
                    log.write(pieces[self._looks])
        self._looks += 1
        ended = self._looks >= max(map(len, self._pieces.values()))
        return {
            "TrainingJobStatus": "Completed" if ended else "InProgress",
            "SecondaryStatus": "Completed" if ended else "Training",
            "CreationTime": 1.0,
        }


def followed(service: Growing) -> bytes:
    stream = io.BytesIO()
    with LiveLog(stream, is_terminal=False) as log:
        follow(service.job, log)
    return stream.getvalue()


def cut(content: bytes, pieces: int) -> list[bytes]:
    """`content` in so many pieces, cut wherever it falls."""
    size = len(content) // pieces + 1
    return [content[start : start + size] for start in range(0, len(content), size)]


def lines_of(host: int, count: int = LINES) -> bytes:
    return b"".join(b"host %d step %d loss: 0.125\n" % (host, n) for n in range(count))


def test_no_line_is_lost_that_comes_while_the_status_is_read(tmp_path: Path):
    assert followed(Growing(tmp_path, algo_1=[b"last line\n"])) == b"last line\n"


def test_one_host_s_log_comes_byte_for_byte(tmp_path: Path):
    pieces = [b"\r 10%", b"|\r100%\nhal", b"f", b" a line\xff", b"\x00\nno end"]
    assert followed(Growing(tmp_path, algo_1=pieces)) == b"".join(pieces)


def test_of_several_hosts_whole_lines_come_under_their_names(tmp_path: Path):
    service = Growing(
        tmp_path,
        algo_1=[b"one\ntw", b"o\nthr", b"ee\n", b"no end"],
        algo_2=[b"eins", b"\n", b"zwei\ndrei\n"],
    )
    assert followed(service).decode().splitlines() == [
        "algo-1 | one",
        "algo-1 | two",
        "algo-2 | eins",
        "algo-1 | three",
        "algo-2 | zwei",
        "algo-2 | drei",
        "algo-1 | no end",
    ]


def test_names_of_hosts_take_the_same_room(tmp_path: Path):
    hosts = {f"algo_{n}": [b"x\n"] for n in range(1, 11)}
    lines = followed(Growing(tmp_path, **hosts)).decode().splitlines()
    assert sorted(lines)[:2] == ["algo-1  | x", "algo-10 | x"]


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        ([b"\r 10%", b"\r 20%", b"\r100%", b"\nnext\n"], ["100%", "next"]),
        ([b"\r 10%\r 20%"], [" 20%"]),
        ([b" 10%\r 20%\r"], [" 20%"]),
        ([b"windows\r\nlines\r", b"\n"], ["windows", "lines"]),
        ([b"\r 10%\r      \r", b"text\n"], ["text"]),
        ([b"\n\n"], ["", ""]),
    ],
)
def test_a_progress_bar_among_several_hosts_is_shown_as_it_ends(
    tmp_path: Path, pieces: list[bytes], shown: list[str]
):
    lines = followed(Growing(tmp_path, algo_1=pieces, algo_2=[b""])).decode().splitlines()
    assert lines == [f"algo-1 | {line}" for line in shown]


def test_a_line_without_end_is_not_held_for_ever(tmp_path: Path):
    service = Growing(tmp_path, algo_1=[b"x" * (1 << 20), b"y", b"z\n"], algo_2=[b""])
    assert followed(service) == b"algo-1 | " + b"x" * (1 << 20) + b"y\nalgo-1 | z\n"


def test_of_two_hundred_thousand_lines_none_is_lost_or_cut(tmp_path: Path):
    assert followed(Growing(tmp_path, algo_1=cut(lines_of(1), 7))) == lines_of(1)


def test_of_two_hosts_lines_none_is_lost_or_cut_or_out_of_order(tmp_path: Path):
    service = Growing(tmp_path, algo_1=cut(lines_of(1), 7), algo_2=cut(lines_of(2), 5))
    lines = followed(service).splitlines(keepends=True)
    for host in (1, 2):
        label = b"algo-%d | " % host
        own = [line.removeprefix(label) for line in lines if line.startswith(label)]
        assert b"".join(own) == lines_of(host)
    assert len(lines) == 2 * LINES


def test_the_log_of_a_job_that_ended_reads_the_same(tmp_path: Path):
    service = Growing(tmp_path, algo_1=[b"one\nno end"], algo_2=[b"eins\n"])
    followed(service)
    assert b"".join(service.job.log_content()) == b"algo-1 | one\nalgo-2 | eins\nalgo-1 | no end\n"


def test_every_line_reaches_a_terminal(tmp_path: Path):
    reader, terminal = os.openpty()
    received: list[bytes] = []
    with os.fdopen(terminal, "wb") as stream, Reading(reader, received.append):
        with LiveLog(stream, is_terminal=True) as log:
            follow(Growing(tmp_path, algo_1=cut(lines_of(1), 7)).job, log)
        # A mark of our own: what a closed terminal has not delivered is lost.
        stream.write(b"END\n")
        stream.flush()
    shown = b"".join(received).partition(b"END")[0]
    lines = [line.rpartition(b"\x1b[2K")[2] for line in shown.split(b"\r\n")]
    assert b"\n".join(lines) == lines_of(1)


class Reading:
    """Everything that comes out of a terminal until its mark, handed on as it comes."""

    def __init__(self, descriptor: int, hand_on: Callable[[bytes], None]) -> None:
        self._file: BinaryIO = os.fdopen(descriptor, "rb", buffering=0)
        self._thread = threading.Thread(target=self._read)
        self._hand_on = hand_on

    def _read(self) -> None:
        end = b""
        while not end.endswith(b"END\r\n"):
            content = self._file.read(1 << 16)
            end = (end + content)[-5:]
            self._hand_on(content)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join(timeout=60)
        assert not self._thread.is_alive(), "no end came"
        self._file.close()
