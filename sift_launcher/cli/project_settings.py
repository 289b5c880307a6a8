"""The options of a call, with the defaults of the project that its script lies in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sift_launcher.cli.settings_file import Settings, apply_settings, find_settings, read_settings
from sift_launcher.cli.to_spec import parse_pairs
from sift_launcher.errors import SettingsFileError
from sift_launcher.paths import absolute


def with_settings(
    context: click.Context, script: str, typed: Mapping[str, Any], known: Sequence[click.Parameter]
) -> dict[str, Any]:
    """All options by their parameters' names, pairs as mappings.

    `known` are the options that a settings file may hold; `typed` has a value of each.
    """

    def is_typed(name: str) -> bool:
        return context.get_parameter_source(name) is ParameterSource.COMMANDLINE

    profile = typed["profile_of_settings"]
    path = find_settings(_folder_of(script, typed["source_dir"]))
    if path is None and profile is not None:
        raise SettingsFileError(
            f"--with {profile}: there is no sift.toml for {script}; sift-launch init writes one"
        )
    options = [each for each in known if isinstance(each, click.Option)]
    settings = read_settings(path, options, profile) if path else Settings()
    return apply_settings(settings, parse_pairs(typed), is_typed)


def _folder_of(script: str, source_dir: str | None) -> Path:
    """Where the script lies; as the SDK has it, it may be named from within the source folder."""
    place = Path(script)
    if source_dir is not None and not place.exists():
        place = Path(source_dir) / script
    return absolute(place).parent
