"""What holds for all tests: in CI a skip is a failure, for nobody would see what it hides."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Iterator
from typing import TypeVar

import pytest
from aws_stand_in import StandInAws, stand_in_aws

# A shell has what it runs in the background ignore Ctrl-C; tests that press it need it.
signal.signal(signal.SIGINT, signal.default_int_handler)

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where tests run side by side, those of containers stay one after the other: they share an
    engine, and look for what others left in it."""
    for item in items:
        if item.get_closest_marker("docker"):
            item.add_marker(pytest.mark.xdist_group("docker"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return no_skip_in_ci((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return no_skip_in_ci((yield))


def no_skip_in_ci(report: R) -> R:
    if os.environ.get("CI") and report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"skipped, and CI runs everything: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def aws_server() -> Iterator[StandInAws]:
    with stand_in_aws() as server:
        yield server


@pytest.fixture
def aws(aws_server: StandInAws, monkeypatch: pytest.MonkeyPatch) -> StandInAws:
    """AWS's APIs on this machine, empty at first; the environment leads there and nowhere else."""
    aws_server.reset()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in aws_server.environment.items():
        monkeypatch.setenv(name, value)
    return aws_server
