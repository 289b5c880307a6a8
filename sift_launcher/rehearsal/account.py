"""What the played account holds, and what a request finds of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from sift_launcher.cloud.roles import trusts_sagemaker
from sift_launcher.rehearsal.protocol import invalid

REGION = "us-east-1"
ACCOUNT = "123456789012"  # moto's own
ROLE_NAME = "SageMakerRole"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/{ROLE_NAME}"
BUCKET = f"sagemaker-{REGION}-{ACCOUNT}"

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Principal": {"Service": "sagemaker.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
    ],
}
# Source: the section "CreateTrainingJob API: Execution Role Permissions" of SageMaker's guide.
_RIGHTS = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": ["s3:*", "logs:*", "ecr:*", "cloudwatch:PutMetricData", "kms:*", "ec2:*"],
            "Resource": "*",
        }
    ],
}


@dataclass(frozen=True)
class Credentials:
    """The key of a session."""

    access_key: str
    secret: str = field(repr=False)
    token: str = field(repr=False)


class Account:
    """The account behind one endpoint."""

    def __init__(self, endpoint: str, access_key: str) -> None:
        self._endpoint = endpoint
        self._access_key = access_key
        self._s3 = self.client("s3")
        self._iam = self.client("iam")

    def client(self, service: str) -> Any:
        """A client of `service` on the endpoint."""
        from botocore.session import get_session

        return get_session().create_client(
            service,
            region_name=REGION,
            endpoint_url=self._endpoint,
            aws_access_key_id=self._access_key,
            aws_secret_access_key="none",
        )

    def furnish(self) -> Credentials:
        """Makes what an account in use has, the role and the default bucket, and takes on the role,
        as in a notebook of SageMaker's: whoever names no role has that one."""
        self._iam.create_role(RoleName=ROLE_NAME, AssumeRolePolicyDocument=json.dumps(_TRUST))
        self._iam.put_role_policy(
            RoleName=ROLE_NAME, PolicyName="training", PolicyDocument=json.dumps(_RIGHTS)
        )
        self._s3.create_bucket(Bucket=BUCKET)
        told = self.client("sts").assume_role(RoleArn=ROLE, RoleSessionName="rehearsal")
        session = told["Credentials"]
        return Credentials(
            session["AccessKeyId"], session["SecretAccessKey"], session["SessionToken"]
        )

    def check_role(self, arn: str) -> None:
        """Raises Refused unless SageMaker could assume the role."""
        name = arn.rpartition("/")[2]
        try:
            role = self._iam.get_role(RoleName=name)["Role"]
        except self._iam.exceptions.NoSuchEntityException:
            role = None
        if role is None or role["Arn"] != arn or not trusts_sagemaker(role):
            raise invalid(
                f"Could not assume role {arn}. Please ensure that the role exists and allows "
                "principal 'sagemaker.amazonaws.com' to assume the role."
            )

    def check_input(self, uri: str, role: str) -> None:
        """Raises Refused unless there are objects at `uri`."""
        from botocore.exceptions import BotoCoreError, ClientError

        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        try:
            found = self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1)
        except (ClientError, BotoCoreError):  # there is none, or none can have such a name
            found = {}
        if not found.get("KeyCount"):
            raise invalid(
                f'No S3 objects found under S3 URL "{uri}" given in input data source. Please '
                f"ensure that the bucket exists in the selected region ({REGION}), that objects "
                f'exist under that S3 prefix, and that the role "{role}" has "s3:ListBucket" '
                f'permissions on bucket "{bucket}".'
            )
