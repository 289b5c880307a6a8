"""Hosts of one job are waited for by name."""

from __future__ import annotations

import pytest

from sift_entrypoint.errors import ContractError
from sift_entrypoint.hosts import wait_for_hosts


def test_hosts_that_resolve_are_not_waited_for() -> None:
    said: list[str] = []
    wait_for_hosts(["localhost", "127.0.0.1"], said.append)
    assert said == []


def test_a_host_that_never_resolves_is_named() -> None:
    with pytest.raises(ContractError, match=r"no address for no\.such\.invalid after 0 s"):
        wait_for_hosts(["localhost", "no.such.invalid"], [].append, patience=0)
