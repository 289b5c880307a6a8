from __future__ import annotations

from pathlib import Path

import pytest

from sift_launcher.errors import OptionError
from sift_launcher.image.spec import ImageSpec, wheels


def test_an_image_has_a_name_and_a_base_by_default():
    assert ImageSpec().image == "sift-training:cpu"
    assert ImageSpec(device="gpu").image == "sift-training:gpu"
    assert ImageSpec().base_image == "python:3.11-slim-bookworm"
    assert ImageSpec(python="3.12").base_image == "python:3.12-slim-bookworm"
    assert ImageSpec(base="debian:12").base_image == "debian:12"
    assert ImageSpec().torch_version == "2.13.0"


@pytest.mark.parametrize(
    "tag",
    [
        "mine",
        "mine:1.0",
        "team/mine",
        "localhost:5000/mine:x_Y-1",
        "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sift/training:cpu",
        "763104351884.dkr.ecr.us-west-2.amazonaws.com/pytorch-training:2.13.0-cpu-py312",
    ],
)
def test_names_that_registries_take_are_taken(tag):
    assert ImageSpec(tag=tag, base=tag).image == tag


@pytest.mark.parametrize(
    "tag", ["", "Mine:x", "mine:", "mine:a b", "mi ne", "-mine", "mine:-x", "a//b"]
)
def test_a_name_that_no_engine_takes_is_refused(tag):
    if tag:  # an empty one is none
        with pytest.raises(OptionError, match=r"--tag .* is no image's name: write it as NAME:TAG"):
            ImageSpec(tag=tag)
    with pytest.raises(OptionError, match="--base"):
        ImageSpec(base=f"{tag}:$")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"device": "tpu"}, "--device tpu is not served: choose cpu, gpu"),
        ({"python": "3.9"}, "--python 3.9 is not served: choose 3.10, 3.11, 3.12, 3.13"),
        ({"python": "3.11.2"}, "--python 3.11.2 is not served: choose 3.10, 3.11, 3.12, 3.13"),
        ({"torch": "latest"}, "--torch latest is no version: write it as --torch 2.13.0"),
        ({"torch": "2.13.0 --pre"}, "is no version"),
        ({"platform": "windows/amd64"}, "--platform windows/amd64 is none: linux/amd64"),
        ({"labels": {"sift-launcher.runtime": "0"}}, "--label sift-launcher.runtime: labels that"),
        ({"labels": {"sift-launcher": "0"}}, "choose another name"),
        ({"requirements": Path("/nowhere.txt")}, "--requirements /nowhere.txt: there is no such"),
        ({"wheelhouse": Path("/nowhere")}, "--wheelhouse /nowhere: there is no such folder"),
    ],
)
def test_what_can_be_no_image_is_refused_with_the_option(asked, told):
    with pytest.raises(OptionError) as caught:
        ImageSpec(**asked)
    assert told in str(caught.value)


def test_a_label_of_a_similar_name_is_the_users():
    assert ImageSpec(labels={"sift-launcherish": "1"}).labels == {"sift-launcherish": "1"}


def test_a_wheelhouse_holds_wheels_and_needs_no_index(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(OptionError, match="holds no wheels: pip download -d"):
        ImageSpec(wheelhouse=tmp_path)
    (tmp_path / "b-1.tar.gz").touch()
    (tmp_path / "a-1-py3-none-any.whl").touch()
    (tmp_path / "folder.whl").mkdir()
    assert [each.name for each in wheels(tmp_path)] == ["a-1-py3-none-any.whl", "b-1.tar.gz"]
    assert ImageSpec(wheelhouse=tmp_path).wheelhouse == tmp_path
    with pytest.raises(OptionError, match="no --extra-index is reached: leave one out"):
        ImageSpec(wheelhouse=tmp_path, extra_indexes=("https://index.example/simple",))
