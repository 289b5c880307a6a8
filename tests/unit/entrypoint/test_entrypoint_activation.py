"""Sifting switches itself on in the Python processes of a job, and nowhere else.

A stand-in for the runtime notes where it was installed; everything else is real: interpreters,
the ``.pth`` file in a virtual environment's site-packages, ``sitecustomize`` on ``PYTHONPATH``.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from entrypoint_job import DEADLINE, ROOT, JobTree

CONFIG = '{"keep": 0.5}'
# Imports "torch" too: a small module of that name, so that no test waits for the real one.
RUNTIME = """
import sys
def install():
    sys.stderr.write(f"installed after {sys.modules['torch'].VALUE}\\n")
"""
TORCH = """
import sys
VALUE = "torch"
LOADER = __spec__.loader
assert "smart_sifting" not in sys.modules
"""


class Interpreter:
    """A Python in a virtual environment of its own, with what is on its path."""

    def __init__(self, folder: Path) -> None:
        venv.create(folder / "venv", symlinks=True)
        self.python = folder / "venv" / "bin" / "python"
        self.site = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
        self.path: list[Path] = []
        runtime = self.site / "smart_sifting" / "discovery"
        runtime.mkdir(parents=True)
        (runtime.parent / "__init__.py").touch()
        (runtime / "__init__.py").write_text(RUNTIME)
        (self.site / "torch").mkdir()
        (self.site / "torch" / "__init__.py").write_text(TORCH)
        (self.site / "torch" / "nn.py").touch()

    def install(self) -> None:
        shutil.copytree(
            ROOT / "entrypoints" / "sift_entrypoint",
            self.site / "sift_entrypoint",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        shutil.copy(ROOT / "entrypoints" / "sift_entrypoint.pth", self.site)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.python), *arguments],
            env={"PATH": os.environ["PATH"], "PYTHONPATH": ":".join(map(str, self.path))}
            | variables,
            cwd=self.site.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    return Interpreter(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    interpreter = Interpreter(tmp_path_factory.mktemp("installed"))
    interpreter.install()
    return interpreter


@pytest.fixture(scope="module")
def by_path(tmp_path_factory: pytest.TempPathFactory) -> Interpreter:
    """Not installed: switched on as the entrypoint does it for its script."""
    interpreter = Interpreter(tmp_path_factory.mktemp("by_path"))
    entrypoints = ROOT / "entrypoints"
    interpreter.path = [entrypoints / "sift_entrypoint" / "site", entrypoints]
    return interpreter


@pytest.fixture(params=["installed", "by_path"])
def either(request: pytest.FixtureRequest) -> Interpreter:
    interpreter: Interpreter = request.getfixturevalue(request.param)
    return interpreter


ARGV = "import json, sys; print(json.dumps(sys.argv[1:]))"


def test_the_runtime_is_installed_once_torch_is_imported(either: Interpreter) -> None:
    code = "import sys; print('torch' in sys.modules); import torch.nn; import torch; print(1)"
    done = either.run("-c", code, SM_HP_SIFT_CONFIG=CONFIG)
    assert done.stdout == "False\n1\n"
    assert done.stderr == "installed after torch\n"


def test_an_image_with_another_train_learns_its_checkpoint_folder_too(
    either: Interpreter, tmp_path: Path
) -> None:
    code = "import os; print(os.environ.get('SM_CHECKPOINT_DIR'))"
    base = {"SAGEMAKER_BASE_DIR": str(tmp_path)}
    assert either.run("-c", code, SM_HP_SIFT_CONFIG=CONFIG, **base).stdout == "None\n"
    config = tmp_path / "input" / "config"
    config.mkdir(parents=True)
    told = either.run("-c", code, SM_HP_SIFT_CONFIG=CONFIG, **base)
    assert told.stdout == f"{tmp_path}/checkpoints\n"
    (config / "checkpointconfig.json").write_text('{"LocalPath": "/scratch/kept"}')
    assert either.run("-c", code, SM_HP_SIFT_CONFIG=CONFIG, **base).stdout == "/scratch/kept\n"
    own = either.run("-c", code, SM_HP_SIFT_CONFIG=CONFIG, SM_CHECKPOINT_DIR="/mine", **base)
    assert own.stdout == "/mine\n"
    (config / "checkpointconfig.json").write_text("{")
    broken = either.run("-c", code, SM_HP_SIFT_CONFIG=CONFIG, **base)
    assert (broken.stdout, broken.returncode) == ("None\n", 0)
    assert "checkpointconfig.json is not JSON" in broken.stderr


def test_torch_keeps_the_loader_it_would_have_had(either: Interpreter) -> None:
    code = """if True:
        import inspect, sys
        import torch
        print(type(torch.LOADER).__name__, torch.__loader__ is torch.LOADER)
        print(torch.__spec__.loader is torch.LOADER, vars(torch.LOADER).get("exec_module"))
        print([f for f in sys.meta_path if type(f).__module__.startswith("sift")])
        print("VALUE" in inspect.getsource(torch))
    """
    done = either.run("-c", code, SM_HP_SIFT_CONFIG=CONFIG)
    assert done.stdout == "SourceFileLoader True\nTrue None\n[]\nTrue\n"


def test_looking_torch_up_without_importing_it_switches_nothing_on(either: Interpreter) -> None:
    code = "import importlib.util as u; print(u.find_spec('torch').name); import torch"
    done = either.run("-c", code, SM_HP_SIFT_CONFIG=CONFIG)
    assert done.stdout == "torch\n"
    assert done.stderr == "installed after torch\n"


def test_a_missing_torch_raises_what_it_always_did(either: Interpreter) -> None:
    code = "import sys; sys.path.remove(sys.argv[1]); import torch"
    done = either.run("-c", code, str(either.site), SM_HP_SIFT_CONFIG=CONFIG)
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'torch'\n")


def test_a_process_outside_a_job_is_untouched(either: Interpreter) -> None:
    code = "import sys, torch; print([m for m in sys.modules if m.startswith(('sift', 'smart'))])"
    done = either.run("-c", code)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_tool_in_a_job_that_never_imports_torch_does_not_import_the_runtime(
    either: Interpreter,
) -> None:
    code = "import sys; print('smart_sifting' in sys.modules)"
    done = either.run("-c", code, SM_HP_SIFT_CONFIG=CONFIG)
    assert (done.stdout, done.stderr) == ("False\n", "")


@pytest.mark.parametrize(
    ("typed", "left"),
    [
        (["--lr", "1", "--sift_config", CONFIG, "--z", "2"], ["--lr", "1", "--z", "2"]),
        (["--sift_config=" + CONFIG, "x"], ["x"]),
        (["--lr", "1", "--sift_config"], ["--lr", "1"]),
        (["--sift_config_file", "x", "--sift", "y"], ["--sift_config_file", "x", "--sift", "y"]),
        (
            ["--sift_arguments", '["--a", "b c"]', "--sift_config", CONFIG, "--z", "2"],
            ["--z", "2", "--a", "b c"],
        ),
        (["--sift_arguments", json.dumps(json.dumps(["x"])), "y"], ["y", "x"]),
        ([], []),
    ],
)
def test_sifts_arguments_are_gone_from_argv(
    either: Interpreter, typed: list[str], left: list[str]
) -> None:
    done = either.run("-c", ARGV, *typed, SM_HP_SIFT_CONFIG=CONFIG)
    assert (json.loads(done.stdout), done.stderr) == (left, "")


def test_they_are_gone_for_a_module_and_a_script_too(either: Interpreter, tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text(ARGV)
    arguments = ["--a", "1", "--sift_config", CONFIG]
    for how in (["-m", "tool"], [str(tmp_path / "tool.py")]):
        done = either.run(
            *how, *arguments, PYTHONPATH=f"{':'.join(map(str, either.path))}:{tmp_path}"
        )
        assert (done.stdout, done.stderr) == ('["--a", "1"]\n', "")


def test_the_environments_arguments_win_over_a_list_that_argv_garbled(either: Interpreter) -> None:
    done = either.run(
        "-c",
        ARGV,
        "--sift_arguments",
        "['--a', 'b']",
        SM_HP_SIFT_CONFIG=CONFIG,
        SM_HP_SIFT_ARGUMENTS='["--a","b"]',
    )
    assert json.loads(done.stdout) == ["--a", "b"]


def test_a_configuration_that_came_by_argv_alone_is_handed_on(either: Interpreter) -> None:
    code = "import os, torch; print(os.environ['SM_HP_SIFT_CONFIG'])"
    done = either.run("-c", code, "--sift_config", CONFIG)
    assert (done.stdout, done.stderr) == (CONFIG + "\n", "installed after torch\n")


def test_a_programs_own_option_of_that_name_is_left_alone_outside_a_job(
    either: Interpreter,
) -> None:
    done = either.run("-c", ARGV, "--sift_config", "mine.yaml")
    assert json.loads(done.stdout) == ["--sift_config", "mine.yaml"]


@pytest.mark.parametrize("module", ["torch.distributed.run", "torch.distributed.launch"])
def test_what_starts_ranks_is_not_sifted_itself(either: Interpreter, module: str) -> None:
    folder = either.site / "torch" / "distributed"
    folder.mkdir(exist_ok=True)
    (folder / "__init__.py").touch()
    (folder / f"{module.rsplit('.', 1)[1]}.py").write_text(ARGV)
    done = either.run("-m", module, "t.py", "--sift_config", CONFIG, SM_HP_SIFT_CONFIG=CONFIG)
    assert (done.stdout, done.stderr) == ('["t.py"]\n', "")


def test_children_that_multiprocessing_spawns_are_sifted(
    either: Interpreter, tmp_path: Path
) -> None:
    script = tmp_path / "spawn.py"
    script.write_text(
        """
import multiprocessing, sys
def rank():
    import torch
    print(sys.argv[1:])
if __name__ == "__main__":
    child = multiprocessing.get_context("spawn").Process(target=rank)
    child.start()
    child.join()
"""
    )
    done = either.run(str(script), "--sift_config", CONFIG, "a", SM_HP_SIFT_CONFIG=CONFIG)
    assert (done.stdout, done.stderr) == ("['a']\n", "installed after torch\n")


def test_a_runtime_that_fails_is_one_line_and_the_program_goes_on(
    either: Interpreter, tmp_path: Path
) -> None:
    broken = tmp_path / "smart_sifting" / "discovery"
    broken.mkdir(parents=True)
    (broken.parent / "__init__.py").touch()
    (broken / "__init__.py").write_text("def install():\n    raise RuntimeError('no\\nway')")
    path = f"{':'.join(map(str, either.path))}:{tmp_path}"
    done = either.run(
        "-c", "import torch; print('went on')", SM_HP_SIFT_CONFIG=CONFIG, PYTHONPATH=path
    )
    assert (done.stdout, done.stderr) == ("went on\n", "sift: off: no way\n")


def test_a_missing_runtime_is_one_line(either: Interpreter, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path = [p for p in sys.path if p != {str(either.site)!r}]; import torch"
    )
    (tmp_path / "torch.py").write_text("VALUE = 1")
    path = f"{':'.join(map(str, either.path))}:{tmp_path}"
    done = either.run("-c", code, SM_HP_SIFT_CONFIG=CONFIG, PYTHONPATH=path)
    assert done.stderr == "sift: off: No module named 'smart_sifting'\n"


def test_raw_arguments_that_are_no_list_are_one_line(either: Interpreter) -> None:
    done = either.run("-c", ARGV, "--sift_arguments", "{", SM_HP_SIFT_CONFIG=CONFIG)
    assert done.stdout == "[]\n"
    assert done.stderr.startswith("sift: off: ")
    assert done.stderr.count("\n") == 1


def test_the_next_sitecustomize_on_the_path_still_runs(
    by_path: Interpreter, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("print('the next one:', __file__)")
    path = f"{':'.join(map(str, by_path.path))}:{tmp_path}"
    done = by_path.run("-c", "import torch", SM_HP_SIFT_CONFIG=CONFIG, PYTHONPATH=path)
    assert done.stdout == f"the next one: {tmp_path}/sitecustomize.py\n"
    assert done.stderr == "installed after torch\n"


def test_two_copies_of_the_runtime_do_not_call_each_other_for_ever(
    by_path: Interpreter, tmp_path: Path
) -> None:
    copy = shutil.copytree(ROOT / "entrypoints" / "sift_entrypoint" / "site", tmp_path / "copy")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("print('the next one')")
    path = ":".join([*map(str, by_path.path), str(copy), str(tmp_path / "own")])
    done = by_path.run("-c", "import torch", SM_HP_SIFT_CONFIG=CONFIG, PYTHONPATH=path)
    assert done.stdout == "the next one\n"
    assert done.stderr == "installed after torch\n"


def test_both_ways_at_once_switch_on_once(installed: Interpreter) -> None:
    site = ROOT / "entrypoints" / "sift_entrypoint" / "site"
    done = installed.run("-c", "import torch", SM_HP_SIFT_CONFIG=CONFIG, PYTHONPATH=str(site))
    assert done.stderr == "installed after torch\n"


def test_the_pth_file_is_one_line_that_a_removed_package_does_not_break(bare: Interpreter) -> None:
    pth = ROOT / "entrypoints" / "sift_entrypoint.pth"
    assert len(pth.read_text().splitlines()) == 1
    shutil.copy(pth, bare.site)
    done = bare.run("-c", "print('fine')")
    assert (done.stdout, done.stderr) == ("fine\n", "")


def test_the_entrypoint_switches_its_script_on_when_it_is_not_installed(
    job: JobTree, by_path: Interpreter
) -> None:
    job.script("import sys, torch; print(sys.argv)")
    job.hyperparameters(sift_config=CONFIG, lr=1)
    job.python = str(by_path.python)
    done = job.run()
    assert (done.stdout, done.stderr) == ("['train.py', '--lr', '1']\n", "installed after torch\n")


def test_the_entrypoint_leaves_the_path_alone_when_it_is_installed(
    job: JobTree, installed: Interpreter
) -> None:
    job.script("import os, torch; print(os.environ['PYTHONPATH'])")
    job.hyperparameters(sift_config=CONFIG)
    job.python, job.packages = str(installed.python), []
    done = job.run(PYTHONPATH="/elsewhere")
    assert (done.stdout, done.stderr) == (f"{job.code}:/elsewhere\n", "installed after torch\n")


def test_a_job_without_sift_configuration_is_not_switched_on(
    job: JobTree, by_path: Interpreter
) -> None:
    job.script("import os, torch; print(os.environ['PYTHONPATH'])")
    job.python = str(by_path.python)
    done = job.run()
    ours = ROOT / "entrypoints"
    path = [ours / "sift_entrypoint" / "site", ours, job.code, ours]
    assert (done.stdout, done.stderr) == (":".join(map(str, path)) + "\n", "")


def test_a_sitecustomize_in_the_code_folder_runs_and_does_not_hide_ours(
    job: JobTree, by_path: Interpreter
) -> None:
    job.script("print('custom')", "sitecustomize.py")
    job.script("import torch")
    job.hyperparameters(sift_config=CONFIG)
    job.python = str(by_path.python)
    done = job.run()
    assert (done.stdout, done.stderr) == ("custom\n", "installed after torch\n")


@pytest.mark.parametrize(
    ("log", "writes"),
    [
        ("{stdout}", [b"a 1\n", b"50 %\r", b"half"]),
        ("7:8 {stdout}", [b"a 1\n", b"50 %\r", b"half"]),
        # A pipe of the script's own: whoever reads it may wait for half a line.
        ("7:8 9:10", [b"a", b" ", b"1", b"\n", b"50 %", b"\r", b"half"]),
    ],
)
def test_a_line_goes_to_the_jobs_log_with_one_write(
    either: Interpreter, log: str, writes: list[bytes]
) -> None:
    ours, scripts = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # keeps writes apart
    status = os.fstat(scripts.fileno())
    with ours:
        with scripts:
            done = subprocess.run(
                [either.python, "-c", "print('a', 1); print('50 %', end='\\r'); print(end='half')"],
                env={
                    "PYTHONPATH": ":".join(map(str, either.path)),
                    "PYTHONUNBUFFERED": "1",
                    "JOB_LOG_STREAMS": log.format(stdout=f"{status.st_dev}:{status.st_ino}"),
                },
                stdout=scripts,
                check=False,
            )
        assert done.returncode == 0
        assert list(iter(lambda: ours.recv(100), b"")) == writes


def test_a_script_that_buffers_goes_on_doing_so(job: JobTree, either: Interpreter) -> None:
    job.script("import sys; sys.stderr.write(str(sys.stdout.line_buffering))")
    job.python = str(either.python)
    assert job.run(PYTHONUNBUFFERED="").stderr == "False"
    assert job.run().stderr == "True"


def test_a_script_without_standard_streams_runs(job: JobTree, either: Interpreter) -> None:
    job.script(f'exec {either.python} -c \'open("ran", "w")\' >&- 2>&-\n', "run.sh")
    job.hyperparameters("run.sh")
    job.python = str(either.python)
    assert job.run().returncode == 0
    assert (job.code / "ran").exists()


def test_the_entrypoint_itself_never_imports_torch(job: JobTree) -> None:
    job.script("pass")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sift_entrypoint.train"],
        env=job.environment(SM_HP_SIFT_CONFIG=CONFIG),
        capture_output=True,
        text=True,
        check=False,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "sift_entrypoint.child" in imported
    slow = {"torch", "smart_sifting", "argparse", "asyncio", "subprocess", "typing", "pathlib"}
    assert imported & (slow | {"dataclasses", "tarfile", "urllib.parse", "socket"}) == set()
