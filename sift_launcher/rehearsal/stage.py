"""How a rehearsal's jobs are played: by which processes or images, and when interrupted."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sift_launcher.cloud.instance_types import has_gpu
from sift_launcher.errors import ImageMissing
from sift_launcher.images import CPU_IMAGE, GPU_IMAGE
from sift_launcher.local.service import LocalTrainingService
from sift_launcher.local.stand_in import NOTICE_SECONDS, StandIn
from sift_launcher.stock import is_stock_account


class Stage:
    """Where the jobs run. What was said of a job before it came is done then."""

    def __init__(self, home: Path, runs: str, environment: Mapping[str, str]) -> None:
        """`runs`: what plays an instance where nothing else was said, `process` or `local`.
        `environment` leads a job's own AWS clients to the rehearsal."""
        self._home = home
        self._usual = StandIn(
            runs=runs,
            python=sys.executable,
            endpoint=environment["AWS_ENDPOINT_URL"],
            environment=environment,
        )
        self._prepared: dict[str, StandIn] = {}

    def prepare(self, job: str, wishes: Mapping[str, Any]) -> None:
        """The job that will be named so is played by these: `runs`, `python`, `at`,
        `notice_seconds`; see StandIn."""
        self._prepared[job] = replace(
            self._usual,
            runs=wishes.get("runs", self._usual.runs),
            python=wishes.get("python", self._usual.python),
            interruptions=tuple(wishes.get("at", ())),
            notice_seconds=wishes.get("notice_seconds", NOTICE_SECONDS),
        )

    def run(self, request: dict[str, Any]) -> None:
        """Starts the job. Raises what LocalTrainingService raises."""
        stand_in = self._prepared.pop(request["TrainingJobName"], self._usual)
        images = (None, *_understudies(request))
        for image in images:
            played = replace(stand_in, image=image)
            try:
                LocalTrainingService(self._home, stand_in=played).create_training_job(**request)
                return
            except ImageMissing:
                if image == images[-1]:
                    raise


def _understudies(request: dict[str, Any]) -> tuple[str, ...]:
    """The images that play the request's own where the engine does not have it: ours for AWS's."""
    account = request["AlgorithmSpecification"].get("TrainingImage", "").partition(".")[0]
    if not is_stock_account(account):
        return ()
    is_gpu = has_gpu(request["ResourceConfig"].get("InstanceType", ""))
    return (GPU_IMAGE, CPU_IMAGE) if is_gpu else (CPU_IMAGE,)
