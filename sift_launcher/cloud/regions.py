"""The regions that AWS has, as far as the installed botocore knows."""

from __future__ import annotations

import json
import socket
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from sift_launcher.cloud.client import require_botocore
from sift_launcher.errors import RegionError


def check_region(region: str) -> None:
    """Raises RegionError for a region that is not known and in which nobody answers; one that was
    made since botocore was installed passes."""
    if region in known_regions():
        return
    try:
        socket.getaddrinfo(f"sts.{region}.amazonaws.com", 443)
    except OSError:
        raise unknown_region(region) from None


def unknown_region(region: str) -> RegionError:
    """The error of a region that there is not, with the nearest of those there are."""
    near = get_close_matches(region, known_regions(), n=2)
    hint = f"did you mean {' or '.join(near)}?" if near else "such as us-east-1, eu-west-1"
    return RegionError(f"nobody answers in region {region}, which is not a known one: {hint}")


@cache
def known_regions() -> frozenset[str]:
    """All that are known. botocore's own way to ask reads ten times as much."""
    text = Path(require_botocore(), "data", "partitions.json").read_text("utf-8")
    partitions = json.loads(text)["partitions"]
    names = frozenset(region for each in partitions for region in each["regions"])
    return frozenset(name for name in names if not name.endswith("-global"))  # of no place
