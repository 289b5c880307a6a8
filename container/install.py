"""Fills the folders that become an image's layers; the Dockerfiles run it in their build stages.

    python3 install.py packages       # an environment with torch and what is locked beside it
    python3 install.py requirements   # what the user asked for besides
    python3 install.py runtime        # the sifting runtime, for the interpreter that runs this
    python3 install.py job            # the folders of a job

Standard library only, for Python 3.10 and later. What it leaves below the exported folders depends
on its inputs alone, to the bit: dates are fixed, and bytecode is compiled in a fixed order and
checked against nothing, so that it holds whatever the date of its source.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from py_compile import PycInvalidationMode

BUILD = Path("/build")
EXPORT = Path("/export")
RUNTIME_EXPORT = Path("/export-runtime")
JOB_EXPORT = Path("/export-job")
VENV = Path("/opt/venv")
TOOLKIT = "sagemaker_training"  # the public one keeps its name where it is installed

DATE = 315532800  # 1980-01-01, the first that a zip can tell, in seconds
COMPILERS = 4  # a fixed number: what is compiled together shares its strings, and so its bytes

JOB_FOLDERS = (
    "code",
    "checkpoints",
    "input/config",
    "input/data",
    "model",
    "output/data",
)
# By name below site-packages; torch's headers stay where something is to be compiled with them.
DEAD_WEIGHT = ("torch/test", "torch/share", "torch/lib/*_test.so", "**/*.a")
HEADERS = "torch/include"
TESTED = ("mpmath", "networkx", "numpy", "sympy")
"""Packages whose tests nothing but themselves imports."""


def main(arguments: list[str]) -> int:
    """Runs the steps that are named, one after the other; the code to exit with."""
    # pip is run before it is compiled: by itself it would leave bytecode with dates in it.
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    if arguments[0] == "compile":
        return _compile_share(int(arguments[1]), Path(arguments[2]))
    for step in arguments:
        if code := _STEPS[step]():
            return code
    return 0


def packages() -> int:
    """Makes the environment, with torch, what is locked, and the folders of a job."""
    torch, device = os.environ["TORCH"], os.environ["DEVICE"]
    job(EXPORT)
    _make_environment()
    pip = [*_pip(), "--python", str(VENV / "bin/python3")]
    locked = str(BUILD / "requirements.lock")
    if code := _run([*pip, "install", *_QUIETLY, "--require-hashes", "--no-deps", "-r", locked]):
        return code
    _finish()  # already here: the pip that follows is quicker with its bytecode
    code = _refuse_wrong_torch(torch, device)
    code = code or _run([*_own_pip(), "install", *_QUIETLY, f"torch=={torch}"])
    if code == 0:
        _finish()
    return code


def requirements() -> int:
    """Adds what the user's file names; torch stays the one that is there."""
    wanted = BUILD / "requirements.txt"
    if not wanted.read_text("utf-8").strip():
        return 0
    constraint = BUILD / "constraint.txt"
    constraint.write_text(f"torch=={os.environ['TORCH']}\n", "utf-8")
    pip = [*_own_pip(), "install", *_QUIETLY, "-c", str(constraint), "-r", str(wanted)]
    if code := _run(pip):
        return code
    settle(VENV, EXPORT)
    return 0


def runtime() -> int:
    """Lays the runtime out for the site-packages folder of the interpreter that runs this."""
    site_packages = Path(sysconfig.get_path("purelib"))
    target = RUNTIME_EXPORT / site_packages.relative_to("/")
    shutil.copytree(BUILD / "runtime", target)
    if (site_packages / TOOLKIT).exists():  # brought by the user's requirements
        shutil.rmtree(target / TOOLKIT, ignore_errors=True)
    for folder in (site_packages, *site_packages.parents):
        # What is copied over the image's own folders leaves them as open as they were.
        (RUNTIME_EXPORT / folder.relative_to("/")).chmod(folder.stat().st_mode & 0o7777)
    settle(target, RUNTIME_EXPORT)
    return 0


def job(tree: Path = JOB_EXPORT) -> int:
    """Makes the folders that a job is laid out in, for a container of any user."""
    root = tree / "opt/ml"
    for name in JOB_FOLDERS:
        (root / name).mkdir(parents=True)
    for folder in (root, *root.rglob("*")):
        folder.chmod(0o777)
    for path in _everything(tree):
        os.utime(path, (DATE, DATE))
    return 0


def slim(site_packages: Path, with_headers: bool) -> None:
    """Removes what no training imports: tests, static libraries, headers, tools."""
    patterns = [*DEAD_WEIGHT, *(f"{name}/**/tests" for name in TESTED)]
    if not with_headers:
        patterns.append(HEADERS)
    for pattern in patterns:
        for path in list(site_packages.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in site_packages.glob("torch/bin/*"):
        if path.name == "torch_shm_manager":  # DataLoader workers share tensors through it
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def settle(sources: Path, tree: Path) -> None:
    """Compiles the Python files below `sources` and gives all of `tree` the one date."""
    shares = [
        subprocess.Popen(
            [sys.executable, __file__, "compile", str(share), str(sources)],
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
        for share in range(COMPILERS)
    ]
    # The exit codes say nothing: packages carry files for other Pythons, which do not compile.
    for share in shares:
        share.wait()
    for path in _everything(tree):
        # Only what is new: a date that is set again would copy the file into the next layer.
        if path.lstat().st_mtime != DATE:
            os.utime(path, (DATE, DATE), follow_symlinks=False)


_STEPS = {"packages": packages, "requirements": requirements, "runtime": runtime, "job": job}
_QUIETLY = (
    "--no-compile",
    "--no-cache-dir",
    "--disable-pip-version-check",
    "--root-user-action=ignore",
    "--progress-bar=off",
)


def _make_environment() -> None:
    """A virtual environment that goes by VENV, and whose files lie below EXPORT."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(VENV)], check=True)
    VENV.symlink_to(VENV.rename(EXPORT / VENV.relative_to("/")))


def _finish() -> None:
    slim(_site_packages(VENV), with_headers=bool(os.environ["COMPILER"]))
    settle(VENV, EXPORT)


def _pip() -> list[str]:
    """How to call a pip: the base's, or the wheelhouse's right out of its wheel."""
    wheel = next(iter(sorted((BUILD / "wheelhouse").glob("pip-*.whl"))), None)
    if wheel is not None:
        return [sys.executable, f"{wheel}/pip"]
    has_pip = subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True)
    if has_pip.returncode == 0:
        return [sys.executable, "-m", "pip"]
    raise SystemExit(
        "ERROR: the base has no pip: name one that has it with --base, or a folder of wheels "
        "that holds pip's with --wheelhouse"
    )


def _own_pip() -> list[str]:
    return [str(VENV / "bin/python3"), "-m", "pip"]


def _refuse_wrong_torch(torch: str, device: str) -> int:
    """Asks pip what it would install, before gigabytes of it are on their way."""
    report = BUILD / "report.json"
    call = [*_own_pip(), "install", *_QUIETLY, "--quiet", "--dry-run", "--report", str(report)]
    if code := _run([*call, f"torch=={torch}"]):
        return code
    found = {
        each["metadata"]["name"].lower(): each["metadata"]["version"]
        for each in json.loads(report.read_text("utf-8"))["install"]
    }
    has_cuda = any(name.startswith(("nvidia-", "cuda-")) for name in found)
    if has_cuda and device == "cpu":
        _say(
            f"ERROR: pip found torch {found['torch']} with CUDA, which weighs gigabytes: name "
            "CPU wheels with --extra-index URL or --wheelhouse DIR, or build with --device gpu"
        )
        return 1
    if not has_cuda and device == "gpu":
        _say(
            f"ERROR: pip found torch {found['torch']} without CUDA: name CUDA wheels with "
            "--extra-index URL or --wheelhouse DIR, or build with --device cpu"
        )
        return 1
    return 0


def _site_packages(environment: Path) -> Path:
    return next(environment.glob("lib/python3*/site-packages"))


def _compile_share(share: int, sources: Path) -> int:
    files = sorted(path for path in _everything(sources) if path.suffix == ".py")
    for path in files[share::COMPILERS]:
        if _is_compiled(path):
            continue
        compileall.compile_file(
            path,
            quiet=2,
            stripdir=str(RUNTIME_EXPORT),
            prependdir="/" if path.is_relative_to(RUNTIME_EXPORT) else None,
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )
    return 0


def _is_compiled(path: Path) -> bool:
    """Whether an earlier layer has this very file's bytecode."""
    return path.lstat().st_mtime == DATE and any(
        (path.parent / "__pycache__").glob(f"{path.stem}.{sys.implementation.cache_tag}.pyc")
    )


def _everything(folder: Path) -> Iterable[Path]:
    """The folder and all below it; of a link, itself."""
    yield folder
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(where) / name


def _run(call: list[str]) -> int:
    return subprocess.run(call, check=False).returncode


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
