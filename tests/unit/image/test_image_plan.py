from __future__ import annotations

from pathlib import Path

import pytest

from sift_launcher import __version__
from sift_launcher.errors import ImageUnfit, OptionError
from sift_launcher.image.base import BaseFacts
from sift_launcher.image.plan import plan_build
from sift_launcher.image.spec import ImageSpec
from sift_launcher.runtime import runtime_digest

DLC = "com.amazonaws.ml.engines.sagemaker.dlc"
DEBIAN = BaseFacts("debian:mine", "plain", "amd64", "3.11.2", None)
PLAIN_TORCH = BaseFacts("pytorch:mine", "plain", "amd64", "3.12.1", "2.11.0")
AWS = BaseFacts("pytorch-training:2.13", "toolkit", "amd64", "3.12.1", "2.13.0+cpu")


def test_a_whole_image_has_the_labels_that_aws_and_we_tell_images_by():
    plan = plan_build(ImageSpec(base="debian:mine", labels={"team": "vision"}), DEBIAN)
    assert plan.labels == {
        "dlc_major_version": "1",
        "framework": "pytorch",
        "framework_version": "2.13.0",
        f"{DLC}.framework.pytorch.v2-13-0": "true",
        f"{DLC}.device.cpu": "true",
        f"{DLC}.job.training": "true",
        f"{DLC}.python.py311": "true",
        f"{DLC}.arch.x86": "true",
        "org.opencontainers.image.title": "sift-training",
        "org.opencontainers.image.version": __version__,
        "org.opencontainers.image.base.name": "debian:mine",
        "sift-launcher.version": __version__,
        "sift-launcher.runtime": runtime_digest(),
        "team": "vision",
    }


def test_the_arguments_are_what_was_asked_for(tmp_path):
    assert plan_build(ImageSpec(), None).arguments == {
        "BASE": "python:3.11-slim-bookworm",
        "TORCH": "2.13.0",
        "DEVICE": "cpu",
        "COMPILER": "",
    }
    asked = ImageSpec(
        device="gpu",
        base="cuda:mine",
        torch="2.12.1+cu130",
        extra_indexes=("https://a.example", "https://b.example"),
        with_compiler=True,
    )
    plan = plan_build(asked, None)
    assert plan.arguments == {
        "BASE": "cuda:mine",
        "TORCH": "2.12.1+cu130",
        "DEVICE": "gpu",
        "COMPILER": "g++",
        "NVIDIA_VISIBLE_DEVICES": "all",
        "PIP_EXTRA_INDEX_URL": "https://a.example https://b.example",
    }
    assert plan.labels["framework_version"] == "2.12.1"
    assert plan.has_network
    (tmp_path / "torch-2.13.0-py3-none-any.whl").touch()
    closed = plan_build(ImageSpec(wheelhouse=tmp_path), None)
    assert closed.arguments["PIP_NO_INDEX"] == "1"
    assert closed.arguments["PIP_FIND_LINKS"] == "/build/wheelhouse"
    assert not closed.has_network


@pytest.mark.parametrize(("base", "has_entrypoint"), [(AWS, False), (PLAIN_TORCH, True)])
def test_an_image_that_has_torch_gets_no_label_but_ours(base, has_entrypoint):
    plan = plan_build(ImageSpec(base=base.name), base)
    assert ("ENTRYPOINT" in plan.dockerfile) is has_entrypoint
    assert plan.arguments == {"BASE": base.name}
    assert set(plan.labels) == {"sift-launcher.version", "sift-launcher.runtime"}
    assert not plan.has_network


@pytest.mark.parametrize(
    ("option", "asked"),
    [
        ("--python", {"python": "3.12"}),
        ("--torch", {"torch": "2.13.0"}),
        ("--compiler", {"with_compiler": True}),
        ("--extra-index", {"extra_indexes": ("https://a.example",)}),
        ("--requirements", {"requirements": Path(__file__)}),
    ],
)
def test_what_would_change_an_image_that_has_torch_is_refused(option, asked):
    with pytest.raises(OptionError, match=rf"has torch 2\.13\.0\+cpu.*leave {option} out"):
        plan_build(ImageSpec(base=AWS.name, **asked), AWS)


def test_a_base_that_contradicts_what_is_asked_for_is_refused():
    with pytest.raises(OptionError, match=r"has Python 3\.11\.2: leave --python 3\.12 out"):
        plan_build(ImageSpec(base="debian:mine", python="3.12"), DEBIAN)
    newer = BaseFacts("debian:new", "plain", "amd64", "3.14.0", None)
    with pytest.raises(ImageUnfit, match=r"has Python 3\.14\.0, and packages are locked for 3\.10"):
        plan_build(ImageSpec(base="debian:new"), newer)
    tensorflow = BaseFacts("tensorflow-training:2", "toolkit", "amd64", "3.11.2", None)
    with pytest.raises(ImageUnfit, match="a training image, but its python3 imports no torch"):
        plan_build(ImageSpec(base="tensorflow-training:2"), tensorflow)
