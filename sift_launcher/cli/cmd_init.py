"""`sift-launch init`: a sift.toml in which every option's default can be set."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click

from sift_launcher.console import say
from sift_launcher.errors import SettingsFileError

_WIDTH = 96
_HEAD = """
Defaults of sift-launch for the scripts in this folder and below. What is typed wins.

Keys are the options' names; take the # away before those that you set. Paths are read from this
folder; ~ and $VARIABLES are filled in. What means nothing where a job runs is passed over there.
"""
_EXAMPLES = {
    "instance": '"ml.g5.xlarge"',
    "count": "1",
    "distribution": '"torchrun"',
    "image": '"stock"',
    "python": '".venv/bin/python"',
    "shm-size": '"2g"',
    "memory": '"8g"',
    "cpus": "1.5",
    "platform": '"linux/arm64"',
    "source-dir": '"src"',
    "shard": '["train"]',
    "input-mode": '"FastFile"',
    "allow": '["tests/fake.pem"]',
    "output": '"s3://my-bucket/models"',
    "checkpoint": '"s3://my-bucket/checkpoints"',
    "max-run": "3600",
    "keep": "0.5",
    "beta": "1.0",
    "sift-delay": "100",
    "sift-config": '"sift.json"',
    "loss": '"losses:PerSample"',
    "no-sift": "true",
    "role": '"SageMakerRole"',
    "region": '"us-east-1"',
    "profile": '"default"',
    "spot": "true",
    "max-wait": "7200",
    "volume-size": "100",
    "kms-key": '"alias/training"',
    "subnet": '["subnet-0abc"]',
    "security-group": '["sg-0abc"]',
    "network-isolation": "true",
    "keep-alive": "600",
    "retries": "2",
    "budget": "20.0",
    "price": "1.41",
    "rehearse": "true",
    "rehearse-interrupt": '["50%"]',
    "rehearse-on": '"local"',
    "wait": "false",
}
_TABLES = """
# Data by channel: a path, s3://BUCKET/PREFIX, or a table.
#[data]
#train = "data/train"
#test = {place = "s3://my-bucket/test", shard = true, input-mode = "FastFile"}

# They reach the script as --KEY VALUE.
#[hyperparameters]
#epochs = 3

#[env]
#OMP_NUM_THREADS = "2"

#[tags]
#team = "vision"

# Numbers to follow, by the expressions that find them in the log.
#[metrics]
#loss = 'loss: ([0-9.]+)'

# The same keys again, for sift-launch SCRIPT --with cloud.
#[profiles.cloud]
#instance = "ml.g5.xlarge"
#spot = true
#[profiles.cloud.hyperparameters]
#epochs = 30
"""


@click.command(
    "init",
    help="Write a sift.toml into this folder, in which every option's default can be set. It asks "
    "nothing, fills in what the environment knows, and leaves one that is there alone.",
)
def command() -> None:
    """Writes the file. Raises SettingsFileError when there is one, or none can be written."""
    path = Path.cwd() / "sift.toml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(settings_text(dict(os.environ)))
    except FileExistsError:
        raise SettingsFileError(f"{path} is there already: it is left as it is") from None
    except OSError as error:
        raise SettingsFileError(f"cannot write {path}: {error.strerror}") from error
    say(f"wrote {path}")


def settings_text(environment: dict[str, str]) -> str:
    """The whole file. Of the options, those that `environment` speaks of are set."""
    from sift_launcher.cli.train_options import SECTIONS

    known = {"region": _region(environment), "profile": environment.get("AWS_PROFILE")}
    lines = [f"# {line}".rstrip() for line in _HEAD.strip().splitlines()]
    for title, options in SECTIONS.items():
        entries = [line for option in options for line in _entry(option, known)]
        if entries:
            lines += ["", f"# {title}", *entries]
    return "\n".join(lines) + "\n" + _TABLES


def _region(environment: dict[str, str]) -> str | None:
    """The environment's, else that of the profile in AWS's own configuration."""
    if own := environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"):
        return own
    from configparser import ConfigParser, Error

    profile = environment.get("AWS_PROFILE", "default")
    path = Path(environment.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser()
    config = ConfigParser(interpolation=None)
    try:
        config.read(path, encoding="utf-8")
    except (Error, UnicodeDecodeError, OSError):
        return None  # whoever needs it will say what is wrong with it
    for section in (f"profile {profile}", profile):
        if region := config.get(section, "region", fallback=None):
            return region
    return None


def _entry(option: click.Option, known: dict[str, str | None]) -> Iterator[str]:
    name = max(option.opts, key=len).removeprefix("--")
    if name not in _EXAMPLES:
        return
    yield ""
    yield from (f"# {line}" for line in textwrap.wrap(option.help or "", _WIDTH))
    if value := known.get(name):
        yield f"{name} = {_quoted(value)}"
    else:
        yield f"#{name} = {_EXAMPLES[name]}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
