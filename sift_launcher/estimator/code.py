"""The code of an estimator's job: which files travel, and how they get to S3. Without the SDK."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from sift_launcher.bundle import CodeBundle, CodeFile, list_bundle, pack
from sift_launcher.carried import carried_files
from sift_launcher.errors import CodeBundleError, ScriptError
from sift_launcher.paths import absolute

ARCHIVE = "sourcedir.tar.gz"


def code_bundle(
    script: str,
    source_dir: str | None,
    dependencies: Sequence[str] = (),
    *,
    carries_runtime: bool,
    allow: Sequence[str] = (),
) -> CodeBundle:
    """What travels: as in the SDK the source folder, or the script alone where none is named, and
    the dependencies beside it; but nothing that is ignored, and no secrets.

    Raises ScriptError, CodeBundleError or SecretFound.
    """
    bundle = _alone(script) if source_dir is None else _folder(script, source_dir, allow)
    more = [file for each in dependencies for file in _dependency(each, allow)]
    if carries_runtime:
        more += carried_files()
    files = {file.path: file for file in more} | {file.path: file for file in bundle.files}
    return replace(bundle, files=tuple(files[path] for path in sorted(files)))


def upload_code(
    bundle: CodeBundle, s3: Any, uri: str, kms_key: str | None, scratch: str | None = None
) -> None:
    """Packs `bundle` and puts it to `uri`; there it is whole or not at all."""
    from sift_launcher.cloud.explain import explained
    from sift_launcher.cloud.s3 import put_file

    with TemporaryDirectory(prefix="sift-launcher-", dir=scratch) as folder:
        archive = Path(folder, ARCHIVE)
        pack(bundle, archive)
        place = uri.removeprefix("s3://")
        with explained(f"s3:PutObject on arn:aws:s3:::{place}", f"uploading the code to {uri}"):
            put_file(s3, archive, uri, kms_key)


def _alone(script: str) -> CodeBundle:
    path = absolute(script)
    if not path.is_file():
        raise ScriptError(f"no such script: {script} (entry_point, read from {Path.cwd()})")
    return CodeBundle(str(path.parent), (CodeFile(path.name, path.stat().st_size),))


def _folder(script: str, source_dir: str, allow: Sequence[str]) -> CodeBundle:
    folder = absolute(source_dir)
    if not folder.is_dir():
        raise CodeBundleError(f"source_dir {source_dir} is no folder (read from {Path.cwd()})")
    program = PurePosixPath(os.path.normpath(script)).as_posix()
    if not (folder / program).is_file():
        raise ScriptError(f"no such script: {script} in source_dir {source_dir} (entry_point)")
    return list_bundle(folder, program, allow=allow)


def _dependency(named: str, allow: Sequence[str]) -> list[CodeFile]:
    path = absolute(named)
    if path.is_file():
        return [CodeFile(path.name, path.stat().st_size, str(path))]
    if not path.is_dir():
        raise CodeBundleError(f"dependency {named} does not exist (read from {Path.cwd()})")
    return [
        CodeFile(f"{path.name}/{file.path}", file.size, str(path / file.path))
        for file in list_bundle(path, "", allow=allow).files
    ]
