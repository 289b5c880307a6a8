from __future__ import annotations

import pytest

from sift_launcher.stock import is_stock_account, stock_image


@pytest.mark.parametrize(
    ("environment", "device", "name"),
    [
        (
            {},
            "cpu",
            "public.ecr.aws/deep-learning-containers/pytorch:2.13-cpu-amzn2023-sagemaker",
        ),
        (
            {"AWS_REGION": ""},
            "gpu",
            "public.ecr.aws/deep-learning-containers/pytorch:2.13-cu133-amzn2023-sagemaker",
        ),
        (
            {"AWS_DEFAULT_REGION": "eu-west-1"},
            "cpu",
            "763104351884.dkr.ecr.eu-west-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker",
        ),
        (
            {"AWS_REGION": "eu-south-1", "AWS_DEFAULT_REGION": "eu-west-1"},
            "gpu",
            "692866216735.dkr.ecr.eu-south-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker",
        ),
        (
            {"AWS_REGION": "cn-north-1"},
            "cpu",
            "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/pytorch:2.13-cpu-amzn2023-sagemaker",
        ),
        (
            {"AWS_REGION": "us-gov-west-1"},
            "cpu",
            "442386744353.dkr.ecr.us-gov-west-1.amazonaws.com/pytorch:2.13-cpu-amzn2023-sagemaker",
        ),
    ],
)
def test_awss_own_image_is_the_regions_or_the_public_one(environment, device, name):
    assert stock_image(environment, device) == name


@pytest.mark.parametrize(
    ("account", "is_awss"),
    [("763104351884", True), ("692866216735", True), ("123456789012", False)],
)
def test_awss_own_accounts_are_known(account, is_awss):
    assert is_stock_account(account) is is_awss
