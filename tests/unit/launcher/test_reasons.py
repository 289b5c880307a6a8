"""FailureReasons, in plain words and in SageMaker's."""

from __future__ import annotations

from pathlib import Path

import pytest

from sift_launcher.errors import BucketError, CloudUnreachable, EngineUnavailable, RegionError
from sift_launcher.local.attend import Ending
from sift_launcher.local.host_runner import HostEnd
from sift_launcher.local.reasons import Reasons
from sift_launcher.local.tree import HostTree

PLAIN, PLAYED = Reasons(is_played=False), Reasons(is_played=True)
NO_DISK = OSError(28, "No space left on device", "/x")


@pytest.fixture
def tree(tmp_path: Path) -> HostTree:
    tree = HostTree(tmp_path)
    tree.output.mkdir()
    return tree


def reason(tree: HostTree, code: int | None, text: str = "", hosts: int = 1) -> str | None:
    if text:
        (tree.output / "failure").write_text(text)
    ends = {f"algo-{hosts}": HostEnd(code, "" if code is not None else "it is gone")}
    trees = {f"algo-{number}": tree for number in range(1, hosts + 1)}
    return PLAYED.of_end(trees, Ending(ends))


def test_a_script_that_failed_is_an_algorithm_error(tree):
    assert reason(tree, 3, "ValueError: bad\nexit code 3") == (
        "AlgorithmError: ExecuteUserScriptError:\nExitCode 3\n"
        'ErrorMessage "ValueError: bad\nexit code 3", exit code: 3'
    )


def test_of_several_hosts_the_one_that_failed_is_named(tree):
    assert 'ErrorMessage "algo-2: bad", exit code: 1' in str(reason(tree, 1, "bad", hosts=2))


def test_a_host_that_was_killed_before_it_could_say_why_lacked_memory_perhaps(tree):
    assert reason(tree, 137) == (
        "AlgorithmError: ExecuteUserScriptError:\nExitCode 137\n"
        'ErrorMessage "exit code 137: it was killed, for lack of memory perhaps", exit code: 137'
    )


def test_what_the_images_own_toolkit_wrote_is_not_wrapped_again(tree):
    assert reason(tree, 1, 'ExecuteUserScriptError:\nExitCode 1\nErrorMessage ""') == (
        'AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "", exit code: 1'
    )


def test_a_long_reason_keeps_its_end(tree):
    told = str(reason(tree, 1, "é" * 2000))
    assert len(told) == 1024
    assert told.endswith('é", exit code: 1')


def test_a_host_that_is_lost_is_the_services_own_error(tree):
    told = str(reason(tree, None))
    assert told.startswith("InternalServerError: We encountered an internal error.")
    assert told.endswith("it is gone")
    assert PLAYED.is_internal(told)
    assert not PLAYED.is_internal("AlgorithmError: x")


def test_in_sagemaker_any_program_has_succeeded_that_ends_with_0(tree):
    assert reason(tree, 0, "half a failure") is None


@pytest.mark.parametrize(
    ("error", "has_trained", "told"),
    [
        (BucketError("no s3://b"), False, "ClientError: Data download failed: no s3://b"),
        (BucketError("no s3://b"), True, "ClientError: Checkpoint upload failed: no s3://b"),
        (RegionError("none"), False, "ClientError: Data download failed: none"),
        (
            EngineUnavailable("no engine"),
            False,
            "CapacityError: Unable to provision requested ML compute capacity. Please retry using "
            "a different ML instance type. no engine",
        ),
        (
            CloudUnreachable("gone"),
            False,
            "InternalServerError: We encountered an internal error. Please try again. gone",
        ),
    ],
)
def test_what_could_not_be_brought_to_its_end_is_told_in_sagemakers_words(error, has_trained, told):
    assert PLAYED.of_no_end(error, has_trained=has_trained) == told


def test_here_it_is_told_in_plain_words():
    assert PLAIN.of_no_end(BucketError("no s3://b"), has_trained=False) == (
        "the job could not be started: no s3://b"
    )
    assert PLAIN.of_no_end(NO_DISK, has_trained=True).startswith(
        "the job could not be ended: No space left on device (/x); make room"
    )


def test_a_job_that_lost_its_supervisor_is_the_services_own_error():
    assert PLAIN.of_loss("it is gone") == "it is gone"
    assert PLAYED.is_internal(PLAYED.of_loss("it is gone"))


def test_outputs_that_cannot_be_put_are_told_with_where_they_are():
    told = "the job's outputs could not be collected in s3://b: no s3://b; they are kept in /x"
    error = BucketError("no s3://b")
    assert PLAIN.of_lost_outputs(error, "s3://b", Path("/x")) == told
    assert PLAYED.of_lost_outputs(error, "s3://b", Path("/x")) == (
        f"ClientError: Artifact upload failed: {told}"
    )
