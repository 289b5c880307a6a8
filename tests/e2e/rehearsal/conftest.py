from __future__ import annotations

from collections.abc import Iterator

import pytest
from rehearsed_aws import Rehearsed, rehearsal


@pytest.fixture(scope="session")
def rehearsed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsed]:
    """One rehearsal for all tests: each names its jobs as no other does."""
    with rehearsal(tmp_path_factory.mktemp("rehearsal")) as rehearsed:
        yield rehearsed
