"""Jobs in containers, as a client of the service on this machine starts and watches them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cli_runner import wait_until

from sift_launcher.errors import JobHasEnded
from sift_launcher.local.machine import MachineShare
from sift_launcher.local.service import LocalTrainingService

PATIENCE_SECONDS = 600.0


def wait(condition: Callable[[], Any]) -> Any:
    """What `condition` gives once that is something; gives up loudly."""
    return wait_until(condition, PATIENCE_SECONDS)


class ContainerJobs:
    """The service of one state folder; every script is a job's only file."""

    def __init__(self, root: Path, image: str, stop_seconds: float = PATIENCE_SECONDS) -> None:
        self.root = root
        self.image = image
        self.service = LocalTrainingService(root / "state", stop_seconds)
        self._started: list[str] = []

    def start(
        self,
        script: str,
        *,
        name: str = "job",
        count: int = 1,
        instance: str = "local",
        share: MachineShare | None = None,
        stop_seconds: float = PATIENCE_SECONDS,
        max_run: int = 600,
        parameters: Mapping[str, str] | None = None,
        channels: Mapping[str, Path] | None = None,
        algorithm: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        service = LocalTrainingService(self.root / "state", stop_seconds, share)
        data = [
            {"ChannelName": each, "DataSource": {"FileDataSource": {"FileUri": f"file://{path}"}}}
            for each, path in (channels or {}).items()
        ]
        request = {
            "TrainingJobName": name,
            "AlgorithmSpecification": {"TrainingImage": self.image} | dict(algorithm or {}),
            "HyperParameters": {
                "sagemaker_program": '"train.py"',
                "sagemaker_submit_directory": json.dumps(f"file://{self._pack(name, script)}"),
            }
            | dict(parameters or {}),
            "OutputDataConfig": {"S3OutputPath": f"file://{self.root}/out"},
            "ResourceConfig": {"InstanceType": instance, "InstanceCount": count},
            "StoppingCondition": {"MaxRuntimeInSeconds": max_run},
        } | more
        if data:
            request["InputDataConfig"] = data
        service.create_training_job(**request)
        self._started.append(name)

    def _pack(self, name: str, script: str) -> Path:
        archive = self.root / f"{name}.tar.gz"
        if not archive.exists():
            with tarfile.open(archive, "w:gz") as tar:
                info = tarfile.TarInfo("train.py")
                info.size = len(script.encode())
                tar.addfile(info, io.BytesIO(script.encode()))
        return archive

    def ended(self, name: str = "job") -> dict[str, Any]:
        """The description of the job, once it has ended."""
        return wait(lambda: self._ended(name))

    def _ended(self, name: str) -> dict[str, Any] | None:
        job = self.service.describe_training_job(TrainingJobName=name)
        return job if "TrainingEndTime" in job else None

    def run(self, script: str, **options: Any) -> dict[str, Any]:
        self.start(script, **options)
        return self.ended(options.get("name", "job"))

    def prints(self, text: str, host: str = "algo-1", name: str = "job") -> None:
        """Waits until the host has printed `text`."""
        wait(lambda: text in self.log(host, name) or self._ended(name))
        assert text in self.log(host, name)

    def log(self, host: str = "algo-1", name: str = "job") -> str:
        path = self.service.record(name).logs / f"{host}.log"
        return path.read_text() if path.exists() else ""

    def results(self, name: str = "job") -> Path:
        return self.root / "out" / name / "output"

    def packed(self, archive: str = "model.tar.gz", name: str = "job") -> dict[str, str]:
        """The files of an archive by name."""
        with tarfile.open(self.results(name) / archive) as tar:
            return {
                member.name: tar.extractfile(member).read().decode()
                for member in tar
                if member.isfile()
            }

    def end(self) -> None:
        for name in self._started:
            with suppress(JobHasEnded):
                self.service.kill_training_job(TrainingJobName=name)
            self.ended(name)


def of_state(engine: Any, state: Path) -> list[str]:
    """The names of the containers and networks that jobs of a state folder have in the engine."""
    filters = {"label": "sift-launcher.record"}
    found = [
        *engine.containers.list(all=True, filters=filters, ignore_removed=True),
        *engine.networks.list(filters=filters),
    ]
    labels = {
        each.name: (each.attrs.get("Labels") or each.attrs["Config"]["Labels"]) for each in found
    }
    return [
        name
        for name, label in labels.items()
        if label["sift-launcher.record"].startswith(f"{state}/")
    ]
