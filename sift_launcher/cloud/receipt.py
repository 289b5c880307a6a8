"""A cloud job's receipt: out of its outputs in S3, or of what a running job has saved there."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from sift_launcher.cloud import s3 as objects
from sift_launcher.cloud.explain import explained
from sift_launcher.errors import ResourceNotFound, StateFolderError
from sift_launcher.local.status import ENDED
from smart_sifting.errors import ReceiptException
from smart_sifting.receipt import Receipt, merge, read_all, saved

_ARCHIVE = "output.tar.gz"
_RECEIPT = re.compile(r"receipt(-[1-9][0-9]*)?\.(json|svg)")
_LARGEST_BYTES = 64 << 20
RUNTIME_STATE = ".sift"
"""The folder below a job's checkpoints that the runtime keeps its own state in."""


def fetched_receipt(
    s3: Any,
    description: Mapping[str, Any],
    cache: Path,
    dollars_per_hour: float | None,
    largest_archive: int | None = None,
) -> tuple[Receipt, Path]:
    """The receipt of all ranks, and the folder below `cache` that it lies in.

    `dollars_per_hour` is the price of all instances together; None leaves the saving unpriced.
    Archives of more than `largest_archive` bytes are left alone: all of one may have to be read.
    Of a job that has ended it is fetched once. Raises ResourceNotFound when there is none.
    """
    name = str(description["TrainingJobName"])
    has_ended = description["TrainingJobStatus"] in ENDED
    final, live = cache / "receipt", cache / "receipt-so-far"
    if not final.exists():
        with _fresh_folder(cache) as fresh:
            if has_ended and _take_from_outputs(s3, description, fresh, largest_archive):
                fresh.rename(final)
            elif _take_from_checkpoints(s3, description, fresh):
                shutil.rmtree(live, ignore_errors=True)
                fresh.rename(live)
            else:
                raise ResourceNotFound(f"job {name} has no receipt: {_why(description)}")
    folder = final if final.exists() else live
    try:
        ranks = [rank for each in (folder, *_hosts_in(folder)) for rank in read_all(each)]
        receipt = merge(ranks)
    except ReceiptException as error:
        raise ResourceNotFound(str(error)) from error
    return _priced(receipt, dollars_per_hour), folder


def _take_from_outputs(
    s3: Any, description: Mapping[str, Any], folder: Path, largest_archive: int | None
) -> bool:
    """Extracts the receipts from the archives of the outputs; whether there were any."""
    from sift_launcher.cloud.job import results_uri

    results = results_uri(description)
    bucket, prefix = objects.split(results + "/")
    for each in objects.listed(s3, results + "/"):
        path = PurePosixPath(each.key.removeprefix(prefix))
        # A stand-in's other hosts have archives of their own.
        if path.name != _ARCHIVE or (largest_archive is not None and each.size > largest_archive):
            continue
        uri = f"s3://{bucket}/{each.key}"
        with (
            explained(f"s3:GetObject on arn:aws:s3:::{bucket}/{each.key}", uri),
            closing(s3.get_object(Bucket=bucket, Key=each.key)["Body"]) as body,
        ):
            _extract_receipts(uri, body, folder / path.parent)
    return any(folder.rglob("receipt*.json"))


def _extract_receipts(uri: str, body: Any, folder: Path) -> None:
    """Reads the archive from its beginning until the receipts of all ranks were there."""
    ranks = 0
    try:
        with tarfile.open(fileobj=body, mode="r|gz") as archive:
            for member in archive:
                name = str(PurePosixPath(member.name))
                source = archive.extractfile(member) if _is_receipt(name, member.size) else None
                if source is None:
                    continue
                content = source.read()
                folder.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
                ranks += name.endswith(".json")
                if ranks == _world_size(content):
                    return
    except (tarfile.TarError, EOFError) as error:
        raise ResourceNotFound(f"{uri} is no whole archive: {error}") from error


def _is_receipt(name: str, size: int) -> bool:
    return _RECEIPT.fullmatch(name) is not None and size <= _LARGEST_BYTES


def _world_size(content: bytes) -> int | None:
    """How many ranks the job had, as the receipt of one tells; None of another file."""
    with suppress(ValueError, KeyError, TypeError):
        return int(json.loads(content)["world_size"])
    return None


def _take_from_checkpoints(s3: Any, description: Mapping[str, Any], folder: Path) -> bool:
    """Fetches what the runtime has saved of the receipts so far; whether there was anything."""
    uri = description.get("CheckpointConfig", {}).get("S3Uri")
    if not uri:
        return False
    state = f"{uri.rstrip('/')}/{RUNTIME_STATE}/"
    for each in objects.listed(s3, state):
        name = PurePosixPath(each.key).name
        if _RECEIPT.fullmatch(name):
            objects.get_file(s3, f"s3://{objects.split(uri)[0]}/{each.key}", folder / name)
    return any(folder.glob("receipt*.json"))


@contextmanager
def _fresh_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in `parent`, gone afterwards unless it was renamed."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=parent))
        try:
            yield fresh
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise StateFolderError(
            f"cannot keep the receipt in {parent} ({error.strerror}): make room, or set "
            "SIFT_LAUNCHER_HOME to a folder that can be written"
        ) from error


def _hosts_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir())


def _priced(receipt: Receipt, dollars_per_hour: float | None) -> Receipt:
    priced = saved(receipt.seconds, receipt.unsifted, dollars_per_hour)
    return receipt if dollars_per_hour is None else replace(receipt, saved=priced)


def _why(description: Mapping[str, Any]) -> str:
    if "sift_config" not in description.get("HyperParameters", {}):
        return "it was not sifted (--no-sift)"
    if description["TrainingJobStatus"] in ENDED:
        return "it has not trained, or nothing in it uses torch"
    return "it leaves the host when the job ends, or with its checkpoints (--checkpoint, --spot)"
