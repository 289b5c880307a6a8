"""The sifting runtime, where it travels with a job's code because the image does not have it.

Below `.sift/` of the code lie the runtime's packages; PYTHONPATH makes every Python process of the
job find them, and its `sitecustomize` switches sifting on. Nothing is built, pushed or installed.
"""

from __future__ import annotations

from sift_launcher.bundle import RUNTIME_FOLDER, CodeFile
from sift_launcher.images import ImageFacts
from sift_launcher.runtime import HOOK, runtime_files

ENTRYPOINT = ("python3", "-m", "sift_entrypoint")
"""How an image that has no `train` of its own starts a job."""

CODE_ARCHIVE = "/opt/ml/input/data/code/sourcedir.tar.gz"
"""Where a host finds the code when it comes as the channel `code`, as the estimator names it."""

_CODE = "/opt/ml/code"
_FOLDER = f"{_CODE}/{RUNTIME_FOLDER}"
_PATH = (f"{_FOLDER}/sift_entrypoint/site", _FOLDER)


# Starts the runtime that lies in the archive: by Python alone, for an image need have neither a
# shell nor tar. One line of at most 256 characters, which is what a request has room for
# (docs.aws.amazon.com/sagemaker/latest/APIReference/API_AlgorithmSpecification.html).
_START = (
    "import os,sys,tarfile;"
    f"t=tarfile.open({CODE_ARCHIVE!r});"
    f"t.extractall({_CODE!r},[m for m in t if m.name.startswith({RUNTIME_FOLDER + '/'!r})]);"
    "os.execl(p:=sys.executable,p,'-m','sift_entrypoint','train')"
)


def cloud_entrypoint() -> tuple[str, ...]:
    """How SageMaker starts a job in an image that has no `train` of its own.

    The code comes as the channel `code`. Of its archive only the runtime is unpacked here; the
    runtime unpacks the rest, as in any other image.
    """
    # Isolated, for a tarfile.py may lie in the image's folder; no warnings: the archive is ours.
    return ("python3", "-I", "-W", "ignore", "-c", _START)


def carried_files() -> tuple[CodeFile, ...]:
    """The runtime's files as a bundle holds them, sorted by path."""
    return tuple(
        CodeFile(f"{RUNTIME_FOLDER}/{name}", path.stat().st_size, str(path))
        for name, path in runtime_files().items()
        if name != HOOK  # it works in a site folder alone
    )


def python_path(wished: str) -> str:
    """The job's PYTHONPATH: the carried runtime, then what is `wished`."""
    return ":".join([*_PATH, wished] if wished else _PATH)


def note(image: ImageFacts) -> str:
    """Why the runtime travels, in one line."""
    if image.kind == "ours":
        return (
            f"image {image.name} has another version of the runtime: this one travels with the "
            "code (sift-launch build brings the image up to date)"
        )
    return f"image {image.name} has no sifting runtime: it travels with the code"
