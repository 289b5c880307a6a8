"""SageMaker's PyTorch estimator for jobs that train on the samples that teach them something."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from sift_launcher import carried
from sift_launcher.bundle import CodeBundle, check_no_secrets
from sift_launcher.errors import OptionError
from sift_launcher.estimator.code import ARCHIVE, code_bundle, upload_code
from sift_launcher.estimator.inputs import at_home, uploading, with_places
from sift_launcher.estimator.machine import MachineSession
from sift_launcher.estimator.sdk import (
    LocalSession,
    PipelineSession,
    PyTorch,
    TrainingInput,
    UploadedCode,
    is_pipeline_variable,
    parse_s3_url,
    silence,
    without_telemetry,
)
from sift_launcher.estimator.session import SiftSession
from sift_launcher.estimator.settings import (
    SiftSettings,
    image_here,
    image_in_the_cloud,
    is_here,
    output_here,
    read_sift_config,
    region_of_the_environment,
)
from sift_launcher.instances import LOCAL, LOCAL_GPU, is_container
from sift_launcher.local_request import ROLE
from sift_launcher.validation import legal_name
from smart_sifting.sift_config.job_config import SiftConfig

_OWN_HYPERPARAMETERS = {"sift_config": "sift_config=", "sift_arguments": "arguments="}


class _Sifted(PyTorch):  # type: ignore[misc]
    """What makes a PyTorch estimator's jobs sifted ones: their hyperparameters, and their code."""

    environment: dict[str, str] | None
    container_entry_point: list[str] | None
    arguments: tuple[str, ...]
    """What the script gets on its command line, exactly as written."""

    allow: tuple[str, ...]
    """Names of files, hyperparameters and variables, or of rules, that look like a secret and are
    none: the command's --allow."""

    _sift_config: SiftConfig | None
    _bundle: CodeBundle | None = None
    _code_is_a_channel = False
    _carries_runtime = False

    @property
    def sift_config(self) -> SiftConfig | None:
        """How the jobs are sifted; None: not at all. Checked when it is set."""
        return self._sift_config

    @sift_config.setter
    def sift_config(self, value: SiftSettings) -> None:
        self._sift_config = read_sift_config(value)

    def hyperparameters(self) -> dict[str, str]:
        """The hyperparameters of a job, those of its sifting among them, every value as JSON."""
        own: dict[str, str] = {}
        if self.sift_config is not None:
            own["sift_config"] = self.sift_config.to_json()
        if self.arguments:
            own["sift_arguments"] = json.dumps(list(self.arguments))
        encoded = {name: json.dumps(value) for name, value in own.items()}
        return dict(super().hyperparameters() | encoded)

    def plan_code(self, bundle: CodeBundle, *, is_a_channel: bool) -> None:
        """The jobs get `bundle`, which holds all they need, and not what the source folder has
        when they are started. `is_a_channel`: their hosts find it there, and fetch nothing."""
        self._bundle = bundle
        self._code_is_a_channel = is_a_channel

    def fit(self, inputs: Any = None, *arguments: Any, **keywords: Any) -> Any:
        """As the SDK's. A channel may also be a folder or file of this machine, by its path: a job
        in SageMaker gets it uploaded, once for the same content."""
        session = self.sagemaker_session
        if not isinstance(session, PipelineSession):
            runs_here = isinstance(session, MachineSession)
            placed = at_home if runs_here else uploading(session, self.output_kms_key)
            inputs = with_places(inputs, placed, TrainingInput)
        return super().fit(inputs, *arguments, **keywords)

    @classmethod
    def attach(
        cls,
        training_job_name: str,
        sagemaker_session: Any = None,
        model_channel_name: str = "model",
    ) -> Any:
        """An estimator for a job that exists, with what it was sifted by; waits until it has ended.

        Without a session the job is looked for on this machine, then where it was launched to, then
        in the environment's account.
        """
        session = sagemaker_session or _session_of(training_job_name)
        return super().attach(training_job_name, session, model_channel_name)

    @classmethod
    def _prepare_init_params_from_job_description(
        cls, job_details: dict[str, Any], model_channel_name: str | None = None
    ) -> dict[str, Any]:
        output = {"KmsKeyId": None} | job_details["OutputDataConfig"]
        params = super()._prepare_init_params_from_job_description(
            job_details | {"OutputDataConfig": output}, model_channel_name
        )
        own = params["hyperparameters"]
        params["sift_config"] = own.pop("sift_config", None)
        params["arguments"] = json.loads(own.pop("sift_arguments", "[]"))
        params["output_kms_key"] = params["output_kms_key"] or None
        params["environment"] = job_details.get("Environment")
        return dict(params)

    def training_image_uri(self, region: str | None = None) -> str:
        """The image of the jobs."""
        if isinstance(self.sagemaker_session, MachineSession):
            region = region or region_of_the_environment()
        return str(super().training_image_uri(region))

    def _prepare_for_training(self, job_name: str | None = None) -> None:
        if self._bundle is None and not self._is_code_elsewhere():
            self._look_around()
        super()._prepare_for_training(job_name)

    def _look_around(self) -> None:
        check_no_secrets(self._hyperparameters, self.environment or {}, self.allow)
        self._carries_runtime = self.sift_config is not None or bool(self.arguments)
        python_path = ""
        if isinstance(self.sagemaker_session, MachineSession):
            python_path = self._look_into_image()
        if self._carries_runtime:
            own = dict(self.environment or {})
            if not own.get("PYTHONPATH", "").startswith(carried.python_path("")):
                own["PYTHONPATH"] = carried.python_path(own.get("PYTHONPATH", python_path))
            self.environment = own

    def _look_into_image(self) -> str:
        """Whether the image on this machine has the runtime; returns its PYTHONPATH."""
        from sift_launcher.estimator.image import carries_runtime, image_facts

        if not is_container(self.instance_type):
            self._carries_runtime = False  # this interpreter has it
            return ""
        facts = image_facts(self.training_image_uri(), self.instance_type)
        self._carries_runtime = carries_runtime(facts, is_sifted=self._carries_runtime)
        if facts.kind == "plain" and self.container_entry_point is None:
            self.container_entry_point = list(carried.ENTRYPOINT)
            self.container_arguments = ["train"]
        return facts.python_path

    def _stage_user_code_in_s3(self) -> Any:
        if self._is_code_elsewhere():
            return super()._stage_user_code_in_s3()
        bundle = self._bundle or code_bundle(
            self.entry_point,
            self.source_dir,
            self.dependencies,
            carries_runtime=self._carries_runtime,
            allow=self.allow,
        )
        script = self.entry_point if self.source_dir else Path(self.entry_point).name
        session = self.sagemaker_session
        if isinstance(session, MachineSession):
            uri = f"{self.output_path}/{self._current_job_name}/source/{ARCHIVE}"
            session.stage(bundle, uri)
            return UploadedCode(uri, script)
        bucket, prefix, kms_key = self._code_place()
        uri = f"s3://{bucket}/{self._assign_s3_prefix(prefix)}/{ARCHIVE}"
        s3 = session.s3_client or session.boto_session.client("s3")
        upload_code(bundle, s3, uri, kms_key, session.settings.local_download_dir)
        return UploadedCode(uri, script)

    def _code_place(self) -> tuple[str, str, str | None]:
        """Bucket, prefix and key where the SDK would put the code."""
        session = self.sagemaker_session
        if self.code_location is not None:
            bucket, prefix = parse_s3_url(self.code_location)
            output = None if is_pipeline_variable(self.output_path) else self.output_path
            beside = bucket == (parse_s3_url(output)[0] if output else session.default_bucket())
            return bucket, prefix, self.output_kms_key if beside else None
        if is_pipeline_variable(self.output_path):
            return session.default_bucket(), session.default_bucket_prefix, None
        bucket, prefix = parse_s3_url(self.output_path)
        is_default = self._is_output_path_set_from_default_bucket_and_prefix
        return bucket, prefix if is_default else "", self.output_kms_key

    def _script_mode_hyperparam_update(self, code_dir: str, script: str) -> None:
        if self._code_is_a_channel and code_dir.startswith("s3://"):
            self.code_uri = code_dir
            code_dir = self.CONTAINER_CODE_CHANNEL_SOURCEDIR_PATH
        super()._script_mode_hyperparam_update(code_dir, script)
        if isinstance(self.sagemaker_session, MachineSession):
            del self._hyperparameters["sagemaker_region"]  # it has none

    def _is_code_elsewhere(self) -> bool:
        """Whether the code is not on this machine, or not known before a pipeline runs."""
        places = (self.entry_point, self.source_dir)
        return any(map(is_pipeline_variable, places)) or str(self.source_dir).startswith("s3://")

    def _sift(self, config: SiftSettings, arguments: Sequence[str], allow: Sequence[str]) -> None:
        for name, instead in _OWN_HYPERPARAMETERS.items():
            if name in self._hyperparameters:
                raise OptionError(f"hyperparameter {name} is the estimator's own: use {instead}")
        self.sift_config = config
        self.arguments, self.allow = tuple(arguments), tuple(allow)
        without_telemetry(self.sagemaker_session)


class SiftPyTorch(_Sifted):
    """SageMaker's PyTorch estimator, whose jobs train on the samples that teach them something.

    It is used as `sagemaker.pytorch.PyTorch` is, with the same arguments, and in its place wherever
    the SDK takes one: `fit`, `attach`, `sagemaker.tuner`, pipelines. The training script stays as
    it is.

    >>> estimator = SiftPyTorch(
    ...     "train.py", source_dir="src", sift_config={"keep": 0.3},
    ...     instance_type="ml.g5.xlarge", instance_count=1, role="SageMakerRole",
    ... )  # doctest: +SKIP
    >>> estimator.fit({"train": "s3://bucket/data"}, wait=False)  # doctest: +SKIP

    Besides:

    sift_config: how a job is sifted: a `SiftConfig`, a dict, JSON text or the name of a file of it;
        by default half of the samples is kept. None: a plain job.
    arguments: what the script gets on its command line, exactly as written.
    allow: names of files, hyperparameters and variables, or of rules, that look like a secret and
        are none: the command's `--allow`.
    instance_type: also `process` (this interpreter), `local` or `local_gpu` (a container), which
        run on this machine as `sift-launch` runs them; they need no account, no role and no S3.
    image_uri, framework_version: with neither, AWS's own training image for instance and region;
        on this machine the one that `sift-launch build` makes.
    source_dir: travels as `sift-launch` packs it: without what `.gitignore` and `.siftignore` name,
        without environments and caches, and with nothing that looks like a secret.
    """

    def __init__(
        self,
        entry_point: Any = None,
        framework_version: str | None = None,
        py_version: str | None = None,
        source_dir: Any = None,
        hyperparameters: dict[str, Any] | None = None,
        image_uri: Any = None,
        distribution: dict[str, Any] | None = None,
        *,
        sift_config: SiftSettings = SiftConfig(),  # noqa: B008 - it is frozen
        arguments: Sequence[str] = (),
        allow: Sequence[str] = (),
        instance_type: Any = None,
        role: str | None = None,
        output_path: Any = None,
        sagemaker_session: Any = None,
        **of_the_sdk: Any,
    ) -> None:
        read_sift_config(sift_config)  # before anything is connected to
        silence(type(self).__name__)
        session = sagemaker_session
        runs_here = is_here(instance_type) and not isinstance(session, PipelineSession)
        if runs_here:
            session = _session_here(session, instance_type)
            if framework_version is None or not is_container(instance_type):
                image_uri = image_here(instance_type, image_uri)
            role = role or ROLE
            of_the_sdk.setdefault("base_job_name", _stem(entry_point))
        else:
            session = session or SiftSession()
            if image_uri is None and framework_version is None:
                image_uri = image_in_the_cloud(
                    _first(instance_type, of_the_sdk), session._region_name
                )
        super().__init__(
            entry_point,
            framework_version,
            py_version,
            source_dir,
            hyperparameters,
            image_uri,
            distribution,
            # The SDK knows no processes, and no files but in a local mode of its own.
            instance_type=LOCAL if runs_here and instance_type != LOCAL_GPU else instance_type,
            output_path=None if runs_here else output_path,
            role=role,
            sagemaker_session=session,
            **of_the_sdk,
        )
        if runs_here:
            self.instance_type = instance_type
            self.output_path = output_here(output_path)
        self._sift(sift_config, arguments, allow)


def sift(
    estimator: Any,
    sift_config: SiftSettings = SiftConfig(),  # noqa: B008 - it is frozen
    *,
    arguments: Sequence[str] = (),
    allow: Sequence[str] = (),
) -> Any:
    """Makes a PyTorch estimator that exists one whose jobs are sifted, and returns it.

    Raises SiftConfigError, or OptionError for what is no PyTorch estimator.
    """
    if not isinstance(estimator, PyTorch):
        raise OptionError(
            f"sift() takes a sagemaker.pytorch.PyTorch, and this is a {type(estimator).__name__}"
        )
    read_sift_config(sift_config)
    if not isinstance(estimator, _Sifted):
        estimator.__class__ = _sifted_class(type(estimator))
    if type(estimator.sagemaker_session) is LocalSession:
        estimator.sagemaker_session = MachineSession()
        estimator.output_path = output_here(estimator.output_path)
    estimator._sift(sift_config, arguments, allow)
    return estimator


def _sifted_class(kind: type) -> type:
    return SiftPyTorch if kind is PyTorch else type(f"Sifted{kind.__name__}", (_Sifted, kind), {})


def _session_here(given: Any, instance_type: str) -> MachineSession:
    if isinstance(given, MachineSession):
        return given
    if given is None or isinstance(given, LocalSession):
        return MachineSession()
    raise OptionError(
        f"instance_type {instance_type} is this machine, and sagemaker_session leads elsewhere: "
        "leave sagemaker_session out"
    )


def _session_of(name: str) -> Any:
    from sift_launcher import catalogue
    from sift_launcher.cloud.reach import clients_of
    from sift_launcher.local.job import LocalJob

    if LocalJob(name).exists():
        return MachineSession()
    entry = catalogue.entry(name)
    return SiftSession() if entry is None else SiftSession(clients_of(entry))


def _stem(entry_point: Any) -> str | None:
    return legal_name(PurePosixPath(str(entry_point)).stem) or None


def _first(instance_type: Any, of_the_sdk: dict[str, Any]) -> Any:
    groups = of_the_sdk.get("instance_groups")
    return groups[0].instance_type if instance_type is None and groups else instance_type
