"""Every error that a user can cause, as one typed exception with one line of text.

The text says what is wrong, where, and what to type instead. The class says what the command's
exit code is: 2 for a wrong call, 1 for a job that failed, 130 for an interrupt.
"""

from __future__ import annotations

from typing import ClassVar


class SiftLaunchError(Exception):
    """The root of all errors that are the user's to mend. `str(error)` is a single line."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class WrongCall(SiftLaunchError):
    """Nothing was started: the call itself cannot be served."""

    exit_code = 2


class ScriptError(WrongCall):
    """The script is missing, is not a script, or does not compile."""


class CodeBundleError(WrongCall):
    """The source folder cannot be packed: missing, without the script, or absurdly large."""


class InstanceNotServed(WrongCall):
    """This build cannot run a job on the instance type asked for."""


class InterpreterError(WrongCall):
    """The interpreter that the job should run in is not there or is no Python."""


class OptionError(WrongCall):
    """An option has a value that cannot be used, or contradicts another."""


class SiftConfigError(OptionError):
    """The sifting options or the `sift_config` do not hold together."""


class ValidationError(WrongCall):
    """SageMaker would refuse this request: a name, a limit or a missing field."""


class ChannelError(WrongCall):
    """The path of a data channel is missing."""


class OutputError(WrongCall):
    """The output folder cannot be written."""


class StateFolderError(WrongCall):
    """The folder that keeps the job records cannot be written."""


class ResourceInUse(WrongCall):
    """A job of that name exists."""


class ResourceNotFound(WrongCall):
    """No job, or no receipt of a job, has that name."""


class JobHasEnded(WrongCall):
    """The job is over: there is nothing left to stop."""


class SettingsFileError(WrongCall):
    """`sift.toml` (or `[tool.sift]`) cannot be read, or holds what no option takes."""


class SecretFound(WrongCall):
    """What would travel with the job looks like a secret: a file, a hyperparameter, a variable."""


class CredentialsError(WrongCall):
    """AWS gets no credentials, or expired or unknown ones."""


class AccessDenied(WrongCall):
    """AWS refuses a call: the text names the permission that is missing, and whose."""


class RegionError(WrongCall):
    """No region is set, two of them contradict each other, or it does not have what is asked."""


class RoleError(WrongCall):
    """The role is missing, cannot be assumed by SageMaker, or lacks a permission that is named."""


class BucketError(WrongCall):
    """A bucket or an object is missing, lies in another region, or is somebody else's."""


class BucketMissing(BucketError):
    """There is no bucket of that name."""


class QuotaError(WrongCall):
    """The account may not run as many instances of that type."""


class PriceUnknown(WrongCall):
    """What the job can cost is not known, and the call depends on it."""


class BudgetExceeded(WrongCall):
    """The job can cost more than --budget allows."""


class ConfirmationNeeded(WrongCall):
    """A paid job was neither confirmed nor declined."""


class CloudRefused(SiftLaunchError):
    """AWS refuses a request for a reason of its own, which the text cites."""


class CloudUnreachable(SiftLaunchError):
    """AWS does not answer, again and again; jobs there go on."""


class RehearsalError(SiftLaunchError):
    """The rehearsal on this machine does not start, or does not answer."""


class ExtraMissing(WrongCall):
    """A package of an optional extra is not installed; the text holds the pip command."""


class EngineUnavailable(WrongCall):
    """No Docker engine answers, or this user may not talk to it, or it cannot do what is asked."""


class ImageUnfit(WrongCall):
    """The image is missing, for another architecture, or lacks what a job needs in it."""


class ImageMissing(ImageUnfit):
    """The image is not on this machine."""


class DeviceUnavailable(WrongCall):
    """The engine cannot give a container the GPUs that were asked for."""


class BuildFailed(SiftLaunchError):
    """The image could not be built; the text ends with what the failing step said."""


class PushFailed(SiftLaunchError):
    """The image is built but could not be pushed to its repository."""


class MetricNotFound(WrongCall):
    """The log of a pilot's run has no figure to compare runs by."""


class JobFailed(SiftLaunchError):
    """The job ran and failed; the text names the reason and the log."""

    exit_code = 1


class JobInterrupted(SiftLaunchError):
    """The user stopped the job with Ctrl-C; its outputs are kept."""

    exit_code = 130
