"""Everything that can be wrong before the script runs, each said in one line with its mend."""

from __future__ import annotations


class EntrypointError(Exception):
    """A job that cannot start. The message is one line; ``exit_code`` is what the job ends with."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


class ContractError(EntrypointError):
    """A file of the contract (``input/config``, ``sm_drivers``) is missing or cannot be read."""


class CodeError(EntrypointError):
    """The submitted code cannot be brought to the code folder."""


class ScriptError(EntrypointError):
    """The entry point is missing, or is nothing that can be run."""


class InstallError(EntrypointError):
    """``pip install`` of the job's requirements failed."""

    exit_code = 1


class Stopped(EntrypointError):
    """A signal asked the job to stop while no script was running."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number} before the script started")
        self.exit_code = 128 + signal_number
