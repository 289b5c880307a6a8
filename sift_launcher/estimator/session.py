"""The SDK's session with SageMaker, without what it would ask AWS for nothing."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.errors import BucketError
from sift_launcher.estimator.sdk import (
    Session,
    config,
    resolve_value_from_config,
    without_telemetry,
)


class SiftSession(Session):  # type: ignore[misc]
    """One account and region. Clients are made when they are first used; the account is asked for
    once, and where the endpoints of the environment say; AWS's refusals come as
    `sift_launcher.errors`. Sends no telemetry."""

    latest_arn: str
    """Of the training job that was started last."""

    default_bucket_prefix: str | None
    _default_bucket_name_override: str | None

    def __init__(
        self,
        clients: Clients | None = None,
        *,
        account: str | None = None,
        bucket: str | None = None,
        **of_the_sdk: Any,
    ) -> None:
        """`clients`: whose account it is, by default the environment's. `account` and `bucket`: its
        twelve digits and its default bucket, where they are known and the bucket is there; others
        are found out. Of `sagemaker.Session` it takes `default_bucket`, `default_bucket_prefix`,
        `settings` and `sagemaker_config`; an empty one keeps the SDK's settings files out."""
        self.clients = clients or Clients()
        self._account = account
        super().__init__(**of_the_sdk)
        self._default_bucket = bucket
        self._default_bucket_set_by_sdk = bucket is not None

    def _initialize(self, sagemaker_config: Any = None, **unused: Any) -> None:
        """In place of the SDK's, which makes five clients and a resource, each of them slow."""
        from boto3 import Session as BotoSession

        self.boto_session = BotoSession(
            botocore_session=self.clients.session, region_name=self.clients.region
        )
        self._region_name = self.clients.region
        self.local_mode = False
        self._load_settings(sagemaker_config)
        without_telemetry(self)

    def _load_settings(self, given: Any) -> None:
        if given:
            config.validate_sagemaker_config(given)
        self.sagemaker_config = config.load_sagemaker_config() if given is None else given
        self._default_bucket_name_override = resolve_value_from_config(
            self._default_bucket_name_override,
            config.SESSION_DEFAULT_S3_BUCKET_PATH,
            sagemaker_session=self,
        )
        self.default_bucket_prefix = resolve_value_from_config(
            self.default_bucket_prefix,
            config.SESSION_DEFAULT_S3_OBJECT_KEY_PREFIX_PATH,
            sagemaker_session=self,
        )

    @property
    def s3_client(self) -> Any:
        return self.clients("s3")

    @s3_client.setter
    def s3_client(self, nothing: None) -> None:
        """The SDK's constructor says that there is none yet."""

    @cached_property
    def sagemaker_client(self) -> Any:
        return self.clients("sagemaker")

    @cached_property
    def sagemaker_runtime_client(self) -> Any:
        return self.boto_session.client("sagemaker-runtime")

    @cached_property
    def sagemaker_featurestore_runtime_client(self) -> Any:
        return self.boto_session.client("sagemaker-featurestore-runtime")

    @cached_property
    def sagemaker_metrics_client(self) -> Any:
        return self.boto_session.client("sagemaker-metrics")

    def account_id(self) -> str:
        """The account's twelve digits."""
        if self._account is None:
            with explained("sts:GetCallerIdentity", "asking whose credentials these are"):
                self._account = self.clients("sts").get_caller_identity()["Account"]
        return self._account

    def default_bucket(self) -> str:
        """The name of the default bucket, which is made when there is none yet."""
        if self._default_bucket is None:
            name = self._default_bucket_name_override
            self._default_bucket_set_by_sdk = not name
            name = name or f"sagemaker-{self.boto_region_name}-{self.account_id()}"
            self._create_s3_bucket_if_it_does_not_exist(name, self.boto_region_name)
            self._default_bucket = name
        return str(self._default_bucket)

    def _create_s3_bucket_if_it_does_not_exist(self, bucket_name: str, region: str) -> None:
        """One question, where the SDK lists all buckets first and then asks twice."""
        from botocore.exceptions import ClientError

        s3 = self.clients("s3")
        # A bucket of that name in another account would get the code.
        owner = (
            {"ExpectedBucketOwner": self.account_id()} if self._default_bucket_set_by_sdk else {}
        )
        with explained(
            f"s3:ListBucket on arn:aws:s3:::{bucket_name}", f"looking for bucket {bucket_name}"
        ):
            try:
                s3.head_bucket(Bucket=bucket_name, **owner)
                return
            except ClientError as error:
                if error.response["Error"]["Code"] == "403" and owner:
                    raise BucketError(
                        f"bucket {bucket_name} cannot be used: it belongs to another account than "
                        f"{self.account_id()}, or s3:ListBucket on it is not allowed: name another "
                        "with output_path= (--output on the command line)"
                    ) from error
                if error.response["Error"]["Code"] != "404":
                    raise
        where = (
            {}
            if region == "us-east-1"
            else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        )
        with explained(
            f"s3:CreateBucket on arn:aws:s3:::{bucket_name}", f"making bucket {bucket_name}"
        ):
            s3.create_bucket(Bucket=bucket_name, **where)

    def train(self, **arguments: Any) -> None:
        """Sends the request of a training job. Its answer is kept, and its refusal told in a line;
        the SDK forgets the one and prints a paragraph about the other."""
        request = self.get_train_request(**arguments)
        name = request["TrainingJobName"]
        with explained("sagemaker:CreateTrainingJob", f"creating training job {name}"):
            answer = self.sagemaker_client.create_training_job(**request)
        self.latest_arn = str(answer["TrainingJobArn"])

    def __deepcopy__(self, memo: Any) -> SiftSession:
        """A copied estimator talks through the same connections."""
        return self
