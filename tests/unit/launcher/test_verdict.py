from __future__ import annotations

from pathlib import Path

import pytest

from sift_launcher.local.attend import Ending
from sift_launcher.local.host_runner import HostEnd
from sift_launcher.local.reasons import Reasons
from sift_launcher.local.tree import HostTree

failure = Reasons(is_played=False).of_end


@pytest.fixture
def trees(tmp_path: Path):
    """Hosts by what they wrote: `success`, or the text of the failure file."""

    def make(*written: str) -> dict[str, HostTree]:
        trees = {}
        for number, text in enumerate(written, 1):
            base = tmp_path / str(len(list(tmp_path.iterdir())))
            tree = trees[f"algo-{number}"] = HostTree(base)
            tree.output.mkdir(parents=True)
            if text:
                (tree.output / ("success" if text == "success" else "failure")).write_text(text)
        return trees

    return make


def ending(*ends: tuple[int, int | None], told_to_stop: str = "") -> Ending:
    """Ends as (host's number, exit code), in their order."""
    return Ending(
        {f"algo-{number}": HostEnd(code) for number, code in ends},
        told_to_stop=frozenset(told_to_stop.split()),
    )


@pytest.mark.parametrize(
    ("written", "code", "reason"),
    [
        ("success", 0, None),
        ("", 0, "the job ended with exit code 0 but did not say that it succeeded"),
        ("it broke", 0, "it broke"),
        ("ValueError: x\nexit code 1", 1, "ValueError: x\nexit code 1"),
        ("success", 3, "exit code 3"),
        ("", 137, "exit code 137: it was killed, for lack of memory perhaps"),
        ("x" * 2000, 1, "x" * 1024),
    ],
)
def test_exit_code_and_files_must_agree(trees, written, code, reason):
    assert failure(trees(written), ending((1, code))) == reason


def test_what_the_runner_knows_comes_first(trees):
    end = Ending({"algo-1": HostEnd(137, "its limit of 200 MiB was met")})
    assert failure(trees("killed"), end) == "its limit of 200 MiB was met\nkilled"


def test_of_several_hosts_the_first_that_failed_is_named(trees):
    made = trees("success", "disk full", "no file")
    assert failure(made, ending((1, 0), (3, 1), (2, 1))) == "algo-3: no file"
    assert failure(trees("success", "success"), ending((2, 0), (1, 0))) is None


def test_a_host_that_only_lost_its_peer_is_not_the_reason(trees):
    lost = "RuntimeError: [pair.cc:553] Connection closed by peer [172.18.0.2]:42919"
    made = trees(lost, "ValueError: bad sample 17")
    assert failure(made, ending((1, 1), (2, 1))) == "algo-2: ValueError: bad sample 17"
    assert failure(trees(lost, lost), ending((2, 1), (1, 1))) == f"algo-2: {lost}"


def test_a_host_that_was_stopped_for_another_is_not_the_reason(trees):
    lost = "RuntimeError: Connection closed by peer"
    made = trees("stopped by signal 15", lost)
    reason = failure(made, ending((2, 1), (1, 143), told_to_stop="algo-1"))
    assert reason == f"algo-2: {lost}"
