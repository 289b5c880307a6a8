"""How the SDK is imported: only when it is asked for, quietly, and without a trace."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PATHS = os.pathsep.join(str(ROOT / name) for name in ("", "container", "entrypoints"))


def run(code: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "default", "-c", "import sys\n" + code],
        cwd=home,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONPATH": PATHS} | env,
        capture_output=True,
        text=True,
    )


def test_the_package_imports_nothing_of_it_before_the_estimator_is_asked_for(tmp_path):
    code = "import sift_launcher; print({'sagemaker', 'boto3', 'botocore'} & set(sys.modules))"
    done = run(code, tmp_path)
    assert (done.stdout, done.stderr) == ("set()\n", "")


QUIET = """
import gc, logging, os, pathlib
from sift_launcher import SiftPyTorch, sift
pathlib.Path("train.py").write_text("")
estimator = SiftPyTorch("train.py", instance_type="process", instance_count=1)
estimator.fit(wait=False)
estimator.latest_training_job.wait(logs="None")
assert gc.isenabled()
assert sys.excepthook is sys.__excepthook__
assert logging.root.handlers == [] and logging.root.level == logging.WARNING
assert "SAGEMAKER_SUPPRESS_V2_WARNING" not in os.environ
"""


def test_a_job_says_nothing_but_what_it_is_asked(tmp_path):
    done = run(QUIET, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_without_the_sdk_the_command_that_installs_it_is_named(tmp_path):
    for missing in ("sagemaker", "boto3"):
        code = f"""
sys.modules[{missing!r}] = None
from sift_launcher.errors import ExtraMissing
try:
    from sift_launcher import SiftPyTorch
except ExtraMissing as error:
    print(error)
"""
        done = run(code, tmp_path)
        assert done.stdout.endswith("pip install 'sift-launcher[cloud]'\n"), done.stderr


def test_what_is_not_there_is_no_attribute(tmp_path):
    done = run("import sift_launcher; print(hasattr(sift_launcher, 'SiftTensorFlow'))", tmp_path)
    assert done.stdout == "False\n"
