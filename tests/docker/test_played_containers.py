"""SageMaker's own requests played by containers: hosts, shares, spot, commands of the request's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from container_jobs import of_state
from played_jobs import PlayedJobs

pytestmark = pytest.mark.docker


@pytest.fixture
def jobs(tmp_path: Path, image: str, engine, aws) -> Iterator[PlayedJobs]:
    jobs = PlayedJobs(tmp_path / "state", aws, runs="local", image=image)
    yield jobs
    jobs.end()
    assert of_state(engine, tmp_path / "state") == []


SHARED = """
import errno, json, os, socket
from pathlib import Path
data = Path("/opt/ml/input/data")
for name in ("part", "local", "all"):
    print(name, sorted(p.relative_to(data / name).as_posix() for p in (data / name).rglob("*.*")))
    try:
        next((data / name).rglob("*.*")).write_text("mine")
    except OSError as error:
        print(errno.errorcode[error.errno])
print(os.environ["SM_CURRENT_INSTANCE_TYPE"], os.environ["SM_HOSTS"])
Path("/opt/ml/checkpoints", os.environ["SM_CURRENT_HOST"]).write_text("saved")
"""


def test_two_hosts_get_disjoint_shares_which_they_can_only_read(jobs: PlayedJobs, tmp_path: Path):
    for name in ("a.csv", "b.csv", "sub/c.csv"):
        jobs.put(f"data/{name}", b"x")
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text("x")
    sharded = {"S3DataType": "S3Prefix", "S3DataDistributionType": "ShardedByS3Key"}
    channels = {
        "part": {"S3Uri": "s3://bucket/data/"} | sharded,
        "local": {"S3Uri": f"file://{tmp_path}/data"} | sharded,
        "all": {"S3Uri": "s3://bucket/data/"},
    }
    job = jobs.run(SHARED, spot=False, count=2, channels=channels)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    everything = "all ['a.csv', 'b.csv', 'sub/c.csv']"
    for host, share in (("algo-1", "['a.csv', 'sub/c.csv']"), ("algo-2", "['b.csv']")):
        assert jobs.log(host=host).splitlines() == [
            f"part {share}",
            "EROFS",
            f"local {share}",
            "EROFS",
            everything,
            "EROFS",
            'ml.g5.xlarge ["algo-1","algo-2"]',
        ]
    assert (tmp_path / "data" / "a.csv").read_text() == "x"
    assert jobs.keys("job/checkpoints/") == ["job/checkpoints/algo-1", "job/checkpoints/algo-2"]


# The first host says that half is done once the second one has got as far.
SPOT = """
import os, signal, socket, time
from pathlib import Path
def meet():
    if os.environ["SM_CURRENT_HOST"] == "algo-1":
        with socket.create_server(("", 7777)) as server:
            server.accept()[0].close()
        return
    while True:
        try:
            return socket.create_connection(("algo-1", 7777)).close()
        except OSError:
            time.sleep(.05)
kept = Path("/opt/ml/checkpoints/epoch")
signal.signal(signal.SIGTERM, lambda *_: (print("told to stop", flush=True), os._exit(0)))
begin = int(kept.read_text()) if kept.exists() else 0
for epoch in range(begin + 1, 5):
    kept.write_text(str(epoch))
    told = os.environ["SM_CURRENT_HOST"] + f" epoch {epoch}/4"
    if epoch == 2 and told.startswith("algo-1"): meet()
    print(told, flush=True)
    if epoch == 2 and told.startswith("algo-2"): meet()
    while epoch == 2: time.sleep(.01)
"""


def test_the_hosts_of_an_interrupted_job_begin_again_on_fresh_containers(jobs: PlayedJobs):
    job = jobs.run(SPOT, count=2, at=("50%",))
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    attempt = ["Starting", "Downloading", "Training"]
    assert jobs.statuses() == [*attempt, "Interrupted", *attempt, "Uploading", "Completed"]
    for host in ("algo-1", "algo-2"):
        assert jobs.log(host=host).splitlines() == [
            *(f"{host} epoch {epoch}/4" for epoch in (1, 2)),
            "told to stop",
            *(f"{host} epoch {epoch}/4" for epoch in (3, 4)),
        ]


def test_an_isolated_host_runs_the_requests_own_commands_and_reaches_nothing(
    jobs: PlayedJobs, image: str
):
    told = "import os; print(sorted(os.listdir('/sys/class/net')), open('/opt/ml/code/x').read())"
    unpack = 'echo brought > /opt/ml/code/x && exec python3 -c "$0"'
    jobs.put("code/sourcedir.tar.gz", b"")
    job = jobs.run(
        "",
        spot=False,
        played={"image": None},
        channels={"code": {"S3Uri": "s3://bucket/code/"}},
        AlgorithmSpecification={
            "TrainingImage": image,
            "ContainerEntrypoint": ["/bin/sh", "-c", unpack],
            "ContainerArguments": [told],
        },
        HyperParameters={},
        EnableNetworkIsolation=True,
    )
    assert jobs.log() == "['lo'] brought\n\n"
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
