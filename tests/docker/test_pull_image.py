"""Images that are pulled for a job: from a registry of our own, by the real engine."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from fake_registry import Registry, serve

from sift_launcher.engine import traits
from sift_launcher.errors import ImageMissing, ImageUnfit
from sift_launcher.images import ImageFacts, inspect_image
from sift_launcher.pull import pull, refusal

if TYPE_CHECKING:
    from cli_runner import Cli
    from docker import DockerClient

pytestmark = pytest.mark.docker

Add = Callable[..., str]


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serve() as registry:
        yield registry


@pytest.fixture
def add(registry: Registry, engine: DockerClient) -> Iterator[Add]:
    """Adds an image to the registry; what is pulled of it is removed again."""
    added = []

    def add(name: str, **options: object) -> str:
        added.append(registry.add(name, **options))  # type: ignore[arg-type] - its own options
        return added[-1]

    yield add
    for name in added:
        with suppress(Exception):
            engine.images.remove(name, force=True)


def other(engine: DockerClient) -> str:
    """An architecture that this machine is not."""
    return "arm64" if traits(engine).architecture == "amd64" else "amd64"


def test_an_image_is_pulled_and_reported_on_the_way(engine: DockerClient, add: Add):
    name = add("one/two", architecture=traits(engine).architecture, layers=[b"a" * 99, b"b"])
    with pytest.raises(ImageMissing):
        inspect_image(engine, name, traits(engine))
    told: list[str] = []
    pull(engine, name, None, told.append)
    assert inspect_image(engine, name, traits(engine)).name == name
    assert told[0].startswith(f"pulling {name}: 0 B of 0 B, 0 of ")
    assert told[-1].startswith(f"pulling {name}: ")
    assert told[-1].endswith(", 2 of 2 layers")


@pytest.mark.parametrize(
    ("config", "kind", "python_path"),
    [
        ({}, "plain", ""),
        ({"Entrypoint": ["/opt/bin/start"], "Cmd": ["bash"]}, "plain", ""),
        ({"Env": ["PATH=/bin", "PYTHONPATH=/a:/b"]}, "plain", "/a:/b"),
        ({"Env": ["SAGEMAKER_TRAINING_MODULE=sagemaker_pytorch_container"]}, "toolkit", ""),
        ({"Env": ["SAGEMAKER_PROGRAM=train.py"]}, "toolkit", ""),
        (
            {"Labels": {"com.amazonaws.ml.engines.sagemaker.dlc.job.training": "true"}},
            "toolkit",
            "",
        ),
        ({"Cmd": ["train"]}, "toolkit", ""),
        ({"Entrypoint": ["/usr/local/bin/train"]}, "toolkit", ""),
        ({"Labels": {"sift-launcher.runtime": "0123"}, "Cmd": ["train"]}, "ours", ""),
    ],
)
def test_an_image_is_known_by_what_it_says_of_itself(
    engine: DockerClient, add: Add, config: dict[str, object], kind: str, python_path: str
):
    here = traits(engine)
    name = add("kind", architecture=here.architecture, config=config)
    pull(engine, name, None, lambda _: None)
    facts = inspect_image(engine, name, here)
    assert facts == ImageFacts(
        name=name,
        id=facts.id,
        architecture=here.architecture,
        runtime="0123" if kind == "ours" else None,
        kind=kind,
        python_path=python_path,
    )
    assert facts.id.startswith("sha256:")


def test_an_image_for_another_architecture_is_named_unless_it_is_asked_for(
    engine: DockerClient, add: Add
):
    here = traits(engine)
    name = add("other", architecture=other(engine))
    pull(engine, name, f"linux/{other(engine)}", lambda _: None)
    with pytest.raises(ImageUnfit) as caught:
        inspect_image(engine, name, here)
    assert str(caught.value).startswith(
        f"image {name} is for {other(engine)}, and this engine runs {here.architecture}: "
    )
    assert f"--platform linux/{other(engine)}" in str(caught.value)
    assert "--base" in str(caught.value)
    facts = inspect_image(engine, name, here, f"linux/{other(engine)}")
    assert facts.architecture == other(engine)


def test_a_job_on_an_image_of_another_architecture_is_one_line(
    cli: Cli, engine: DockerClient, add: Add
):
    cli.script("")
    name = add("other", architecture=other(engine))
    ended = cli("train.py", "--instance", "local", "--image", name)
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"image {name} is ")
    assert "--platform" in last
    assert not (cli.state / "jobs").exists()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing/image", "the registry has no image {name}: mend --image (manifest"),
        (
            "private/image",
            "the registry gives image {name} only to those it knows, or has none of that name: "
            "docker login {host}, or mend --image",
        ),
    ],
)
def test_what_the_registry_does_not_give_is_one_line(
    cli: Cli, registry: Registry, name: str, told: str
):
    cli.script("")
    image = f"{registry.host}/{name}:latest"
    ended = cli("train.py", "--instance", "local", "--image", image)
    assert ended.returncode == 2
    first, last = ended.stderr.splitlines()
    assert first == f"pulling image {image}, which is not on this machine; Ctrl-C ends that"
    assert last.startswith(told.format(name=image, host=registry.host))


def test_a_registry_that_is_not_there_is_one_line(cli: Cli):
    cli.script("")
    ended = cli("train.py", "--instance", "local", "--image", "127.0.0.1:9/a/b")
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("image 127.0.0.1:9/a/b cannot be pulled: ")


def test_awss_image_says_what_to_type_to_log_in():
    name = "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker"
    told = "Head https://763104351884.dkr.ecr...: no basic auth credentials"
    assert str(refusal(name, told, None)) == (
        f"the registry gives image {name} only to those it knows, or has none of that name: "
        "aws ecr get-login-password --region eu-west-1 | docker login --username AWS "
        "--password-stdin 763104351884.dkr.ecr.eu-west-1.amazonaws.com, or mend --image"
    )


def test_a_dry_run_pulls_nothing(cli: Cli, engine: DockerClient, add: Add):
    cli.script("")
    name = add("dry", architecture=traits(engine).architecture)
    ended = cli("train.py", "--instance", "local", "--image", name, "--dry-run")
    assert ended.returncode == 2
    assert ended.stderr == (
        f"image {name} is not on this machine: docker pull {name}, or see docker image ls for "
        "those that are\n"
    )


def test_ctrl_c_ends_a_pull(cli: Cli, engine: DockerClient, registry: Registry, add: Add):
    cli.script("")
    registry.stalls = True
    name = add("slow", architecture=traits(engine).architecture, layers=[os.urandom(300_000)])
    process = cli.start("train.py", "--instance", "local", "--image", name)
    assert registry.stalled.wait(cli.patience_seconds)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=cli.patience_seconds)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == f"pulling image {name} was interrupted; nothing was started"
    assert not cli.state.exists()
    with pytest.raises(ImageMissing):
        inspect_image(engine, name, traits(engine))
