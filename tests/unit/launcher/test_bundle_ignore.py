"""What `.gitignore` and `.siftignore` leave out; git itself is asked whether it agrees."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sift_launcher.bundle import list_bundle

TREE = [
    "train.py", "a.log", "b.LOG", "keep.log", "name\\with.log", "space ", "#hash", "!bang", "[x]",
    "foo", "foobar", "x.py", "data/a.bin", "data/b.txt", "data/sub/a.bin", "data/sub/deep/c.txt",
    "data/sub/deep/a.bin", "lib/data/x.bin", "lib/foo/y.txt", "lib/foo.d/z.txt", "lib/a-b.txt",
    "lib/a.b/c.txt", "lib/.hidden", "src/one/two/three.txt", "src/one/three.txt", "src/three.txt",
    "src/[a]/1.txt", "src/ü.txt", "src/ab1.txt", "src/a1.txt", "src/b2.txt", "src/z9.txt",
    "src/A1.txt", "src/-.txt", "src/].txt", "out/model.pt", "out/logs/run.log",
    "out/logs/keep.log", "deep/out/model.pt",
]  # fmt: skip


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(path)


def git(root: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    here = {"HOME": str(root), "XDG_CONFIG_HOME": str(root), "GIT_CONFIG_GLOBAL": os.devnull}
    done = subprocess.run(
        ["git", *arguments],
        cwd=root,
        env=clean | here | {"GIT_CONFIG_NOSYSTEM": "1"},
        input=stdin,
        capture_output=True,
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def kept_by_git(root: Path) -> list[str]:
    files = [path for path in root.rglob("*") if path.is_file()]
    paths = [path.relative_to(root).as_posix() for path in files]
    paths = sorted(path for path in paths if not path.startswith(".git/"))
    asked = b"".join(os.fsencode(path) + b"\0" for path in paths)
    told = git(root, "check-ignore", "--no-index", "--stdin", "-z", stdin=asked)
    ignored = {os.fsdecode(path) for path in told.split(b"\0")}
    return [path for path in paths if path not in ignored or path == "train.py"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    git(root, "init", "--quiet")
    write(root, *TREE)
    return root


PATTERNS = [
    "*.log", "*.log\n!keep.log", "!keep.log\n*.log", "*", "*\n!data", "*\n!*/\n!*.txt", "foo",
    "foo/", "/foo", "foo*", "*foo", "lib/foo", "lib/foo/", "/lib/foo*", "lib/*", "lib/*\n!lib/foo",
    "data/", "/data/", "data/*", "data/**", "**/data", "**/data/", "/**/data", "data/**/a.bin",
    "data/**/*.bin", "**/deep/**", "src/**/three.txt", "src/**three.txt", "src/***/three.txt",
    "src/*/three.txt", "src/one/**/", "**", "**/", "/**", "/*", "/*/", "*/", "/", "//data",
    "**.txt", "src**", "a.log ", "a.log\\ ", "space\\ ", "space\\  ", "space ", "#hash", "\\#hash",
    "!bang", "\\!bang", "\\a.log", "a.log\\", "name\\\\with.log", "name\\with.log", "[x]",
    "\\[x\\]", "[[]x]", "src/[a]", "src/\\[a\\]", "src/[ab][0-9].txt", "src/[!ab]?.txt",
    "src/[^ab]?.txt", "src/[a-z][0-9].txt", "src/[z-a]1.txt", "src/[]].txt", "src/[]-].txt",
    "src/[a-].txt", "src/[!]].txt", "src/[a", "src[/]a1.txt", "src?a1.txt",
    "src/[[:alpha:]][[:digit:]].txt", "src/[[:upper:]]1.txt", "src/[[:nonsense:]]1.txt",
    "src/[[:space:]].txt", "src/[[:alpha:]-z]1.txt", "src/[a\\-z]1.txt", "src/ü.txt", "src/?.txt",
    "src/??.txt", "src/[ü].txt", "src/*1.txt", "*.TXT", "deep", "deep/out", "out/",
    "out/\n!out/logs/", "out/*\n!out/logs\nout/logs/*\n!out/logs/keep.log", "out\n!out/model.pt",
    "\ufeff*.log", "a.log\r\nfoo\r", "\t*.log", "   ", "", "#", "!", "!!a.log",
    "a.log\n!a.log\na.log", ".*", "*.*", "?.log", "lib/a?b*", "lib/a.b", "lib/a\\.b",
    "*/*/three.txt", "*/three.txt", "**/three.txt", "src/one/", "data/sub", "sub/", "sub/deep",
    "/sub", "x.py/", "*.py[co]",
]  # fmt: skip


@pytest.mark.parametrize("patterns", PATTERNS)
def test_what_stays_behind_is_what_git_ignores(repository: Path, patterns: str):
    (repository / ".gitignore").write_bytes(patterns.encode())
    kept = [file.path for file in list_bundle(repository, "train.py").files]
    assert kept == kept_by_git(repository)


@pytest.mark.parametrize(
    "ignores",
    [
        {".gitignore": "*.bin", "data/.gitignore": "!*.bin", "data/sub/.gitignore": "a.bin"},
        {".gitignore": "data/", "data/.gitignore": "!*"},
        {"data/.gitignore": "/sub", "lib/.gitignore": "data/x.bin"},
        {"data/.gitignore": "sub/*.bin\n!deep", "data/sub/.gitignore": "/deep/c.txt"},
        {".git/info/exclude": "*.txt\nlib/", ".gitignore": "!data/b.txt\n!lib/"},
        {".git/info/exclude": "/data", "data/.gitignore": "!a.bin"},
        {".gitignore": "*\n!*/\n!.gitignore", "src/.gitignore": "!three.txt"},
    ],
)
def test_files_at_every_level_count_as_in_git(tmp_path: Path, ignores: dict[str, str]):
    git(tmp_path, "init", "--quiet")
    write(tmp_path, *TREE)
    for path, text in ignores.items():
        (tmp_path / path).write_text(text)
    kept = [file.path for file in list_bundle(tmp_path, "train.py").files]
    assert kept == kept_by_git(tmp_path)


def test_the_rules_above_the_source_folder_count_up_to_the_repository(tmp_path: Path):
    (tmp_path / ".gitignore").write_text("train.py\n*.txt\n")  # outside of it
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "--quiet")
    write(root, "proj/sub/train.py", "proj/sub/a.bin", "proj/sub/b.txt", "proj/sub/sub/c.log")
    (root / ".gitignore").write_text("/proj/sub/sub/*.log\nsub/a.bin\n/a.bin\nproj/\n")
    (root / "proj" / ".gitignore").write_text("!a.bin\n")
    (root / ".git" / "info" / "exclude").write_text("b.txt\n")
    bundle = list_bundle(root / "proj" / "sub", "train.py")
    # That the source folder itself is ignored says nothing: it was named.
    assert [file.path for file in bundle.files] == ["a.bin", "train.py"]
    assert bundle.left_out == ("b.txt", "sub/c.log")


def kept(root: Path) -> list[str]:
    paths = [file.path for file in list_bundle(root, "train.py").files]
    return [path for path in paths if not path.endswith("ignore")]


@pytest.mark.parametrize(
    ("sift", "back"),
    [
        ("*.log", ["data/a.csv", "train.py"]),
        ("data/", ["a.log", "train.py"]),
        ("!ckpt/", ["a.log", "ckpt/m.pt", "ckpt/n.pt", "data/a.csv", "train.py"]),
        ("!ckpt/m.pt", ["a.log", "ckpt/m.pt", "data/a.csv", "train.py"]),
        ("!/ckpt/n.*", ["a.log", "ckpt/n.pt", "data/a.csv", "train.py"]),
        ("!m.pt", ["a.log", "data/a.csv", "train.py"]),
        ("!vendor/lib.so", ["a.log", "data/a.csv", "train.py", "vendor/lib.so"]),
        ("!*.so", ["a.log", "data/a.csv", "train.py", "vendor/lib.so"]),
        ("!venv/", ["a.log", "data/a.csv", "train.py", "venv/pyvenv.cfg", "venv/x"]),
        ("!venv/x", ["a.log", "data/a.csv", "train.py", "venv/x"]),
        ("!.env", [".env", "a.log", "data/a.csv", "train.py"]),
        ("!out/", ["a.log", "data/a.csv", "train.py"]),
        ("!.git/\n!.git\n!.sift/", ["a.log", "data/a.csv", "train.py"]),
        ("ckpt/\n!ckpt/m.pt", ["a.log", "data/a.csv", "train.py"]),
    ],
)
def test_siftignore_has_the_last_word(tmp_path: Path, sift: str, back: list[str]):
    write(tmp_path, "train.py", "a.log", "data/a.csv", "ckpt/m.pt", "ckpt/n.pt", "vendor/lib.so")
    write(tmp_path, "venv/pyvenv.cfg", "venv/x", ".env", ".git/HEAD", ".sift/x", "out/model")
    (tmp_path / ".gitignore").write_text("ckpt/\n*.so\n")
    (tmp_path / ".siftignore").write_text(sift)
    paths = [
        file.path for file in list_bundle(tmp_path, "train.py", exclude=[tmp_path / "out"]).files
    ]
    assert [path for path in paths if not path.endswith("ignore")] == back


def test_a_siftignore_further_down_counts_first(tmp_path: Path):
    write(tmp_path, "train.py", "a/x.bin", "a/b/x.bin", "c/x.bin")
    (tmp_path / ".siftignore").write_text("*.bin\n")
    (tmp_path / "a" / ".siftignore").write_text("!x.bin\n")
    (tmp_path / "a" / "b" / ".siftignore").write_text("x.bin\n")
    assert kept(tmp_path) == ["a/x.bin", "train.py"]


def test_what_is_left_behind_is_named_once(tmp_path: Path):
    write(tmp_path, "train.py", "ckpt/m.pt", "ckpt/n.pt", "venv/pyvenv.cfg", "venv/lib/x")
    (tmp_path / ".gitignore").write_text("ckpt/\n")
    (tmp_path / ".siftignore").write_text("!ckpt/m.pt\n!venv/lib/y\n")
    assert list_bundle(tmp_path, "train.py").left_out == ("ckpt/", "venv/")
