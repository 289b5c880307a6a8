"""Several hosts of one job: they wait for each other, and train as one."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from container_run import NOBODY, ended, lay_out, on, remove, started
from entrypoint_job import JobTree

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker
Until = Callable[[Callable[[], Any]], Any]
HOSTS = ["algo-1", "algo-2"]
RANK = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor([2.0 ** dist.get_rank()])
dist.all_reduce(total)
print(os.environ["SM_CURRENT_HOST"], "rank", dist.get_rank(), "sum", int(total))
dist.destroy_process_group()
"""


@pytest.fixture
def network(engine: DockerClient) -> Iterator[str]:
    made = engine.networks.create(f"hosts-{uuid.uuid4().hex[:8]}", driver="bridge")
    yield str(made.name)
    remove(made)


def host(engine: DockerClient, base: Path, name: str, network: str) -> tuple[JobTree, Any]:
    """The tree of one host, and the options of its container."""
    tree = lay_out(base / name)
    tree.script(RANK)
    tree.hyperparameters(
        sagemaker_submit_directory="/opt/ml/code", sagemaker_torch_distributed_enabled=True
    )
    (tree.config / "resourceconfig.json").write_text(
        json.dumps({"current_host": name, "hosts": HOSTS, "network_interface_name": "eth0"})
    )
    (tree.output / "failure").write_text("an earlier run's")
    joins = {network: engine.api.create_endpoint_config(aliases=[name])}
    joined = {"network": network, "networking_config": joins, "hostname": name}
    return tree, {**joined, **on(tree, NOBODY)}


def test_two_hosts_train_as_one_though_one_comes_late(
    engine: DockerClient, image: str, network: str, tmp_path: Path, until: Until
) -> None:
    first, options = host(engine, tmp_path, "algo-1", network)
    second, late = host(engine, tmp_path, "algo-2", network)
    with started(engine, image, **options) as one:
        until(lambda: first.failure is None)  # it runs by now, and waits
        with started(engine, image, **late) as two:
            assert [ended(one).out, ended(two).out] == [
                "algo-1 rank 0 sum 3\n",
                "algo-2 rank 1 sum 3\n",
            ]
    assert first.succeeded
    assert second.succeeded


def test_a_host_whose_peer_never_comes_can_be_stopped(
    engine: DockerClient, image: str, network: str, tmp_path: Path, until: Until
) -> None:
    tree, options = host(engine, tmp_path, "algo-1", network)
    with started(engine, image, **options) as container:
        until(lambda: tree.failure is None)
        container.kill(signal.SIGTERM)
        done = ended(container)
    assert (done.code, done.out) == (143, "")
    assert done.err == "sift: stopped by signal 15 before the script started\n"
    assert tree.failure == "stopped by signal 15 before the script started"
