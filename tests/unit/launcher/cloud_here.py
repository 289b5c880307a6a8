"""An account and a job for it, as a plan finds them."""

from __future__ import annotations

from datetime import datetime, timezone

from sift_launcher.bundle import CodeBundle, CodeFile
from sift_launcher.cloud.facts import Cloud, Prices
from sift_launcher.images import ImageFacts
from sift_launcher.job_spec import JobSpec
from sift_launcher.surroundings import Surroundings

IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch:2.13-cu133-amzn2023-sagemaker"
ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
BUCKET = "sagemaker-us-east-1-123456789012"
CLOUD = Cloud(
    region="us-east-1",
    account="123456789012",
    role_arn=ROLE,
    bucket=BUCKET,
    image=ImageFacts(IMAGE, "sha256:1", "amd64", None, "toolkit"),
    prices=Prices(1.408, 0.4, "AWS Pricing API, 2026-03-09"),
)
RUNTIME = (CodeFile(".sift/smart_sifting/__init__.py", 8, "/site/smart_sifting/__init__.py"),)
SPEC = JobSpec("train.py", instance="ml.g5.xlarge", sift_config=None, name="digits")
CODE = f"s3://{BUCKET}/digits/source/sourcedir.tar.gz"


def here(cloud: Cloud = CLOUD, output: str = f"s3://{BUCKET}/") -> Surroundings:
    return Surroundings(
        now=datetime(2026, 3, 9, 8, 5, 1, tzinfo=timezone.utc),
        name_seed="k3x9",
        program="train.py",
        bundle=CodeBundle("/home/ada/digits", (CodeFile(".a", 1), CodeFile("train.py", 120))),
        channels={},
        output=output,
        python="/usr/bin/python3",
        cloud=cloud,
    )
