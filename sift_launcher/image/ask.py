"""Asking an image's own Python: the answer is what a short program prints in it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from sift_launcher.engine import LABEL, engine_address, reached
from sift_launcher.errors import ImageUnfit

if TYPE_CHECKING:
    from docker import DockerClient

_NOT_FOUND = ("executable file not found", "no such file or directory")
_OTHER_MACHINE = ("exec format error",)


def ask_python(client: DockerClient, image: str, program: str, platform: str | None = None) -> str:
    """What `program` prints when the image's python3 runs it, with no network and nothing mounted.

    Raises ImageUnfit when there is no python3 in it, it is for another machine, or the program
    fails. The container is removed in every case.
    """
    from docker.errors import APIError, NotFound

    # Named here, so that it is found and removed wherever an interrupt comes.
    name = f"sift-question-{uuid4().hex[:12]}"
    with reached(engine_address()):
        try:
            container = client.containers.create(
                image,
                name=name,
                entrypoint=["python3"],
                command=["-c", program],
                network_mode="none",
                labels={LABEL: "question"},
                platform=platform,
            )
            try:
                container.start()
            except APIError as error:
                raise _unfit(image, error.explanation or str(error)) from error
            code = container.wait()["StatusCode"]
            told = container.logs(stdout=code == 0, stderr=code != 0).decode("utf-8", "replace")
        finally:
            with suppress(NotFound):
                client.api.remove_container(name, force=True)
    if code:
        raise _unfit(image, told)
    return told


def _unfit(image: str, told: str) -> ImageUnfit:
    text = told.lower()
    if any(each in text for each in _OTHER_MACHINE):
        return ImageUnfit(
            f"this machine cannot run image {image}, which is for another architecture: emulate "
            "it (docker run --privileged --rm tonistiigi/binfmt --install all), or build on a "
            "machine of that kind"
        )
    if any(each in text for each in _NOT_FOUND):
        return ImageUnfit(
            f"image {image} has no python3: name one that has it, as in "
            "--base python:3.11-slim-bookworm"
        )
    last = told.strip().splitlines()[-1:] or ["without a word"]
    return ImageUnfit(f"image {image} has a python3 that does not run: {last[0]}")
