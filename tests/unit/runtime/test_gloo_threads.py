"""A rank that has trained to its end does not abort while its interpreter goes down."""

import os
import subprocess
import sys
from pathlib import Path

from smart_sifting.gloo_threads import Thread, wait_until_idle

# What a gloo thread lets go of last takes it a while, in Python, as on a loaded machine.
SCRIPT = """
import os, time, weakref
import numpy as np, torch, torch.distributed as dist
from pathlib import Path
from smart_sifting import job_report

def dawdle():
    end = time.monotonic() + 0.02
    while time.monotonic() < end:
        pass

job_report.start(Path("."), 0.5, "exact")
dist.init_process_group("gloo", f"file://{os.getcwd()}/store", rank=0, world_size=1)
group = dist.group.WORLD  # as DistributedDataParallel holds it
for _ in range(8):
    values = np.ones(8)
    weakref.finalize(values, dawdle).atexit = False
    tensor = torch.from_numpy(values)
    del values
    dist.all_reduce(tensor, async_op=True)
    del tensor
dist.destroy_process_group()
print("trained", flush=True)
"""


def test_a_rank_whose_collectives_still_let_go_ends_well(tmp_path: Path):
    """Without the waiting this ends with SIGABRT."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (0, "trained\n"), ended.stderr


def gloo(asleep: bool, switches: int) -> Thread:
    return Thread("pt_gloo_runloop", asleep, (str(switches), "0"))


def test_it_waits_until_all_sleep_and_none_has_moved():
    looks = iter(
        [
            {"7": gloo(False, 1), "8": Thread("python", True, ("5", "0"))},
            {"7": gloo(False, 1), "8": Thread("python", True, ("5", "0"))},
            {"7": gloo(True, 2), "8": Thread("python", True, ("5", "0"))},
            {"7": gloo(True, 2), "8": Thread("python", True, ("5", "1"))},
            {"7": gloo(True, 2), "8": Thread("python", True, ("5", "1"))},
            {"9": gloo(False, 0)},
        ]
    )
    slept: list[float] = []
    wait_until_idle(lambda: next(looks), slept.append)
    assert slept == [0.01] * 4
    assert next(looks) == {"9": gloo(False, 0)}


def test_without_gloo_it_waits_for_nothing():
    slept: list[float] = []
    wait_until_idle(lambda: {"8": Thread("python", False, ("5", "0"))}, slept.append)
    wait_until_idle(dict, slept.append)
    assert slept == []


def test_a_thread_that_never_rests_holds_a_job_for_five_seconds_at_most():
    slept: list[float] = []
    wait_until_idle(lambda: {"7": gloo(False, 1)}, slept.append)
    assert slept == [0.01] * 500
