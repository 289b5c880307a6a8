"""The FailureReason of a job: in plain words here, in SageMaker's where a stand-in plays it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sift_launcher.errors import DeviceUnavailable, EngineUnavailable, WrongCall
from sift_launcher.local.attend import Ending
from sift_launcher.local.status import MAX_REASON
from sift_launcher.local.tree import HostTree
from sift_launcher.local.verdict import ROOM, Failure, first_failure

# How SageMaker begins its reasons: whose fault it was.
_ALGORITHM, _CLIENT = "AlgorithmError: ", "ClientError: "
_CAPACITY = (
    "CapacityError: Unable to provision requested ML compute capacity. "
    "Please retry using a different ML instance type. "
)
_INTERNAL = "InternalServerError: We encountered an internal error. Please try again. "
# What the toolkit of AWS's own images calls a script that failed.
_SCRIPT = "ExecuteUserScriptError"


class Reasons:
    """Of one job's ends."""

    def __init__(self, is_played: bool) -> None:
        """`is_played`: the request was written for SageMaker's own instances."""
        self._is_played = is_played

    def of_end(self, trees: Mapping[str, HostTree], ending: Ending) -> str | None:
        """Why the job failed whose hosts have ended, None when it did not."""
        found = first_failure(trees, ending, by_exit_code=self._is_played)
        if found is None:
            return None
        told = found.told if len(trees) == 1 else f"{found.host}: {found.told}"
        return (_as_sagemaker(found, told) if self._is_played else told)[:MAX_REASON]

    def of_no_end(self, error: Exception, *, has_trained: bool) -> str:
        """Why the job failed that could not be started, or not be brought to its end."""
        told = _told_of(error)
        if not self._is_played:
            return f"the job could not be {'ended' if has_trained else 'started'}: {told}"
        if isinstance(error, EngineUnavailable | DeviceUnavailable):
            return _CAPACITY + told
        if isinstance(error, WrongCall):
            what = "Checkpoint upload" if has_trained else "Data download"
            return f"{_CLIENT}{what} failed: {told}"
        return _INTERNAL + told

    def of_lost_outputs(self, error: Exception, place: object, kept: Path) -> str:
        """Why the job failed whose outputs could not be put to `place`."""
        told = (
            f"the job's outputs could not be collected in {place}: {_told_of(error)}; "
            f"they are kept in {kept}"
        )
        return f"{_CLIENT}Artifact upload failed: {told}" if self._is_played else told

    def of_loss(self, told: str) -> str:
        """Why the job failed that nobody supervises any more."""
        return _INTERNAL + told if self._is_played else told

    def is_internal(self, reason: str) -> bool:
        """Whether a RetryStrategy begins such a job again."""
        return reason.startswith(_INTERNAL)


def _told_of(error: Exception) -> str:
    """An error in one line, with what mends a lack of room."""
    if not isinstance(error, OSError):
        return str(error)
    where = f" ({error.filename})" if error.filename else ""
    mend = "" if isinstance(error, FileNotFoundError) else f"; {ROOM}"
    return f"{error.strerror or error}{where}{mend}"


def _as_sagemaker(found: Failure, told: str) -> str:
    code = found.exit_code
    if code is None:
        return _INTERNAL + told
    if _SCRIPT in told:  # the image's own toolkit has written it
        return f"{_ALGORITHM}{told}, exit code: {code}"
    head, tail = f'{_ALGORITHM}{_SCRIPT}:\nExitCode {code}\nErrorMessage "', f'", exit code: {code}'
    return head + told[: MAX_REASON - len(head) - len(tail)] + tail
