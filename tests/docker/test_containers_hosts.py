"""Several hosts, a container each: their network, their end, and what each of them leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from container_jobs import ContainerJobs, of_state

pytestmark = pytest.mark.docker


@pytest.fixture
def jobs(tmp_path: Path, image: str, engine):
    jobs = ContainerJobs(tmp_path, image)
    yield jobs
    jobs.end()
    assert of_state(engine, tmp_path / "state") == []


TRAIN = """
import json, os, time
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
dist.init_process_group("gloo")
rank, world = dist.get_rank(), dist.get_world_size()
torch.manual_seed(0)
x = torch.randn(64, 4); y = x @ torch.tensor([1.0, -2.0, 3.0, 0.5])
x, y = x[rank::world], y[rank::world]
model = DistributedDataParallel(torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
for step in range(40):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x).squeeze(), y)
    loss.backward()
    optimizer.step()
weights = [round(w, 4) for w in model.module.weight[0].tolist()]
here = os.environ["SM_CURRENT_HOST"]
print(here, "rank", rank, "of", world, "loss", loss.item() < 0.01, flush=True)
open(os.environ["SM_MODEL_DIR"] + "/weights.json", "w").write(json.dumps(weights))
dist.barrier()
if rank == 1: time.sleep(2)
open(os.environ["SM_MODEL_DIR"] + "/last", "w").write(str(rank))
dist.destroy_process_group()
"""


def test_two_hosts_train_one_model_and_all_are_waited_for(jobs):
    parameters = {"sagemaker_torch_distributed_enabled": "true"}
    job = jobs.run(TRAIN, count=2, parameters=parameters)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert "algo-1 rank 0 of 2 loss True\n" in jobs.log("algo-1")
    assert "algo-2 rank 1 of 2 loss True\n" in jobs.log("algo-2")
    first, second = jobs.packed(), jobs.packed("algo-2/model.tar.gz")
    assert first["weights.json"] == second["weights.json"]
    assert (first["last"], second["last"]) == ("0", "1")


def test_hosts_that_do_nothing_end_though_one_is_done_before_the_other_looks(jobs):
    for number in range(3):
        job = jobs.run("print('here')", count=3, name=f"job-{number}")
        assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert [jobs.log(f"algo-{n}", "job-2") for n in (1, 2, 3)] == ["here\n"] * 3


REACH = """
import os, socket, sys, time
here = os.environ["SM_CURRENT_HOST"]
if here == "algo-1":
    with socket.create_server(("", 7777)) as server:
        peer, address = server.accept()
        print("heard", peer.recv(99).decode(), address[0] == socket.gethostbyname("algo-2"))
else:
    while True:  # until it listens
        try:
            with socket.create_connection(("algo-1", 7777)) as to:
                to.send(b"algo-2")
                break
        except OSError:
            time.sleep(.05)
"""


def test_hosts_reach_each_other_by_name_and_two_jobs_do_not_meet(jobs):
    for name in ("one", "two"):
        jobs.start(REACH, count=2, name=name)
    for name in ("one", "two"):
        assert jobs.ended(name)["TrainingJobStatus"] == "Completed"
        assert jobs.log("algo-1", name) == "heard algo-2 True\n"


FAILS_ON_2 = """
import os, signal, time
def wait_for(word):
    while not os.path.exists("/opt/ml/input/data/words/" + word): time.sleep(.01)
here = os.environ["SM_CURRENT_HOST"]
open("/opt/ml/model/of", "w").write(here)
if here == "algo-2":
    wait_for("fail")
    raise ValueError("bad sample 17")
{first}
"""


@pytest.fixture
def fail(jobs) -> Callable[..., Path]:
    """Starts a job whose second host fails once its first one has said something; returns the
    folder of the words that the hosts wait for."""

    def start(first: str, said: str, **options: Any) -> Path:
        words = jobs.root / "words"
        words.mkdir()
        jobs.start(FAILS_ON_2.format(first=first), count=2, channels={"words": words}, **options)
        jobs.prints(said)
        (words / "fail").touch()
        return words

    return start


def test_one_host_fails_and_the_other_ends_by_itself(jobs, fail):
    first = "print('lost', flush=True)\nwait_for('end')\nraise ConnectionError('Connection reset')"
    words = fail(first, "lost")
    jobs.prints("bad sample 17", "algo-2")
    (words / "end").touch()
    job = jobs.ended()
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("algo-2: ValueError: bad sample 17\nexit code 1")
    assert jobs.packed()["of"] == "algo-1"
    assert jobs.packed("algo-2/model.tar.gz")["of"] == "algo-2"


def test_one_host_fails_and_the_other_which_waits_for_it_is_stopped(jobs, fail):
    first = (
        "signal.signal(signal.SIGTERM, lambda *_: (print('told to stop'), os._exit(0)))\n"
        "print('waiting', flush=True)\ntime.sleep(600)"
    )
    fail(first, "waiting")
    job = jobs.ended()
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith("algo-2: ValueError: bad sample 17")
    assert jobs.log("algo-1") == "waiting\ntold to stop\n"


def test_one_host_fails_and_the_other_which_hangs_is_killed(jobs, fail):
    first = (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('hanging', flush=True)\n"
        "time.sleep(600)"
    )
    fail(first, "hanging", stop_seconds=1)
    job = jobs.ended()
    assert job["FailureReason"].startswith("algo-2: ValueError: bad sample 17")
    assert jobs.log("algo-1").startswith("hanging\n")
    assert jobs.packed()["of"] == "algo-1"


BREAKS_ON_2 = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
for step in range(100):
    if step == 20 and dist.get_rank() == 1:
        raise ValueError("bad sample 17")
    dist.all_reduce(torch.ones(10))
"""


def test_the_rank_that_failed_is_the_reason_not_those_that_lost_it(jobs):
    parameters = {"sagemaker_torch_distributed_enabled": "true"}
    job = jobs.run(BREAKS_ON_2, count=2, parameters=parameters)
    assert job["TrainingJobStatus"] == "Failed"
    # gloo's threads may abort the rank on its way out: then that is what is told first.
    assert job["FailureReason"].startswith("algo-2: ")
    assert "ValueError: bad sample 17" in job["FailureReason"]


def test_a_host_that_outlasts_the_longest_run_time_is_stopped(jobs):
    script = "import os, time\nif os.environ['SM_CURRENT_HOST'] == 'algo-2': time.sleep(600)"
    job = jobs.run(script, count=2, max_run=4)
    assert job["TrainingJobStatus"] == "Stopped"
    assert job["SecondaryStatus"] == "MaxRuntimeExceeded"


def test_all_hosts_are_asked_to_stop(jobs):
    script = (
        "import os, signal, time\n"
        "def stop(*_):\n"
        "    open('/opt/ml/model/stopped', 'w').write('yes')\n"
        "    os._exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "print('ready', flush=True)\ntime.sleep(600)\n"
    )
    jobs.start(script, count=2)
    for host in ("algo-1", "algo-2"):
        jobs.prints("ready", host)
    jobs.service.stop_training_job(TrainingJobName="job")
    assert jobs.ended()["TrainingJobStatus"] == "Stopped"
    assert jobs.packed() == jobs.packed("algo-2/model.tar.gz") == {"stopped": "yes"}
