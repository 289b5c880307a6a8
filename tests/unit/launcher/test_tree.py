from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from sift_launcher.errors import SiftLaunchError
from sift_launcher.local.inputs import bring
from sift_launcher.local.tree import HostTree, Mount, checkpoints_of, hosts_of, lay_out


def archive(path: Path, *members: tuple[str, bytes, int]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, content, mode in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            tar.addfile(info, io.BytesIO(content))


def request(tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {
        "TrainingJobName": "a",
        "AlgorithmSpecification": {"TrainingImage": "file:///python", "TrainingInputMode": "File"},
        "HyperParameters": {
            "epochs": "3",
            "sagemaker_submit_directory": json.dumps(f"file://{tmp_path}/code.tar.gz"),
        },
        "ResourceConfig": {"InstanceType": "process", "InstanceCount": 1},
    } | more


def laid_out(tmp_path: Path, **more: Any) -> HostTree:
    """As a process would see it."""
    base = tmp_path / "ml"
    wanted = request(tmp_path, **more)
    inputs = bring(wanted, ("algo-1",), tmp_path / "inputs", None)
    return lay_out(base, "algo-1", wanted, base, "lo", inputs)


def read(base: Path, name: str) -> Any:
    return json.loads((base / "input" / "config" / f"{name}.json").read_text())


def test_the_tree_is_sagemakers(tmp_path: Path):
    archive(tmp_path / "code.tar.gz", ("train.sh", b"#!/bin/sh\n", 0o755), ("a/b.py", b"b", 0o644))
    (tmp_path / "data").mkdir()
    (tmp_path / "labels.csv").touch()
    sources = {"train": f"file://{tmp_path}/data", "labels": f"file://{tmp_path}/labels.csv"}
    channels = [
        {"ChannelName": name, "DataSource": {"FileDataSource": {"FileUri": uri}}}
        for name, uri in sources.items()
    ]
    checkpoints = {"S3Uri": f"file://{tmp_path}/kept", "LocalPath": "/opt/ml/checkpoints"}
    tree = laid_out(tmp_path, InputDataConfig=channels, CheckpointConfig=checkpoints)
    base = tree.base

    assert (base / "code" / "train.sh").stat().st_mode & 0o777 == 0o755
    assert (base / "code" / "a" / "b.py").read_text() == "b"
    data = PurePosixPath("/opt/ml/input/data")
    assert tree.mounts == (
        Mount(tmp_path / "data", data / "train", read_only=True),
        Mount(tmp_path / "labels.csv", data / "labels" / "labels.csv", read_only=True),
        Mount(tmp_path / "kept", PurePosixPath("/opt/ml/checkpoints"), read_only=False),
    )
    assert (tmp_path / "kept").is_dir()
    assert (base / "model").is_dir()
    assert (base / "output" / "data").is_dir()
    assert read(base, "hyperparameters") == {
        "epochs": "3",
        "sagemaker_submit_directory": json.dumps(f"{base}/code"),
    }
    assert read(base, "resourceconfig") == {
        "current_host": "algo-1",
        "current_instance_type": "process",
        "current_group_name": "homogeneousCluster",
        "hosts": ["algo-1"],
        "instance_groups": [
            {
                "instance_group_name": "homogeneousCluster",
                "instance_type": "process",
                "hosts": ["algo-1"],
            }
        ],
        "network_interface_name": "lo",
    }
    channel = {
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    assert read(base, "inputdataconfig") == {"train": channel, "labels": channel}
    assert read(base, "init-config")["inputMode"] == "FILE"
    assert read(base, "checkpointconfig") == checkpoints


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside.py", "a/../../b.py"])
def test_code_that_would_land_elsewhere_is_refused(tmp_path: Path, name: str):
    archive(tmp_path / "code.tar.gz", (name, b"x", 0o644))
    with pytest.raises(SiftLaunchError, match=f"holds {name!r}, which is no plain file below"):
        laid_out(tmp_path)


def test_links_in_the_code_are_refused(tmp_path: Path):
    with tarfile.open(tmp_path / "code.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("link.py")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(SiftLaunchError, match=r"holds 'link\.py'"):
        laid_out(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_file_in_the_code_is_refused(tmp_path: Path, kind: bytes):
    with tarfile.open(tmp_path / "code.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo("odd")
        info.type, info.linkname = kind, "train.py"
        tar.addfile(info)
    with pytest.raises(SiftLaunchError, match="holds 'odd', which is no plain file below"):
        laid_out(tmp_path)


def test_code_that_is_no_archive_is_named(tmp_path: Path):
    (tmp_path / "code.tar.gz").write_bytes(b"#!/bin/sh")
    with pytest.raises(SiftLaunchError, match=r"code\.tar\.gz is not a whole tar archive"):
        laid_out(tmp_path)


def test_a_container_sees_its_tree_where_the_service_has_it(tmp_path: Path):
    archive(tmp_path / "code.tar.gz", ("train.py", b"", 0o644))
    config = {"S3Uri": f"file://{tmp_path}/kept", "LocalPath": "/checkpoints"}
    wanted = request(tmp_path, CheckpointConfig=config)
    wanted["ResourceConfig"]["InstanceCount"] = 2
    inputs = bring(wanted, ("algo-1", "algo-2"), tmp_path / "inputs", None)
    tree = lay_out(tmp_path / "ml", "algo-2", wanted, PurePosixPath("/opt/ml"), "eth0", inputs)
    assert read(tree.base, "hyperparameters")["sagemaker_submit_directory"] == '"/opt/ml/code"'
    resources = read(tree.base, "resourceconfig")
    assert resources["current_host"] == "algo-2"
    assert resources["hosts"] == ["algo-1", "algo-2"]
    assert resources["network_interface_name"] == "eth0"
    assert tree.mounts == (Mount(tmp_path / "kept", PurePosixPath("/checkpoints"), False),)


def test_code_that_the_image_brings_is_not_hidden_by_an_empty_folder(tmp_path: Path):
    brought = {"sagemaker_program": '"train.py"', "sagemaker_submit_directory": '"/opt/ml/code"'}
    tree = laid_out(tmp_path, HyperParameters=brought)
    assert not tree.code.exists()
    assert read(tree.base, "hyperparameters") == brought


def test_hosts_are_named_as_sagemaker_names_them():
    assert hosts_of({"ResourceConfig": {"InstanceCount": 3}}) == ("algo-1", "algo-2", "algo-3")


@pytest.mark.parametrize(
    ("config", "below"),
    [
        ({"S3Uri": "s3://bucket/x"}, "ml/checkpoints"),
        ({"S3Uri": "s3://bucket/x", "LocalPath": "/opt/ml/checkpoints/"}, "ml/checkpoints"),
        ({"S3Uri": "s3://bucket/x", "LocalPath": "/kept"}, "ml/kept"),
        ({"S3Uri": "file://{}/mine", "LocalPath": "/kept"}, "mine"),
    ],
)
def test_checkpoints_lie_in_the_tree_unless_they_are_kept_on_this_machine(
    tmp_path: Path, config: dict[str, str], below: str
):
    archive(tmp_path / "code.tar.gz", ("train.py", b"", 0o644))
    wanted = {key: value.format(tmp_path) for key, value in config.items()}
    tree = laid_out(tmp_path, CheckpointConfig=wanted)
    place = checkpoints_of(tree, request(tmp_path, CheckpointConfig=wanted))
    assert place == tmp_path / below
    assert place.is_dir()


def test_code_that_a_channel_brings_is_named_where_a_process_finds_it(tmp_path: Path):
    (tmp_path / "sourcedir.tar.gz").touch()
    channel = {"S3DataSource": {"S3Uri": f"file://{tmp_path}/sourcedir.tar.gz"}}
    submitted = '"/opt/ml/input/data/code/sourcedir.tar.gz"'
    wanted = {
        "HyperParameters": {"sagemaker_submit_directory": submitted},
        "InputDataConfig": [{"ChannelName": "code", "DataSource": channel}],
    }
    tree = laid_out(tmp_path, **wanted)
    assert tree.code.is_dir()
    assert read(tree.base, "hyperparameters") == {
        "sagemaker_submit_directory": json.dumps(f"{tree.base}/input/data/code/sourcedir.tar.gz")
    }
