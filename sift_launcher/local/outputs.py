"""What a job leaves, put where its request wants it: on this machine, or in S3."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sift_launcher.local.collect import collect, folder_of
from sift_launcher.local.places import is_s3, output_uri
from sift_launcher.local.records import JobRecord
from sift_launcher.local.shards import files_below
from sift_launcher.local.tree import HostTree
from sift_launcher.local.working_folder import Snapshot, keep_written
from sift_launcher.paths import file_uri, local_path


def put_outputs(
    record: JobRecord, trees: Mapping[str, HostTree], code: Mapping[str, Snapshot], s3: Any
) -> str:
    """The address of the model's archive. Raises OSError or SiftLaunchError.

    In S3 there are the archives alone, as SageMaker leaves them. On this machine the receipts lie
    beside them, and what the script wrote into its working folder, which was `code` before.
    """
    uri = output_uri(record.request())
    if is_s3(uri):
        return _put(record, trees, uri, s3)
    folder = local_path(uri) or record.folder / "output"
    model = collect(trees, folder)
    for host, tree in trees.items():
        keep_written(tree.code, code[host], folder_of(host, folder) / "code")
    return file_uri(model)


def _put(record: JobRecord, trees: Mapping[str, HostTree], uri: str, s3: Any) -> str:
    from sift_launcher.cloud.s3 import put_file

    aside = Path(record.folder, "output")
    model = collect(trees, aside, with_receipts=False)
    key = record.request()["OutputDataConfig"].get("KmsKeyId")
    for name in files_below(aside):
        put_file(s3, aside / name, f"{uri}/{name}", kms_key=key or None)
    shutil.rmtree(aside, ignore_errors=True)
    return f"{uri}/{model.name}"
