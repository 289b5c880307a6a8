from __future__ import annotations

import json
import os

import pytest

from sift_launcher.engine import EngineTraits
from sift_launcher.errors import OptionError
from sift_launcher.local.container_settings import user_of
from sift_launcher.local.machine import MachineShare


def engine(*, is_rootless: bool = False) -> EngineTraits:
    return EngineTraits(
        product="docker",
        version="27.0",
        architecture="amd64",
        is_rootless=is_rootless,
        is_remote=False,
        has_nvidia=False,
        memory_bytes=8_000_000_000,
        cpus=4,
        data_root="/var/lib/docker",
    )


def test_a_share_survives_the_record():
    share = MachineShare(1, 2, 0.5, "linux/arm64")
    assert MachineShare.from_dict(json.loads(json.dumps(share.to_dict()))) == share


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (MachineShare(memory_bytes=6_000_000), "--memory: the engine grants no less than 6.3 MB"),
        (MachineShare(memory_bytes=9_000_000_000), "--memory: 9.0 GB is more than the 8.0 GB"),
        (MachineShare(shm_bytes=9_000_000_000), "--shm-size: 9.0 GB is more than the 8.0 GB"),
        (MachineShare(cpus=4.5), "--cpus 4.5: the engine has 4"),
        (MachineShare(cpus=0.001), "--cpus 0.001: the engine grants no less than 0.01"),
    ],
)
def test_what_the_engine_has_not_got_is_refused(share, told):
    with pytest.raises(OptionError, match=told):
        share.check(engine())


def test_all_of_the_engine_can_be_had():
    MachineShare(8_000_000_000, 8_000_000_000, 4.0).check(engine())
    MachineShare().check(engine())


def test_a_jobs_processes_are_the_callers_whatever_the_engine_calls_them():
    assert user_of(engine()) == f"{os.getuid()}:{os.getgid()}"
    assert user_of(engine(is_rootless=True)) == "0:0"
