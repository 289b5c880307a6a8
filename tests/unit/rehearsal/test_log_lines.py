from __future__ import annotations

from sift_launcher.rehearsal.log_lines import LONGEST_LINE, Lines, Metrics, batches


def test_lines_are_whole_however_they_come():
    lines = Lines()
    assert lines.feed(b"on") == []
    assert lines.feed(b"e\ntwo\n\nthr") == [b"one", b"two", b""]
    assert lines.end() == [b"thr"]
    assert lines.end() == []


def test_a_line_that_no_event_can_hold_is_cut_and_nothing_of_it_is_lost():
    lines = Lines()
    text = b"x" * (LONGEST_LINE + 7)
    assert [len(part) for part in lines.feed(text + b"\n")] == [262_118, 7]
    endless = lines.feed(text)
    assert [len(part) for part in [*endless, *lines.feed(b"end\n")]] == [262_118, 7, 3]


def test_a_batch_holds_at_most_ten_thousand_events():
    found = list(batches([b"a"] * 20_001, 5))
    assert [len(batch) for batch in found] == [10_000, 10_000, 1]
    assert found[2] == [{"timestamp": 5, "message": "a"}]


def test_a_batch_holds_at_most_a_mebibyte_with_26_bytes_for_each_event():
    # Four of these are 1,048,576 bytes exactly.
    assert [len(batch) for batch in batches([b"x" * 262_118] * 5, 0)] == [4, 1]
    # In UTF-8, where this letter has two bytes.
    letters = "ä".encode() * 131_059
    assert [len(batch) for batch in batches([letters] * 4 + [b""], 0)] == [4, 1]


def test_an_empty_line_is_an_event_and_broken_text_is_shown():
    (batch,) = batches([b"", b"a\xffb"], 0)
    assert [event["message"] for event in batch] == [" ", "a\ufffdb"]


def test_a_metric_is_the_last_value_that_its_expression_finds():
    metrics = Metrics(
        [
            {"Name": "loss", "Regex": "loss=([0-9.e-]+)"},
            {"Name": "never", "Regex": "never=(.*)"},
            {"Name": "groupless", "Regex": "loss="},
        ]
    )
    metrics.search([b"loss=0.5", b"loss=0.25 and more", b"nothing"], 1500)
    metrics.search([b"nothing here"], 2500)
    assert metrics.final() == [{"MetricName": "loss", "Value": 0.25, "Timestamp": 1.5}]
    metrics.search([b"loss=e-", b"loss=1e-3", b"loss=."], 3500)
    assert metrics.final() == [{"MetricName": "loss", "Value": 0.001, "Timestamp": 3.5}]
