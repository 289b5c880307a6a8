"""The files a build is given, and the stream in which the engine gets them."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sift_launcher.errors import BuildFailed
from sift_launcher.image.spec import ImageSpec, wheels
from sift_launcher.runtime import runtime_files

_PACKAGE = Path(__file__).resolve().parents[1]
_CHUNK_BYTES = 1 << 20

_ENTRYPOINT = """\
COPY --from=files /export-job/ /
ENTRYPOINT ["python3", "-m", "sift_entrypoint"]
CMD ["train"]
"""


@dataclass(frozen=True)
class ContextFile:
    """A file of the context: its content, or where that lies."""

    source: Path | bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return self.source.stat().st_size if isinstance(self.source, Path) else len(self.source)

    def chunks(self) -> Iterator[bytes]:
        """The content, in parts: a wheel may be larger than the memory that is free."""
        if isinstance(self.source, bytes):
            yield self.source
            return
        with self.source.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk


def container_folder() -> Path:
    """Where the Dockerfiles and what they copy lie: installed with us, or in our checkout."""
    installed = _PACKAGE / "_container"
    return installed if installed.is_dir() else _PACKAGE.parent / "container"


def full_context(spec: ImageSpec, labels: Mapping[str, str]) -> dict[str, ContextFile]:
    """By path, what a whole image is built from."""
    folder = container_folder()
    ours = ("install.py", "requirements.lock")
    files = {name: ContextFile(folder / name) for name in ours}
    files["Dockerfile"] = _dockerfile("Dockerfile", _label(labels))
    wanted = spec.requirements.read_bytes() if spec.requirements else b""
    files["requirements.txt"] = ContextFile(wanted)
    files |= _runtime() | _toolkit_names(folder)
    if spec.wheelhouse is not None:
        files |= {f"wheelhouse/{path.name}": ContextFile(path) for path in wheels(spec.wheelhouse)}
    return dict(sorted(files.items()))


def stock_context(with_entrypoint: bool, labels: Mapping[str, str]) -> dict[str, ContextFile]:
    """By path, what is added to an image that has torch already."""
    entrypoint = _ENTRYPOINT if with_entrypoint else ""
    files = {
        "Dockerfile": _dockerfile("Dockerfile.stock", entrypoint + _label(labels)),
        "install.py": ContextFile(container_folder() / "install.py"),
    }
    return dict(sorted((files | _runtime()).items()))


def tar_stream(files: Mapping[str, ContextFile]) -> Iterator[bytes]:
    """The context as a tar: the same bytes for the same files, whatever their dates or owners."""
    folders = {"wheelhouse"}  # copied even when it is empty
    for name in files:
        folders |= {parent.as_posix() for parent in Path(name).parents if parent.name}
    for name in sorted(folders):
        yield _header(name, tarfile.DIRTYPE, 0)
    for name, file in sorted(files.items()):
        size = file.size
        yield _header(name, tarfile.REGTYPE, size)
        sent = 0
        for chunk in file.chunks():
            sent += len(chunk)
            yield chunk
        if sent != size:
            raise BuildFailed(f"{name} changed while it was sent to the engine: build again")
        yield bytes(-size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _dockerfile(name: str, more: str) -> ContextFile:
    return ContextFile((container_folder() / name).read_bytes() + more.encode("utf-8"))


def _label(labels: Mapping[str, str]) -> str:
    """One instruction for all, which is one step; given to the engine, each would be one."""
    pairs = [f"{_quoted(key)}={_quoted(value)}" for key, value in sorted(labels.items())]
    return "LABEL " + " \\\n      ".join(pairs) + "\n"


def _quoted(text: str) -> str:
    for special in ("\\", '"', "$"):
        text = text.replace(special, f"\\{special}")
    return f'"{text}"'


def _runtime() -> dict[str, ContextFile]:
    return {f"runtime/{name}": ContextFile(path) for name, path in runtime_files().items()}


def _toolkit_names(folder: Path) -> dict[str, ContextFile]:
    """The public toolkit's name, which scripts import: an image that has the toolkit keeps it."""
    names = folder / "compat"
    return {
        f"runtime/{path.relative_to(names).as_posix()}": ContextFile(path)
        for path in names.rglob("*.py")
    }


def _header(name: str, kind: bytes, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.size = size
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info.tobuf(tarfile.PAX_FORMAT)
