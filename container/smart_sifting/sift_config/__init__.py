"""What is asked of sifting: configuration classes that import the standard library alone."""

from smart_sifting.errors import SiftConfigValidationException
from smart_sifting.sift_config.job_config import SiftConfig
from smart_sifting.sift_config.sift_configs import (
    LossConfig,
    RelativeProbabilisticSiftConfig,
    SiftingBaseConfig,
)

__all__ = [
    "LossConfig",
    "RelativeProbabilisticSiftConfig",
    "SiftConfig",
    "SiftConfigValidationException",
    "SiftingBaseConfig",
]
