"""What is known of SageMaker's instances by their names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sift_launcher.cloud.instance_types import (
    architecture,
    check_instance_type,
    gpu_count,
    has_gpu,
    training_instances,
)
from sift_launcher.errors import InstanceNotServed


@pytest.mark.parametrize(
    ("instance", "gpus"),
    [
        ("ml.m5.large", 0),
        ("ml.c7i-flex.xlarge", 0),
        ("ml.t3.medium", 0),
        ("ml.trn1.32xlarge", 0),
        ("ml.p2.xlarge", 1),
        ("ml.p2.16xlarge", 16),
        ("ml.p3.2xlarge", 1),
        ("ml.p3.8xlarge", 4),
        ("ml.p4d.24xlarge", 8),
        ("ml.p5.4xlarge", 1),
        ("ml.p5.48xlarge", 8),
        ("ml.p6-b200.48xlarge", 8),
        ("ml.p6e-gb200.36xlarge", 4),
        ("ml.g4dn.12xlarge", 4),
        ("ml.g4dn.16xlarge", 1),
        ("ml.g5.xlarge", 1),
        ("ml.g5.16xlarge", 1),
        ("ml.g6e.48xlarge", 8),
    ],
)
def test_gpus(instance, gpus):
    assert gpu_count(instance) == gpus
    assert has_gpu(instance) == (gpus > 0)


@pytest.mark.parametrize(
    ("instance", "processor"),
    [
        ("ml.m5.large", "amd64"),
        ("ml.g5.xlarge", "amd64"),
        ("ml.g6e.xlarge", "amd64"),
        ("ml.p4de.24xlarge", "amd64"),
        ("ml.p6-b300.48xlarge", "amd64"),
        ("ml.trn2.48xlarge", "amd64"),
        ("ml.m7g.large", "arm64"),
        ("ml.c6gn.large", "arm64"),
        ("ml.g5g.xlarge", "arm64"),
        ("ml.p6e-gb200.36xlarge", "arm64"),
    ],
)
def test_processors(instance, processor):
    assert architecture(instance) == processor


def test_every_name_that_sagemaker_trains_on_is_taken():
    known = training_instances()
    assert len(known) > 200
    for name in known:
        check_instance_type(name)


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        ("g5.xlarge", "unknown instance 'g5.xlarge': write --instance ml.g5.xlarge"),
        (
            "ml.g5.xlarg",
            "SageMaker trains on no instance 'ml.g5.xlarg': did you mean ml.g5.xlarge or "
            "ml.g5.8xlarge or ml.g5.4xlarge? (pip install -U boto3 brings the names of newer ones)",
        ),
        (
            "ml.g5xlarge",
            "SageMaker trains on no instance 'ml.g5xlarge': did you mean ml.g5.xlarge or "
            "ml.g5.8xlarge or ml.g5.4xlarge?",
        ),
        (
            "ML.G5.XLARGE",
            "SageMaker trains on no instance 'ML.G5.XLARGE': did you mean ml.g5.xlarge?",
        ),
        (
            "ml.p3.24xlarge",
            "SageMaker trains on no instance 'ml.p3.24xlarge': did you mean ml.p3.2xlarge or "
            "ml.p3.8xlarge or ml.p3.16xlarge? (pip install -U boto3 brings the names of newer "
            "ones)",
        ),
        (
            "ml.?",
            "SageMaker trains on no instance 'ml.?': such as ml.g5.xlarge, ml.m5.large",
        ),
    ],
)
def test_a_typo_brings_the_nearest_names(typed, text):
    with pytest.raises(InstanceNotServed) as error:
        check_instance_type(typed)
    assert str(error.value) == text


def test_botocore_itself_is_not_imported_for_a_name():
    code = (
        "import sys; from sift_launcher.cloud.instance_types import *; "
        "has_gpu('ml.g5.xlarge'); check_instance_type('ml.g5.xlarge'); "
        "print('botocore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
