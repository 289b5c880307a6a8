"""The SDK's session with SageMaker, without what it would ask AWS for nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from sift_launcher import catalogue
from sift_launcher.catalogue import CloudEntry
from sift_launcher.cloud.client import Clients
from sift_launcher.cloud.explain import explained
from sift_launcher.cloud.gather import default_bucket
from sift_launcher.errors import BucketError
from sift_launcher.estimator.sdk import (
    Session,
    check_job_status,
    config,
    resolve_value_from_config,
    without_telemetry,
)
from sift_launcher.rehearsal.files import RehearsalFiles

_logger = logging.getLogger(__name__)


class SiftSession(Session):  # type: ignore[misc]
    """One account and region. Clients are made when they are first used; the account is asked for
    once, and where the endpoints of the environment say; AWS's refusals come as
    `sift_launcher.errors`. Sends no telemetry."""

    latest: CloudEntry
    """The training job that was started last, as `sift-launch jobs` remembers it."""

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
            name = name or default_bucket(self.boto_region_name, self.account_id())
            self._create_s3_bucket_if_it_does_not_exist(name, self.boto_region_name)
            self._default_bucket = name
        return str(self._default_bucket)

    def make_default_bucket(self) -> None:
        """Makes the default bucket where there is none yet."""
        self._create_s3_bucket_if_it_does_not_exist(self.default_bucket(), self._region_name)

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
        """Sends the request of a training job, which the commands about jobs then know. A refusal
        is told in a line, where the SDK prints a paragraph."""
        request = self.get_train_request(**arguments)
        name = request["TrainingJobName"]
        with explained("sagemaker:CreateTrainingJob", f"creating training job {name}"):
            answer = self.sagemaker_client.create_training_job(**request)
        self.latest = self._entry(request, str(answer["TrainingJobArn"]), time.time())
        remember(self.latest)

    def logs_for_job(
        self,
        job_name: str,
        wait: bool = False,
        poll: int = 10,
        log_type: str = "All",
        timeout: int | None = None,
    ) -> None:
        """Prints the job's log, with `wait` as it comes: every second, where the SDK takes half a
        minute to see the end. Raises the SDK's errors when it failed."""
        from sift_launcher.cloud.job import CloudJob
        from sift_launcher.estimator.shown import show_log

        description = self.describe_training_job(job_name)
        created = description["CreationTime"].timestamp()
        entry = self._entry(description, description["TrainingJobArn"], created)
        show_log(CloudJob(catalogue.entry(job_name) or entry, self.clients), wait=wait)
        if wait:
            check_job_status(job_name, self.describe_training_job(job_name), "TrainingJobStatus")

    def _entry(self, request: Mapping[str, Any], arn: str, created: float) -> CloudEntry:
        resources = request["ResourceConfig"]
        groups = resources.get("InstanceGroups") or [resources]
        return CloudEntry(
            name=request["TrainingJobName"],
            arn=arn,
            region=self.clients.region,
            instance=groups[0]["InstanceType"],
            count=sum(group["InstanceCount"] for group in groups),
            created=created,
            profile=self.clients.profile,
            endpoint=self.clients.endpoint,
            is_rehearsal=_is_rehearsal(self.clients.endpoint),
        )

    def __deepcopy__(self, memo: Any) -> SiftSession:
        """A copied estimator talks through the same connections."""
        return self


def remember(entry: CloudEntry) -> None:
    """Puts a job that was started where `sift-launch jobs` finds it; it runs in any case."""
    try:
        catalogue.remember(entry)
    except OSError as error:
        _logger.warning("job %s runs, but sift-launch jobs will not know: %s", entry.name, error)


def _is_rehearsal(endpoint: str | None) -> bool:
    found = RehearsalFiles().read() if endpoint else None
    return found is not None and found[0].url == endpoint
