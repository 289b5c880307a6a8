"""The start of a cloud job in an image that knows nothing of us: its code comes as a channel."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from container_run import lay_out, on, run_container
from entrypoint_job import JobTree

from sift_launcher.bundle import CodeBundle, list_bundle, pack
from sift_launcher.carried import CODE_ARCHIVE, carried_files, cloud_entrypoint, python_path

if TYPE_CHECKING:
    from docker import DockerClient

pytestmark = pytest.mark.docker

AWKWARD = ["two words", "", "it's", 'say "hi"', "$(id) `id` $HOME", "a\nb", "--"]
SCRIPT = """
import json, os, sys
import helper, sift_entrypoint
print(json.dumps([sys.argv[1:], os.getcwd(), helper.WORD, sift_entrypoint.__file__]))
sys.exit(3)
"""


@pytest.fixture
def tree(tmp_path: Path) -> JobTree:
    tree = lay_out(tmp_path / "ml")
    source = tmp_path / "source"
    source.mkdir()
    (source / "train.py").write_text(SCRIPT)
    (source / "helper.py").write_text("WORD = 'found'")
    bundle = list_bundle(source, "train.py")
    channel = tree.base / "input" / "data" / "code"
    channel.mkdir(parents=True)
    files = (*bundle.files, *carried_files())
    pack(CodeBundle(bundle.source_dir, files), channel / "sourcedir.tar.gz")
    tree.code.rmdir()  # SageMaker makes none
    tree.hyperparameters(
        sagemaker_submit_directory=CODE_ARCHIVE, sift_arguments=json.dumps(AWKWARD)
    )
    return tree


def test_a_plain_image_unpacks_the_channel_and_runs_the_script(
    engine: DockerClient, base_image: str, tree: JobTree
):
    # What lies in the folder that the image starts in is not the standard library.
    (tree.base / "tarfile.py").write_text("raise SystemExit('not this one')")
    done = run_container(
        engine,
        base_image,
        entrypoint=list(cloud_entrypoint()),
        environment={"PYTHONPATH": python_path("")},
        working_dir="/opt/ml",
        **on(tree),
    )
    assert done.err == ""
    assert json.loads(done.out) == [
        AWKWARD,
        "/opt/ml/code",
        "found",
        "/opt/ml/code/.sift/sift_entrypoint/__init__.py",
    ]
    assert done.code == 3
    assert tree.failure is not None


def test_an_isolated_job_in_our_image_takes_the_code_from_the_channel(
    engine: DockerClient, image: str, tree: JobTree
):
    done = run_container(engine, image, command=["train"], network_mode="none", **on(tree))
    assert done.err == ""
    assert json.loads(done.out)[:3] == [AWKWARD, "/opt/ml/code", "found"]
    assert done.code == 3
