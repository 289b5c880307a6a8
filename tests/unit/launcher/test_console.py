from __future__ import annotations

import io

from sift_launcher.console import LiveLog

CLEAR = b"\r\x1b[2K"


def drawn(text: str) -> bytes:
    return b"\x1b[2m" + text.encode() + b"\x1b[0m"


def test_a_log_that_is_no_terminal_is_the_script_s_bytes_alone():
    stream = io.BytesIO()
    with LiveLog(stream, is_terminal=False) as log:
        log.show("status")
        log.write(b"a\x1b[1m\xff\r")
        log.write(b"\n")
    assert stream.getvalue() == b"a\x1b[1m\xff\r\n"


def test_lines_come_above_the_status_line_and_it_goes_at_the_end():
    stream = io.BytesIO()
    with LiveLog(stream, is_terminal=True) as log:
        log.show("one")
        log.write(b"line\n")
        log.show("two")
        log.show("two")
    assert stream.getvalue() == (
        drawn("one") + CLEAR + b"line\n" + drawn("one") + CLEAR + drawn("two") + CLEAR
    )


def test_half_a_line_is_never_written_over():
    stream = io.BytesIO()
    with LiveLog(stream, is_terminal=True) as log:
        log.write(b"50 %")
        log.show("status")
        log.write(b"\r100 %\n")
        log.show("status")
    assert stream.getvalue() == b"50 %\r100 %\n" + drawn("status") + CLEAR
