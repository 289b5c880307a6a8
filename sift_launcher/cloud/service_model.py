"""SageMaker's own description of its API, as it comes with botocore. Read as plain JSON.

botocore's reader of it keeps the order of all keys and takes three times as long.
"""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

from sift_launcher.cloud.client import require_botocore


@cache
def service_model() -> dict[str, Any]:
    """The whole description: `operations` and `shapes`. Raises ExtraMissing without botocore."""
    newest = max(Path(require_botocore(), "data", "sagemaker").iterdir())
    with gzip.open(newest / "service-2.json.gz") as file:
        model: dict[str, Any] = json.load(file)
    return model
