"""A job in SDK v2's own local mode, without an account: import, session, fit.

`python container_sdk.py IMAGE SOURCE_DIR SCRIPT OUTPUT ROOT`, with an interpreter that has
`sagemaker>=2.257.7,<3`.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(image: str, source_dir: str, script: str, output: str, root: str) -> None:
    """Runs the job and returns when it is over. Raises whatever `fit` does."""
    import boto3
    from sagemaker.local import LocalSession
    from sagemaker.pytorch import PyTorch

    session = LocalSession(boto3.Session(region_name="us-east-1"))
    session.config = {"local": {"local_code": True, "container_root": root}}
    estimator = PyTorch(
        entry_point=script,
        source_dir=source_dir,
        image_uri=image,
        role="arn:aws:iam::111122223333:role/local",
        instance_type="local",
        instance_count=1,
        output_path=Path(output).as_uri(),
        code_location=Path(output).as_uri(),
        sagemaker_session=session,
    )
    estimator.fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
