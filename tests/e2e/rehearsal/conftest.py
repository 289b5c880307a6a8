from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from rehearsed_aws import Rehearsed

from sift_launcher.rehearsal.start import ensure_server, stop_server


@pytest.fixture(scope="session")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsed]:
    """One rehearsal for all tests: each names its jobs as no other does."""
    state = tmp_path_factory.mktemp("rehearsal")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("SIFT_LAUNCHER_HOME", str(state))
        patch.setenv("SIFT_LAUNCHER_STOP_SECONDS", "5")
        endpoint = ensure_server()
    yield Rehearsed(endpoint, state)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIFT_LAUNCHER_HOME", str(state))
        stop_server()
