"""The code that travels with a job: which files of the source folder, and how many bytes.

Left out are version control, environments, caches, `.env` files (they hold secrets), the output
folder, and what the source folder's own `.gitignore` names. Of `.gitignore`, the file at the top
of the source folder is read: names, globs, anchored paths, folders and `!`; nothing else is.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BufferedReader
from pathlib import Path, PurePosixPath

from sift_launcher.bundle.files import (
    JOB_OUTPUT_MARK,
    MAX_BYTES,
    MAX_FILES,
    RUNTIME_FOLDER,
    CodeBundle,
    CodeFile,
    megabytes,
)
from sift_launcher.errors import CodeBundleError

_LARGEST_NAMED = 3

_FOLDERS_LEFT_OUT = frozenset(
    {
        RUNTIME_FOLDER,
        ".git",
        ".hg",
        ".svn",
        ".venv",
        "venv",
        ".tox",
        ".nox",
        "__pycache__",
        "node_modules",
    }
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".cache", ".idea"}
)
_FILES_LEFT_OUT = ("*.pyc", "*.pyo", ".DS_Store", ".env", ".env.*")


def list_bundle(
    source_dir: Path, script: str, exclude: Sequence[Path] = (), allow: Sequence[str] = ()
) -> CodeBundle:
    """What of `source_dir` travels; `script` (relative to it) always does.

    Links are followed, for a link means nothing on another machine. Raises CodeBundleError when
    the folder is larger than a code bundle can be, at the first file too many: a home folder is
    never walked to its end.
    """
    rules = _ignore_rules(source_dir)
    excluded = {os.path.realpath(path) for path in exclude}
    files: dict[str, int] = {}
    left_out: list[str] = []
    total = 0
    for path, is_folder in _walk(source_dir, rules, excluded, script, left_out):
        if is_folder:
            continue
        size = (source_dir / path).stat().st_size
        files[path] = size
        total += size
        if len(files) > MAX_FILES or total > MAX_BYTES:
            raise _too_large(source_dir, files, total)
    listed = tuple(CodeFile(path, files[path]) for path in sorted(files))
    return CodeBundle(str(source_dir), listed, tuple(sorted(left_out)))


def _walk(
    root: Path, rules: list[_Rule], excluded: set[str], script: str, left_out: list[str]
) -> Iterable[tuple[str, bool]]:
    seen: set[str] = set()
    pending = [""]
    while pending:
        folder = pending.pop()
        real = os.path.realpath(root / folder)
        if real in seen:
            continue  # a link back to a folder above
        seen.add(real)
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError as error:
            raise CodeBundleError(
                f"cannot read {root / folder} ({error.strerror}): --source-dir names the folder "
                "that travels with the job"
            ) from error
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            is_folder = entry.is_dir()
            if not is_folder and not entry.is_file():
                continue  # sockets, pipes, devices, broken links
            if not _holds(path, is_folder, script) and (
                _is_house_dust(entry, is_folder)
                or (is_folder and os.path.realpath(entry.path) in excluded)
                or _is_ignored(path, is_folder, rules)
            ):
                left_out.append(path + "/" if is_folder else path)
                continue
            yield path, is_folder
            if is_folder:
                pending.append(path)


def _holds(path: str, is_folder: bool, script: str) -> bool:
    return script.startswith(path + "/") if is_folder else script == path


def _is_house_dust(entry: os.DirEntry[str], is_folder: bool) -> bool:
    if not is_folder:
        return any(fnmatchcase(entry.name, pattern) for pattern in _FILES_LEFT_OUT)
    return (
        entry.name in _FOLDERS_LEFT_OUT
        or entry.name.endswith(".egg-info")
        or Path(entry.path, "pyvenv.cfg").exists()
        or Path(entry.path, "conda-meta").exists()
        or Path(entry.path, *JOB_OUTPUT_MARK).exists()
    )


@dataclass(frozen=True)
class _Rule:
    pattern: str
    anchored: bool
    folders_only: bool
    keeps: bool

    def matches(self, path: str, is_folder: bool) -> bool:
        if self.folders_only and not is_folder:
            return False
        return fnmatchcase(path if self.anchored else PurePosixPath(path).name, self.pattern)


def _ignore_rules(source_dir: Path) -> list[_Rule]:
    try:
        text = (source_dir / ".gitignore").read_text("utf-8", errors="replace")
    except OSError:
        return []
    rules = []
    for line in text.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        keeps = pattern.startswith("!")
        pattern = pattern[keeps:]
        folders_only = pattern.endswith("/")
        pattern = pattern.rstrip("/").removeprefix("**/")
        anchored = "/" in pattern
        rules.append(_Rule(pattern.lstrip("/"), anchored, folders_only, keeps))
    return rules


def _is_ignored(path: str, is_folder: bool, rules: list[_Rule]) -> bool:
    ignored = False
    for rule in rules:
        if rule.matches(path, is_folder):
            ignored = not rule.keeps
    return ignored


def _too_large(source_dir: Path, files: dict[str, int], total: int) -> CodeBundleError:
    largest = sorted(files, key=lambda path: (-files[path], path))[:_LARGEST_NAMED]
    named = ", ".join(f"{path} ({megabytes(files[path])})" for path in largest)
    return CodeBundleError(
        f"{source_dir} is too large to travel as code: {len(files)} files and {megabytes(total)} "
        f"so far, of at most {MAX_FILES} and {megabytes(MAX_BYTES)}; the largest: {named}. Name "
        "the code's own folder with --source-dir, and hand in data with --data CHANNEL=PATH"
    )
