"""What the hosts of an attempt find: the code and the channels, on this machine.

What lies here already is used where it lies; what lies in S3 is fetched, for each attempt anew, as
a fresh instance would.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sift_launcher.errors import BucketError
from sift_launcher.local.fetch import Fetcher
from sift_launcher.local.places import ChannelPlace, channels_of, code_uri
from sift_launcher.local.shards import files_below, link_files, share_of
from sift_launcher.paths import local_path

_ALL = "all-hosts"


@dataclass(frozen=True)
class Inputs:
    """Where everything lies that a job's trees are made of."""

    code: Path | None = None
    """The archive; None when the image or a channel brings the code."""

    channels: Mapping[str, Mapping[str, Path]] = field(default_factory=dict)
    """By host: the folder, or the single file, of each channel."""


def bring(
    request: dict[str, Any], hosts: tuple[str, ...], folder: Path, fetcher: Fetcher | None
) -> Inputs:
    """Brings it all; what has to be made is made in `folder`. `fetcher` is needed where something
    lies in S3. Raises OSError, SiftLaunchError, and what the fetcher's check raises."""
    found: dict[str, dict[str, Path]] = {host: {} for host in hosts}
    for channel in channels_of(request):
        source = _source(channel, folder, fetcher)
        for index, host in enumerate(hosts):
            found[host][channel.name] = source.of_host(host, index, len(hosts))
    return Inputs(_code(request, folder, fetcher), found)


def _code(request: dict[str, Any], folder: Path, fetcher: Fetcher | None) -> Path | None:
    uri = code_uri(request)
    if uri is None:
        return None
    if (path := local_path(uri)) is not None:
        return path
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "sourcedir.tar.gz"
    _given(fetcher, uri).file(uri, archive)
    return archive


def _source(
    channel: ChannelPlace, folder: Path, fetcher: Fetcher | None
) -> _LocalSource | _S3Source:
    if (path := local_path(channel.uri)) is not None:
        return _LocalSource(channel, path, folder)
    fetcher = _given(fetcher, channel.uri)
    prefix, keys = channel.uri, None
    if channel.is_manifest:
        folder.mkdir(parents=True, exist_ok=True)
        prefix, keys = fetcher.manifest(channel.uri, folder / f"{channel.name}.manifest")
    there = fetcher.keys(prefix)
    if missing := sorted(set(keys or ()) - set(there)):
        raise BucketError(f"channel {channel.name}: there is no {missing[0]} below {prefix}")
    if not there:
        raise BucketError(f"channel {channel.name}: there is nothing at {prefix}")
    return _S3Source(channel, prefix, keys or there, folder, fetcher)


def _given(fetcher: Fetcher | None, uri: str) -> Fetcher:
    if fetcher is None:
        raise BucketError(f"{uri}: nothing here can reach S3")
    return fetcher


@dataclass(frozen=True)
class _LocalSource:
    """A channel that is the user's own folder or file."""

    channel: ChannelPlace
    path: Path
    folder: Path

    def of_host(self, host: str, index: int, count: int) -> Path:
        if not self.channel.is_sharded or count == 1:
            return self.path
        is_file = self.path.is_file()
        root = self.path.parent if is_file else self.path
        names = [self.path.name] if is_file else files_below(self.path)
        own = self.folder / host / self.channel.name
        link_files(root, share_of(names, index, count), own)
        return own


@dataclass(frozen=True)
class _S3Source:
    """A channel of S3: fetched once where all hosts get all of it."""

    channel: ChannelPlace
    prefix: str
    keys: list[str]
    folder: Path
    fetcher: Fetcher

    def of_host(self, host: str, index: int, count: int) -> Path:
        is_shared = not self.channel.is_sharded or count == 1
        own = self.folder / (_ALL if is_shared else host) / self.channel.name
        if not own.exists():
            keys = self.keys if is_shared else share_of(self.keys, index, count)
            self.fetcher.tree(self.prefix, own, keys)
        return own
