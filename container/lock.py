"""Writes requirements.lock: what an image holds besides torch, with the hashes of its wheels.

`python container/lock.py > container/requirements.lock`, with any pip that reaches an index. For
each Python and machine that images are made for, pip resolves what stands in WANTED, without
installing it; what differs between the Pythons gets a marker.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict

# torch's own requirements, numpy for what scripts and receipts compute, pip for a job's
# requirements.txt.
WANTED = (
    "filelock==4.1.0; python_version < '3.11'",
    "filelock==4.2.11; python_version >= '3.11'",
    "fsspec==2026.9.0",
    "jinja2==3.1.6",
    "markupsafe==3.0.4",
    "mpmath==1.3.0",
    "networkx==3.4.2; python_version < '3.11'",
    "networkx==3.6.1; python_version >= '3.11'",
    "numpy==2.2.6; python_version < '3.11'",
    "numpy==2.4.6; python_version >= '3.11'",
    "pip==26.3",
    "setuptools==84.2.1",
    "sympy==1.14.0",
    "typing-extensions==4.16.0",
)
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
MACHINES = ("x86_64", "aarch64")
GLIBCS = ("2_28", "2_27", "2_17", "2014")  # Debian 12 has 2.36; torch itself wants 2.28


def main() -> None:
    """Prints the lock on stdout."""
    hashes: dict[str, set[str]] = defaultdict(set)
    for python in PYTHONS:
        for machine in MACHINES:
            for requirement, digest in _resolve(python, machine):
                hashes[requirement].add(digest)
    sys.stdout.write("# Written by container/lock.py: torch's requirements, numpy and pip.\n")
    for requirement in WANTED:
        lines = [requirement, *(f"--hash=sha256:{each}" for each in sorted(hashes[requirement]))]
        sys.stdout.write(" \\\n    ".join(lines) + "\n")


def _resolve(python: str, machine: str) -> list[tuple[str, str]]:
    """Each of WANTED that this Python gets, with the hash of the wheel for this machine."""
    chosen = [each for each in WANTED if _is_for(each, python)]
    platforms = [f"--platform=manylinux{'' if g == '2014' else '_'}{g}_{machine}" for g in GLIBCS]
    call = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed"]
    call += ["--only-binary=:all:", "--no-deps", f"--python-version={python}", *platforms]
    call += ["--target=unused", "--report=-", *(each.partition(";")[0] for each in chosen)]
    report = json.loads(subprocess.run(call, check=True, stdout=subprocess.PIPE).stdout)
    found = {
        each["metadata"]["name"].lower().replace("_", "-"): each["download_info"]["archive_info"]
        for each in report["install"]
    }
    return [(each, found[each.partition("==")[0]]["hashes"]["sha256"]) for each in chosen]


def _is_for(requirement: str, python: str) -> bool:
    marker = requirement.partition(";")[2]
    if not marker:
        return True
    is_old = int(python.partition(".")[2]) < 11
    return is_old == ("<" in marker)


if __name__ == "__main__":
    main()
