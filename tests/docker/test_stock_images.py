"""Jobs on images that know nothing of us: the runtime travels with the code and switches itself on.

Three images, made here: torch alone, torch with the public toolkit's own `train`, and ours with
another version of the runtime. They stay, so that the next run finds them made.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fake_registry import serve

from sift_launcher.engine import traits
from sift_launcher.images import RUNTIME_LABEL
from sift_launcher.pull import pull
from sift_launcher.runtime import runtime_digest

if TYPE_CHECKING:
    from cli_runner import Cli
    from docker import DockerClient

pytestmark = pytest.mark.docker

LOOP = Path(__file__).parents[1] / "e2e" / "loops" / "plain.py"
ECHO = """
import json, os, sys
import smart_sifting
print(json.dumps({
    "argv": sys.argv[1:],
    "runtime": smart_sifting.__file__,
    "path": os.environ["PYTHONPATH"].split(":"),
    "job": os.environ["SM_HPS"],
}))
"""
AWKWARD = ["--flag", "two words", "", "it's", 'say "hi"', "a\nb", "$(id) `id` $HOME", "ünï ✓", "--"]

_PLAIN = """
FROM {image} AS ours
RUN cd $(python3 -c "import sysconfig; print(sysconfig.get_paths()['purelib'])") \
 && rm -rf sift_entrypoint* smart_sifting* sagemaker_training*
FROM {base}
COPY --from=ours /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
"""
_TOOLKIT = """
FROM {plain}
COPY site /tmp/site
RUN python3 -c "import shutil, sysconfig; \
shutil.copytree('/tmp/site', sysconfig.get_paths()['purelib'], dirs_exist_ok=True)" \
 && printf '#!/opt/venv/bin/python3\\nfrom sagemaker_training.cli.train import main\\nmain()\\n' \
    > /opt/venv/bin/train && chmod +x /opt/venv/bin/train && rm -r /tmp/site
CMD ["train"]
"""
# What the toolkit imports before a job starts; the rest of its dependencies is for servers.
_TOOLKIT_PACKAGES = [
    "bcrypt", "boto3", "botocore", "cffi", "cryptography", "inotify_simple", "invoke", "jmespath",
    "paramiko", "psutil", "pynacl", "python-dateutil", "pyyaml", "retrying", "s3transfer",
    "sagemaker_training", "six", "urllib3", "werkzeug",
]  # fmt: skip


def build(engine: DockerClient, tag: str, dockerfile: str, context: Path | None = None) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = context or Path(folder)
        (path / "Dockerfile").write_text(dockerfile)
        engine.images.build(path=str(path), tag=tag, rm=True)
    return tag


@pytest.fixture(scope="module")
def plain(engine: DockerClient, image: str, base_image: str) -> str:
    """A Debian with torch in it, and nothing of ours."""
    made = build(engine, "sift-test:plain", _PLAIN.format(image=image, base=base_image))
    code = "import importlib.util as u; print(u.find_spec('smart_sifting'), u.find_spec('torch'))"
    seen = engine.containers.run(made, ["python3", "-c", code], remove=True).decode()
    assert seen.startswith("None ModuleSpec")
    return made


@pytest.fixture(scope="module")
def toolkit(engine: DockerClient, plain: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same with the public toolkit, whose compiled parts are those of these tests' Python."""
    pytest.importorskip("sagemaker_training")
    context = tmp_path_factory.mktemp("toolkit")
    wanted = [f"{name}=={version(name)}" for name in _TOOLKIT_PACKAGES]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--target", str(context / "site"), *wanted], check=True)
    shutil.rmtree(context / "site" / "bin", ignore_errors=True)
    return build(engine, "sift-test:toolkit", _TOOLKIT.format(plain=plain), context)


@pytest.fixture(scope="module")
def outdated(engine: DockerClient, image: str) -> str:
    """Ours, but with a runtime that says that it is another."""
    return build(engine, "sift-test:outdated", f"FROM {image}\nLABEL sift-launcher.runtime=old\n")


@pytest.fixture(scope="module")
def without_python(engine: DockerClient) -> Iterator[str]:
    with serve() as registry:
        name = registry.add("bare/image", architecture=traits(engine).architecture)
        pull(engine, name, None, lambda _: None)
    yield name
    engine.images.remove(name, force=True)


def receipt(cli: Cli, name: str) -> dict[str, Any]:
    return json.loads((cli.results(name) / "receipt.json").read_text())


def last_json(printed: str) -> dict[str, Any]:
    return json.loads(next(line for line in printed.splitlines() if line.startswith('{"argv"')))


def test_an_unmodified_loop_is_sifted_on_a_plain_torch_image(cli: Cli, plain: str):
    cli.script(LOOP.read_text())
    ended = cli(
        "train.py", "--instance", "local", "--image", plain, "--keep", ".5", "--name", "job"
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[0] == (
        f"image {plain} has no sifting runtime: it travels with the code"
    )
    told = json.loads(re.search(r"RESULT (.*)", ended.stdout)[1])
    assert told["train_samples"] == [1000, 1000, 1000]
    seen = receipt(cli, "job")
    assert (seen["samples"]["seen"], seen["samples"]["kept"]) == (6000, 3000)
    assert seen["final"]
    # What travelled is no work of the script's.
    assert not (cli.results("job") / "code").exists()


def test_arguments_and_path_reach_the_script_on_a_plain_torch_image(cli: Cli, plain: str):
    cli.script(ECHO)
    options = ["--instance", "local", "--image", plain, "-p", "lr=0.1", "--env", "PYTHONPATH=/mine"]
    ended = cli("train.py", *options, "--", *AWKWARD)
    assert ended.returncode == 0, ended.stderr
    told = last_json(ended.stdout)
    assert told["argv"] == ["--lr", "0.1", *AWKWARD]
    assert told["runtime"] == "/opt/ml/code/.sift/smart_sifting/__init__.py"
    assert told["path"][-3:] == [
        "/opt/ml/code/.sift/sift_entrypoint/site", "/opt/ml/code/.sift", "/mine",
    ]  # fmt: skip
    assert json.loads(told["job"]) == {"lr": 0.1}


def test_a_shell_script_runs_on_a_plain_torch_image(cli: Cli, plain: str):
    cli.script('echo "sh $1"\nexit 3\n', "train.sh")
    ended = cli("train.sh", "--instance", "local", "--image", plain, "--no-sift", "--", "a b")
    assert (ended.returncode, ended.stdout) == (1, "sh a b\n")
    assert "exit code 3" in ended.stderr.splitlines()[-1]


def test_an_unmodified_loop_is_sifted_under_the_toolkits_own_train(cli: Cli, toolkit: str):
    cli.script(LOOP.read_text())
    options = ["--instance", "local", "--image", toolkit, "--keep", ".5", "--name", "job"]
    ended = cli("train.py", *options)
    assert ended.returncode == 0, ended.stderr
    assert "Reporting training SUCCESS" in ended.stdout  # it was the toolkit that ran it
    told = json.loads(re.search(r"RESULT (.*)", ended.stdout)[1])
    assert told["train_samples"] == [1000, 1000, 1000]
    seen = receipt(cli, "job")
    assert (seen["samples"]["seen"], seen["samples"]["kept"]) == (6000, 3000)


def test_arguments_reach_the_script_under_the_toolkits_own_train(cli: Cli, toolkit: str):
    cli.script(ECHO)
    options = ["--instance", "local", "--image", toolkit, "-p", "lr=0.1"]
    ended = cli("train.py", *options, "--", *AWKWARD)
    assert ended.returncode == 0, ended.stderr
    told = last_json(ended.stdout)
    assert told["argv"] == ["--lr", "0.1", *AWKWARD]
    assert told["runtime"] == "/opt/ml/code/.sift/smart_sifting/__init__.py"


def test_nothing_travels_to_the_toolkits_own_train_when_there_is_nothing_to_do(
    cli: Cli, toolkit: str
):
    cli.script("import os; print('files', sorted(os.listdir('.')))")
    ended = cli("train.py", "--instance", "local", "--image", toolkit, "--no-sift")
    assert ended.returncode == 0, ended.stderr
    assert "files ['train.py']\n" in ended.stdout
    assert ended.stderr.startswith("job ")


def test_our_image_with_another_runtime_runs_this_one(cli: Cli, outdated: str):
    cli.script(ECHO)
    ended = cli("train.py", "--instance", "local", "--image", outdated)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.splitlines()[0] == (
        f"image {outdated} has another version of the runtime: this one travels with the code "
        "(sift-launch build brings the image up to date)"
    )
    assert last_json(ended.stdout)["runtime"] == "/opt/ml/code/.sift/smart_sifting/__init__.py"


def test_our_image_of_today_runs_its_own(cli: Cli, engine: DockerClient, image: str):
    assert engine.images.get(image).labels[RUNTIME_LABEL] == runtime_digest()
    cli.script(ECHO.replace('os.environ["PYTHONPATH"]', 'os.environ.get("PYTHONPATH", "")'))
    ended = cli("train.py", "--instance", "local", "--image", image, "--name", "job")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.startswith("job job runs in a container on this machine; ")
    assert ".sift" not in last_json(ended.stdout)["runtime"]
    with tarfile.open(cli.results("job").parent / "source" / "sourcedir.tar.gz") as code:
        assert code.getnames() == ["train.py"]


def test_a_base_without_torch_fails_by_name(cli: Cli, base_image: str):
    cli.script("import torch\n")
    ended = cli("train.py", "--instance", "local", "--image", base_image)
    assert ended.returncode == 1
    assert "No module named 'torch'" in ended.stderr.splitlines()[-1]


def test_a_base_without_python_fails_by_name(cli: Cli, without_python: str):
    cli.script("")
    ended = cli("train.py", "--instance", "local", "--image", without_python, "--name", "job")
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("job job failed: ")
    assert "python3" in last
    assert len(last) < 600


@pytest.mark.parametrize(
    ("region", "name"),
    [
        ("", "public.ecr.aws/deep-learning-containers/pytorch:2.13-cpu-amzn2023-sagemaker"),
        (
            "eu-west-1",
            "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker",
        ),
    ],
)
def test_awss_own_image_is_the_one_of_the_region(cli: Cli, region: str, name: str):
    cli.script("")
    cli.environment |= {"AWS_REGION": region, "AWS_DEFAULT_REGION": ""}
    ended = cli("train.py", "--instance", "local", "--image", "stock", "--dry-run")
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"image {name} is not on this machine: docker pull {name}")


def test_the_archive_of_two_launches_is_the_same(cli: Cli, plain: str):
    cli.script("print('ran')")
    contents = []
    for name in ("one", "two"):
        cli("train.py", "--instance", "local", "--image", plain, "--no-sift", "--name", name)
        archive = cli.results(name).parent / "source" / "sourcedir.tar.gz"
        contents.append(archive.read_bytes())
    assert contents[0] == contents[1]
