"""Pulling an image in front of a user: how far it is, in one line that stays in its place."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sift_launcher.cli.launch import live_log
from sift_launcher.console import say
from sift_launcher.pull import pull

if TYPE_CHECKING:
    from docker import DockerClient


def pull_with_report(client: DockerClient, name: str, platform: str | None) -> None:
    """See `pull`; a terminal shows every step, anything else the beginning and the end."""
    say(f"pulling image {name}, which is not on this machine; Ctrl-C ends that")
    with live_log(sys.stderr) as log:
        pull(client, name, platform, log.show)
    say(f"pulled image {name}")
