"""What the estimator takes as a configuration, and what it makes of an image that nobody named."""

from __future__ import annotations

from pathlib import Path

import pytest

from sift_launcher.errors import SiftConfigError
from sift_launcher.estimator.settings import image_in_the_cloud, output_here, read_sift_config
from smart_sifting.sift_config.job_config import SiftConfig
from smart_sifting.sift_config.sift_configs import RelativeProbabilisticSiftConfig

QUARTER = SiftConfig(keep=0.25)


@pytest.mark.parametrize(
    "value", [QUARTER, {"keep": 0.25}, {"beta_value": 3}, '{"keep": 0.25}', ' {"keep": 0.25}']
)
def test_a_configuration_is_an_object_a_dict_or_json(value):
    assert read_sift_config(value) == QUARTER


def test_aws_own_configuration_is_one_too():
    assert read_sift_config(RelativeProbabilisticSiftConfig(beta_value=3)).keep == 0.25


@pytest.mark.parametrize("kind", [str, Path])
def test_a_configuration_is_the_name_of_a_file(kind, tmp_path):
    path = tmp_path / "sift.json"
    path.write_text('{"keep": 0.25}')
    assert read_sift_config(kind(path)) == QUARTER


def test_none_is_a_plain_job():
    assert read_sift_config(None) is None


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"keep": 2}, r"^sift_config: keep is 2"),
        ({"kep": 0.5}, r"^sift_config has an unknown key 'kep'"),
        ('{"keep": }', "not JSON at line 1"),
        ("nowhere.json", r"'nowhere.json' is neither JSON nor a file \(No such file"),
        ("", "neither JSON nor a file"),
    ],
)
def test_a_wrong_configuration_is_named_in_one_line(value, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SiftConfigError, match=told):
        read_sift_config(value)


def test_a_file_that_is_no_text_or_no_configuration_is_named(tmp_path):
    path = tmp_path / "sift.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(SiftConfigError, match=r"sift_config .*sift\.json is not text"):
        read_sift_config(path)
    path.write_text('{"keep": 0}')
    with pytest.raises(SiftConfigError, match=r"sift\.json: sift_config: keep is 0"):
        read_sift_config(path)


@pytest.mark.parametrize(
    ("instance", "region", "image"),
    [
        (
            "ml.m5.xlarge",
            "us-east-1",
            "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker",
        ),
        (
            "ml.p4d.24xlarge",
            "eu-south-1",
            "692866216735.dkr.ecr.eu-south-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker",
        ),
        (
            None,
            "cn-north-1",
            "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/pytorch:2.13-cpu-amzn2023-sagemaker",
        ),
    ],
)
def test_the_image_is_aws_own_of_the_region_for_the_instance(instance, region, image):
    assert image_in_the_cloud(instance, region) == image


def test_outputs_lie_where_the_command_puts_them_unless_a_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert output_here(None) == f"file://{tmp_path}/sift-output"
    assert output_here("out put") == f"file://{tmp_path}/out%20put"
    assert output_here("file:///srv/out/") == "file:///srv/out"
