"""Refusing what looks like a secret before it travels: the text names it and never shows it."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from sift_launcher.bundle import secret_rules
from sift_launcher.bundle.files import CodeFile
from sift_launcher.bundle.secret_rules import Finding
from sift_launcher.errors import SecretFound

_LARGEST_READ = 1024 * 1024
_AT_ONCE = 256 * 1024
_ALSO_NAMED = 3
# Full of digests and ids, and written by tools that know better than to put a secret there.
_LOCK_FILES = frozenset(
    {"package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "go.sum", ".terraform.lock.hcl"}
)
_NOT_READ = (
    ".lock", ".min.js", ".min.css", ".map", ".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp",
    ".pdf", ".gz", ".zip", ".tar", ".npy", ".npz", ".pt", ".pth", ".safetensors", ".parquet",
    ".so", ".whl", ".ttf", ".woff", ".woff2", ".mp4", ".mp3", ".wav", ".onnx", ".h5",
)  # fmt: skip


def refuse_secrets(source_dir: Path, files: Sequence[CodeFile], allow: Collection[str]) -> None:
    """Raises SecretFound when one of `files` looks like a secret, or holds one.

    `allow` are names of rules, and paths or patterns of files.
    """
    found = [
        (path, finding)
        for path, finding in sorted(_in_files(source_dir, files), key=_by_place)
        if finding.rule not in allow and not _is_allowed(path, allow)
    ]
    if not found:
        return
    path, first = found[0]
    where = path if first.line is None else f"{path}, line {first.line},"
    verb = "looks like" if first.line is None else "holds what looks like"
    raise SecretFound(
        f"{where} {verb} {first.what} (rule {first.rule}), which would travel with the job: take "
        f"it out, name the file in .siftignore, or let it travel with --allow {first.rule} or "
        f"--allow {path}{_others(found[1:])}"
    )


def check_no_secrets(
    hyperparameters: Mapping[str, object],
    environment: Mapping[str, str],
    allow: Collection[str] = (),
) -> None:
    """Raises SecretFound when a hyperparameter or a variable looks like a secret: whoever may
    describe the job reads them. `allow` are names of rules, and of these."""
    named = [
        *(("hyperparameter", name, value) for name, value in hyperparameters.items()),
        *(("environment variable", name, value) for name, value in environment.items()),
    ]
    for kind, name, value in named:
        found = secret_rules.of_variable(name, value) if isinstance(value, str) else None
        if found is None or found.rule in allow or name in allow:
            continue
        raise SecretFound(
            f"{kind} {name} looks like {found.what} (rule {found.rule}), and whoever may describe "
            "the job can read it: let the script fetch it from AWS Secrets Manager, or let it "
            f"travel with --allow {found.rule} or --allow {name}"
        )


def _in_files(source_dir: Path, files: Sequence[CodeFile]) -> Iterator[tuple[str, Finding]]:
    texts: dict[str, bytes] = {}
    waiting = 0
    for file in files:
        by_name = secret_rules.in_file_name(file.path)
        if by_name is not None:
            yield file.path, by_name
        elif _is_read(file):
            text = _read(f"{source_dir}/{file.path}", file.size)
            login = secret_rules.in_login_file(file.path, text)
            if login is not None:
                yield file.path, login
            elif b"\0" not in text:
                texts[file.path] = text
                waiting += len(text)
        if waiting >= _AT_ONCE:
            yield from _in_texts(texts)
            texts.clear()
            waiting = 0
    yield from _in_texts(texts)


def _in_texts(texts: Mapping[str, bytes]) -> Iterator[tuple[str, Finding]]:
    """Searched all at once, which is where it ends for nearly all of them; else one by one."""
    if secret_rules.in_text("", b"\n".join(texts.values())):
        for path, text in texts.items():
            for finding in secret_rules.in_text(path, text):
                yield path, finding


def _is_read(file: CodeFile) -> bool:
    if not 0 < file.size <= _LARGEST_READ or file.path.endswith(_NOT_READ):
        return False
    return file.path.rpartition("/")[2] not in _LOCK_FILES


def _read(place: str, size: int) -> bytes:
    try:
        descriptor = os.open(place, os.O_RDONLY)
    except OSError:
        return b""  # packing says so
    try:
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)


def _by_place(found: tuple[str, Finding]) -> tuple[str, int]:
    return found[0], found[1].line or 0


def _is_allowed(path: str, allow: Collection[str]) -> bool:
    return any(
        path == wish or fnmatchcase(path, wish) or path.startswith(wish.rstrip("/") + "/")
        for wish in allow
    )


def _others(found: Sequence[tuple[str, Finding]]) -> str:
    if not found:
        return ""
    named = ", ".join(
        f"{path}:{finding.line} ({finding.rule})" if finding.line else f"{path} ({finding.rule})"
        for path, finding in found[:_ALSO_NAMED]
    )
    more = f" and {len(found) - _ALSO_NAMED} more" if len(found) > _ALSO_NAMED else ""
    return f"; there are also {named}{more}"
