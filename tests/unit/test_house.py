"""The rules that keep the three packages apart, and the wheel that holds them together."""

from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

import sift_launcher
import smart_sifting

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "sift_launcher": ROOT,
    "smart_sifting": ROOT / "container",
    "sift_entrypoint": ROOT / "entrypoints",
}
CLOUD = {"sagemaker", "sagemaker_core", "boto3", "botocore"}


def modules(package: str) -> dict[str, Path]:
    """Every module of a package (or of a package within it) by its dotted name."""
    base = FOLDERS[package.partition(".")[0]]
    found = {}
    for path in sorted((base / package.replace(".", "/")).rglob("*.py")):
        parts = path.relative_to(base).with_suffix("").parts
        if all((base.joinpath(*parts[:n]) / "__init__.py").exists() for n in range(1, len(parts))):
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = path
    assert found, f"no modules of {package}"
    return found


def imports(path: Path, *, at_import_only: bool = False) -> set[str]:
    """Top-level names of what a module imports, by statement or by ``import_module("name")``."""
    names = set()
    for node in walk(ast.parse(path.read_text()), at_import_only):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
        elif is_import_module(node) and isinstance(node.args[0], ast.Constant):
            names.add(str(node.args[0].value).partition(".")[0])
    return names


def is_import_module(node: ast.AST) -> TypeGuard[ast.Call]:
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module")


def walk(node: ast.AST, at_import_only: bool) -> Iterator[ast.AST]:
    yield node
    if at_import_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return
    for child in ast.iter_child_nodes(node):
        yield from walk(child, at_import_only)


def run_python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    paths = [str(folder) for folder in FOLDERS.values()]
    prelude = f"import sys; sys.path[:0] = {paths!r}\n"
    return subprocess.run(
        [sys.executable, *options, "-c", prelude + code], capture_output=True, text=True
    )


def test_the_launcher_never_imports_torch():
    offenders = {
        name for name, path in modules("sift_launcher").items() if "torch" in imports(path)
    }
    assert offenders == set()


def test_the_launcher_imports_where_torch_is_not_installed():
    wanted = [name for name in modules("sift_launcher") if not name.endswith("__main__")]
    result = run_python(
        f"sys.modules['torch'] = None\nimport importlib\n"
        f"for name in {wanted!r}: importlib.import_module(name)"
    )
    assert result.stderr == ""
    assert result.returncode == 0


@pytest.mark.parametrize("package", ["smart_sifting", "sift_entrypoint"])
def test_what_runs_in_the_container_never_imports_the_client_or_the_cloud(package):
    forbidden = {"sift_launcher"} | CLOUD
    offenders = {
        name: found
        for name, path in modules(package).items()
        if (found := imports(path) & forbidden)
    }
    assert offenders == {}


STDLIB_ONLY = ["sift_entrypoint", "smart_sifting.sift_config"]


@pytest.mark.parametrize("package", STDLIB_ONLY)
def test_these_import_the_standard_library_alone(package):
    # The runtime itself is what the entrypoint activates, later and on purpose.
    ours = {package.partition(".")[0], "smart_sifting"}
    allowed = set(sys.stdlib_module_names) | ours
    offenders = {
        name: found for name, path in modules(package).items() if (found := imports(path) - allowed)
    }
    assert offenders == {}


@pytest.mark.parametrize("package", STDLIB_ONLY)
def test_these_import_in_a_python_without_site_packages(package):
    wanted = [name for name in modules(package) if not name.endswith("__main__")]
    result = run_python(
        f"import importlib\nfor name in {wanted!r}: importlib.import_module(name)", "-I", "-S"
    )
    assert result.stderr == ""
    assert result.returncode == 0


def test_the_entrypoint_imports_nothing_of_the_runtime_before_it_is_asked_to():
    offenders = {
        name
        for name, path in modules("sift_entrypoint").items()
        if "smart_sifting" in imports(path, at_import_only=True)
    }
    assert offenders == set()


def test_importing_the_runtime_package_imports_no_torch():
    result = run_python("import smart_sifting; print('torch' in sys.modules)")
    assert result.stdout == "False\n"


def test_help_imports_neither_torch_nor_the_cloud():
    result = run_python(
        "import atexit\n"
        "sys.argv = ['sift-launch', '--help']\n"
        f"heavy = {sorted(CLOUD | {'torch', 'numpy', 'rich'})!r}\n"
        "atexit.register(lambda: print('heavy:', [n for n in heavy if n in sys.modules]))\n"
        "from sift_launcher.cli import main\nmain()"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Usage: sift-launch")
    assert result.stdout.endswith("heavy: []\n")


def test_versions_agree():
    # Read by hand: tomllib is not in Python 3.10.
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    version = next(line for line in lines if line.startswith("version = "))
    assert version == f'version = "{sift_launcher.__version__}"'
    assert smart_sifting.__version__ == sift_launcher.__version__


SCRIPTS = sorted((ROOT / "tests/e2e/loops").glob("*.py")) + sorted(ROOT.glob("examples/*/*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_scripts_know_nothing_of_us(script):
    # fetch.py, which is no training script, names its cache folder after the project.
    text = script.read_text().lower().replace('"sift-launcher"', "")
    assert "sift" not in text
    assert not imports(script) & set(FOLDERS)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    result = subprocess.run([*command, str(ROOT)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_three_packages_and_the_hook_and_no_more(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    packages = {name.partition("/")[0] for name in names}
    info = f"sift_launcher-{sift_launcher.__version__}.dist-info"
    assert packages == {*FOLDERS, "sift_entrypoint.pth", info}
    assert {f"{package}/py.typed" for package in ("sift_launcher", "smart_sifting")} <= set(names)
    assert "sift_entrypoint/site/sitecustomize.py" in names
    assert f"{info}/licenses/LICENSE" in names


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of an environment of its own with the wheel in it."""
    home = tmp_path_factory.mktemp("installed")
    venv.create(home, with_pip=False)
    site = next(home.glob("lib/python*/site-packages"))
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--quiet", str(wheel)], check=True)
    # What the wheel depends on comes from this environment, but not our checkout: Python reads
    # no .pth files of a folder that was itself added by one.
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return home / "bin"


def run_installed(installed: Path, tmp_path: Path, *command: str, **env: str) -> str:
    result = subprocess.run(
        [installed / command[0], *command[1:]],
        cwd=tmp_path,
        env={"PATH": f"{installed}:/usr/bin:/bin", "HOME": str(tmp_path), **env},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_installed_wheel_works_outside_the_checkout(installed, tmp_path):
    code = "import sift_launcher as a, smart_sifting as b, sift_entrypoint as c\n"
    files = run_installed(
        installed, tmp_path, "python", "-c", code + "print(a.__file__, b.__file__, c.__file__)"
    )
    assert [Path(file).is_relative_to(installed.parent) for file in files.split()] == [True] * 3
    assert run_installed(installed, tmp_path, "sift-launch", "--help").startswith("Usage:")


def test_the_installed_hook_wakes_only_in_a_process_with_a_sift_config(installed, tmp_path):
    code = "import sys; print('sift_entrypoint.activate' in sys.modules)"
    assert run_installed(installed, tmp_path, "python", "-c", code) == "False\n"
    woken = run_installed(installed, tmp_path, "python", "-c", code, SM_HP_SIFT_CONFIG="{}")
    assert woken == "True\n"
