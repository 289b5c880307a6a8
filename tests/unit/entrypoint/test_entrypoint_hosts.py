"""Hosts of one job are waited for by name."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from sift_entrypoint import hosts
from sift_entrypoint.errors import ContractError
from sift_entrypoint.hosts import wait_for_hosts


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A network on which algo-1 has a name at once, algo-2 after three seconds, and nobody else
    ever; the pauses, which alone take time."""
    pauses: list[float] = []

    def resolve(host: str) -> str:
        if host == "algo-1" or (host == "algo-2" and sum(pauses) >= 3):
            return "127.0.0.1"
        raise socket.gaierror

    clock = SimpleNamespace(monotonic=lambda: 100 + sum(pauses), sleep=pauses.append)
    monkeypatch.setattr(hosts, "time", clock)
    monkeypatch.setattr(hosts.socket, "gethostbyname", resolve)
    yield pauses


def test_hosts_that_resolve_are_not_waited_for(network: list[float]) -> None:
    said: list[str] = []
    wait_for_hosts(["algo-1", "algo-1"], said.append)
    assert (said, network) == ([], [])


def test_a_host_that_comes_up_later_is_waited_for(network: list[float]) -> None:
    wait_for_hosts(["algo-1", "algo-2"], [].append, patience=10)
    assert 3 <= sum(network) < 3.1


def test_a_host_that_never_resolves_is_named(network: list[float]) -> None:
    with pytest.raises(ContractError, match=r"no address for no\.such\.invalid after 2 s"):
        wait_for_hosts(["algo-1", "no.such.invalid"], [].append, patience=2)
    assert 2 <= sum(network) < 2.1
