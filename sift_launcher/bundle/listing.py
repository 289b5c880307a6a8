"""Which files of the source folder travel with a job.

Left out are version control, environments, caches, `.env` files, the output folder, and what
`.gitignore` (at every level, up to the repository's top) and `.git/info/exclude` name. What
`.siftignore` says, in the same syntax, counts before all of them: it may bring back with `!`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sift_launcher.bundle.files import (
    JOB_OUTPUT_MARK,
    MAX_BYTES,
    MAX_FILES,
    RUNTIME_FOLDER,
    CodeBundle,
    CodeFile,
    megabytes,
)
from sift_launcher.bundle.ignore import Ignored, read_rules
from sift_launcher.errors import CodeBundleError

_LARGEST_NAMED = 3
_GIT, _SIFT = ".gitignore", ".siftignore"
_NEVER = frozenset({".git", RUNTIME_FOLDER})  # no rule brings these back
_FOLDERS_LEFT_OUT = frozenset(
    {".hg", ".svn", ".venv", "venv", ".tox", ".nox", "__pycache__", "node_modules", ".cache"}
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".ipynb_checkpoints", ".idea"}
)
_FILE_ENDINGS_LEFT_OUT = (".pyc", ".pyo")
_FILES_LEFT_OUT = frozenset({".DS_Store", ".env"})
_ENVIRONMENT_MARKS = frozenset({"pyvenv.cfg", "conda-meta"})


def list_bundle(
    source_dir: Path, script: str, exclude: Sequence[Path] = (), allow: Sequence[str] = ()
) -> CodeBundle:
    """What of `source_dir` travels; `script` (relative to it) always does.

    Links are followed, for a link means nothing on another machine. Raises CodeBundleError when
    the folder is larger than a code bundle can be, at the first file too many: a home folder is
    never walked to its end. Raises SecretFound for what looks like a secret, unless `allow` names
    its rule or the file.
    """
    from sift_launcher.bundle.secret_search import refuse_secrets  # which few commands need

    walk = _Walk(source_dir, script, exclude)
    files: list[CodeFile] = []
    total = 0
    for file in walk.files():
        files.append(file)
        total += file.size
        if len(files) > MAX_FILES or total > MAX_BYTES:
            raise _too_large(source_dir, files, total)
    files.sort(key=lambda file: file.path)
    refuse_secrets(source_dir, files, allow)
    return CodeBundle(str(source_dir), tuple(files), tuple(sorted(walk.left_out)))


@dataclass(frozen=True)
class _Folder:
    """A folder that is to be read."""

    path: str
    """Below the source folder, with a slash at its end; empty for itself."""

    git: Ignored
    sift: Ignored
    above: tuple[tuple[int, int], ...]
    """Device and inode of all folders on the way here."""

    is_ignored: bool
    """Of what is in it, only what `.siftignore` brings back travels."""


class _Walk:
    """The files below a folder; `left_out` are the names of what is left behind."""

    def __init__(self, root: Path, script: str, exclude: Sequence[Path]) -> None:
        self.left_out: set[str] = set()
        self._root = str(root)
        self._script = script
        self._excluded = {_identity(path.stat()) for path in exclude if path.exists()}

    def files(self) -> Iterator[CodeFile]:
        git, sift = _rules_above(Path(self._root))
        pending = [_Folder("", git, sift, (), False)]
        while pending:
            folder = pending.pop()
            place = f"{self._root}/{folder.path}"
            with _readable(place):
                here = _identity(os.stat(place))  # noqa: PTH116 - of many folders
            if here in folder.above:
                continue  # a link back to a folder above
            may_leave = folder.path != "" and not self._script.startswith(folder.path)
            if may_leave and here in self._excluded:
                self.left_out.add(folder.path)
                continue
            with _readable(place), os.scandir(place) as found:
                entries = list(found)
            names = {entry.name for entry in entries}
            if may_leave and self._is_foreign(folder, names):
                self.left_out.add(folder.path)
                continue
            git, sift = self._rules(folder, names)
            inside = _Folder(folder.path, git, sift, (*folder.above, here), folder.is_ignored)
            for entry in entries:
                path = folder.path + entry.name
                is_folder, is_file = _kind(entry)
                if is_folder:
                    if (below := self._enter(path, entry.name, inside)) is not None:
                        pending.append(below)
                elif not is_file:
                    continue  # sockets, pipes, devices, broken links
                elif self._takes(path, entry.name, inside):
                    yield CodeFile(path, entry.stat().st_size)
                elif not inside.is_ignored:
                    self.left_out.add(path)

    def _is_foreign(self, folder: _Folder, names: set[str]) -> bool:
        """Whether it is another job's output, or an environment."""
        if folder.is_ignored or folder.sift.verdict(folder.path[:-1], True) is False:
            return False
        if JOB_OUTPUT_MARK[0] in names:
            mark = "/".join(JOB_OUTPUT_MARK)
            if os.path.exists(f"{self._root}/{folder.path}{mark}"):  # noqa: PTH110
                return True
        return not _ENVIRONMENT_MARKS.isdisjoint(names)

    def _rules(self, folder: _Folder, names: set[str]) -> tuple[Ignored, Ignored]:
        git, sift = folder.git, folder.sift
        if _GIT in names:
            git = git.within(read_rules(Path(self._root, folder.path, _GIT)), folder.path)
        if _SIFT in names:
            sift = sift.within(read_rules(Path(self._root, folder.path, _SIFT)), folder.path)
        return git, sift

    def _enter(self, path: str, name: str, inside: _Folder) -> _Folder | None:
        """The folder at `path` as it is to be read; None when it is not."""
        if self._script.startswith(path + "/"):
            return _Folder(path + "/", inside.git, inside.sift, inside.above, False)
        wished = inside.sift.verdict(path, True)
        is_dust = name in _FOLDERS_LEFT_OUT or name.endswith(".egg-info")
        is_ignored = (
            name in _NEVER
            or wished is True
            or (wished is None and (inside.is_ignored or is_dust))
            or (wished is None and inside.git.verdict(path, True) is True)
        )
        if is_ignored:
            if not inside.is_ignored:
                self.left_out.add(path + "/")
            if wished is True or name in _NEVER or not inside.sift.keeps_below(path):
                return None
        return _Folder(path + "/", inside.git, inside.sift, inside.above, is_ignored)

    def _takes(self, path: str, name: str, inside: _Folder) -> bool:
        """Whether the file at `path` travels."""
        if path == self._script or name in _NEVER:
            return path == self._script
        wished = inside.sift.verdict(path, False)
        if wished is not None:
            return not wished
        if inside.is_ignored or name in _FILES_LEFT_OUT or name.startswith(".env."):
            return False
        if name.endswith(_FILE_ENDINGS_LEFT_OUT):
            return False
        return inside.git.verdict(path, False) is not True


@contextmanager
def _readable(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CodeBundleError(
            f"cannot read {path} ({error.strerror}): --source-dir names the folder that travels "
            "with the job"
        ) from error


def _kind(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Whether it is a folder, and whether it is a file."""
    try:
        is_folder = entry.is_dir()
        return is_folder, not is_folder and entry.is_file()
    except OSError:  # a link to itself, or into a folder that is closed
        return False, False


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _rules_above(root: Path) -> tuple[Ignored, Ignored]:
    """The rules of the folders above, up to the top of the repository, where there is one."""
    git = sift = Ignored()
    folders = [root, *root.parents]
    top = next((n for n, folder in enumerate(folders) if (folder / ".git").exists()), None)
    if top is None:
        return git, sift
    prefix = ""
    for folder, below in zip(folders[1 : top + 1], folders[:top], strict=True):
        prefix = f"{below.name}/{prefix}"
        git = git.above(read_rules(folder / _GIT), prefix)
        sift = sift.above(read_rules(folder / _SIFT), prefix)
    return git.above(read_rules(folders[top] / ".git" / "info" / "exclude"), prefix), sift


def _too_large(source_dir: Path, files: list[CodeFile], total: int) -> CodeBundleError:
    largest = sorted(files, key=lambda file: (-file.size, file.path))[:_LARGEST_NAMED]
    named = ", ".join(f"{file.path} ({megabytes(file.size)})" for file in largest)
    return CodeBundleError(
        f"{source_dir} is too large to travel as code: {len(files)} files and {megabytes(total)} "
        f"so far, of at most {MAX_FILES} and {megabytes(MAX_BYTES)}; the largest: {named}. Name "
        "the code's own folder with --source-dir, hand in data with --data CHANNEL=PATH, or name "
        "in .siftignore what shall stay behind"
    )
