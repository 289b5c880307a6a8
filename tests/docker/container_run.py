"""One container over a job's tree, run to its end: what it printed, and with what code it ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cli_runner import wait_until
from docker.errors import APIError, NotFound
from entrypoint_job import DEADLINE, JobTree

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container
    from docker.models.networks import Network

NOBODY = 54321  # a user that no image knows
# A training script that knows nothing of us: 1,024 samples in 64 steps at four epochs.
LOOP = """
import argparse, sys
import torch
from torch.utils.data import DataLoader, TensorDataset

print(sys.argv)
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
epochs = parser.parse_args().epochs
torch.manual_seed(0)
data = TensorDataset(torch.randn(256, 4), torch.randint(0, 2, (256,)))
loader = DataLoader(data, batch_size=16, shuffle=True)
model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(epochs):
    for x, y in loader:
        loss = torch.nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@contextmanager
def started(engine: DockerClient, image: str, **options: Any) -> Iterator[Container]:
    container = engine.containers.create(image, **options)
    try:
        container.start()
        yield container
    finally:
        remove(container, force=True, v=True)


def remove(thing: Container | Network, **options: Any) -> None:
    """A busy engine refuses to remove what it has not seen die, or let go, yet."""

    def is_gone() -> bool:
        try:
            thing.remove(**options)
        except NotFound:
            return True  # somebody else has removed it meanwhile
        except APIError:
            return False
        return True

    wait_until(is_gone, DEADLINE)


def ended(container: Container) -> Ended:
    code = container.wait(timeout=DEADLINE)["StatusCode"]
    out = container.logs(stdout=True, stderr=False).decode()
    return Ended(code, out, container.logs(stdout=False, stderr=True).decode())


def run_container(engine: DockerClient, image: str, **options: Any) -> Ended:
    with started(engine, image, **options) as container:
        return ended(container)


def on(tree: JobTree, user: int = 0) -> dict[str, Any]:
    """The options of a container that has the tree as its /opt/ml and runs as ``user``."""
    for path in (tree.base, *tree.base.rglob("*")):
        os.chown(path, user, user)
    return {"volumes": {str(tree.base): {"bind": "/opt/ml"}}, "user": f"{user}:{user}"}


def lay_out(base: Path) -> JobTree:
    tree = JobTree(base)
    for folder in (tree.base / "model", tree.output / "data"):
        folder.mkdir(parents=True)
    tree.hyperparameters(sagemaker_submit_directory="/opt/ml/code")
    return tree
