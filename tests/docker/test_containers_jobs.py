"""One host in a container: what it sees, what it leaves, how it ends."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from container_jobs import ContainerJobs, of_state, wait

from sift_launcher.errors import DeviceUnavailable, ImageUnfit, OptionError, ValidationError
from sift_launcher.local.machine import MachineShare

pytestmark = pytest.mark.docker

MEBIBYTE = 1024 * 1024


@pytest.fixture
def jobs(tmp_path: Path, image: str, engine):
    jobs = ContainerJobs(tmp_path, image)
    yield jobs
    jobs.end()
    assert of_state(engine, tmp_path / "state") == []


def test_a_job_goes_through_the_services_statuses_and_leaves_its_outputs(jobs):
    script = (
        "import os, pathlib, socket\n"
        "print('host', socket.gethostname(), socket.gethostbyname('algo-1') != '')\n"
        "print('in', os.getcwd(), os.environ['SM_CURRENT_HOST'])\n"
        "print('on', os.environ['SM_NETWORK_INTERFACE_NAME'])\n"
        "print('for', os.environ['TRAINING_JOB_NAME'], os.environ['GREETING'])\n"
        "pathlib.Path('/opt/ml/model/sub').mkdir()\n"
        "pathlib.Path('/opt/ml/model/sub/weights').write_text('w')\n"
        "pathlib.Path('/opt/ml/output/data/metrics').write_text('m')\n"
        "pathlib.Path('beside.txt').write_text('b')\n"
        "pathlib.Path('/opt/ml/checkpoints/last').write_text('c')\n"
    )
    kept = jobs.root / "checkpoints"
    job = jobs.run(
        script,
        Environment={"GREETING": 'g\'day "you" $(x)\né'},
        CheckpointConfig={"S3Uri": f"file://{kept}"},
    )
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert [each["Status"] for each in job["SecondaryStatusTransitions"]] == [
        "Starting", "Downloading", "Training", "Uploading", "Completed",
    ]  # fmt: skip
    assert jobs.log() == (
        'host algo-1 True\nin /opt/ml/code algo-1\non eth0\nfor job g\'day "you" $(x)\né\n'
    )
    assert jobs.packed() == {"sub/weights": "w"}
    assert jobs.packed("output.tar.gz") == {"metrics": "m"}
    assert (jobs.results() / "code" / "beside.txt").read_text() == "b"
    assert (kept / "last").read_text() == "c"
    assert (kept / "last").stat().st_uid == os.getuid()
    assert not jobs.service.record("job").hosts.exists()


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        ("raise ValueError('no such thing')", "ValueError: no such thing\nexit code 1"),
        ("import os; os.kill(os.getpid(), 9)", "exit code 137"),
        ("import os; os.kill(os.getppid(), 9); os._exit(5)", "exit code 5"),
    ],
)
def test_a_failed_job_says_why_and_keeps_what_it_wrote(jobs, script, reason):
    job = jobs.run(f"open('/opt/ml/model/half', 'w').write('h')\nprint('last words')\n{script}")
    assert job["TrainingJobStatus"] == "Failed"
    assert reason in job["FailureReason"]
    assert jobs.packed() == {"half": "h"}
    assert "last words\n" in jobs.log()


def test_a_job_that_exceeds_its_memory_is_told_its_limit(jobs):
    script = "open('/opt/ml/model/half', 'w').write('h')\nx = bytearray(400_000_000)"
    job = jobs.run(script, share=MachineShare(memory_bytes=200 * MEBIBYTE))
    assert job["TrainingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(
        "OutOfMemory: a process was killed at the host's limit of 200 MiB: set a higher --memory"
    )
    assert "exit code 137" in job["FailureReason"]
    assert jobs.packed() == {"half": "h"}


def test_inputs_are_the_users_own_files_and_cannot_be_changed(jobs):
    data = jobs.root / "da ta,é:x"
    data.mkdir()
    (data / "a.txt").write_text("A")
    (jobs.root / "labels.csv").write_text("L")
    script = """
import os, pathlib
train = pathlib.Path(os.environ["SM_CHANNEL_TRAIN"])
labels = pathlib.Path(os.environ["SM_CHANNEL_LABELS"]) / "labels.csv"
inode = train.joinpath("a.txt").stat().st_ino
print(train, train.joinpath("a.txt").read_text(), labels.read_text(), inode)
for path in (train / "new", train / "a.txt", labels, pathlib.Path("/opt/ml/input/config/new")):
    try:
        path.write_text("x")
    except OSError as error:
        print(path.name, error.strerror)
"""
    job = jobs.run(script, channels={"train": data, "labels": jobs.root / "labels.csv"})
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    inode = (data / "a.txt").stat().st_ino
    assert jobs.log().splitlines() == [
        f"/opt/ml/input/data/train A L {inode}",
        "new Read-only file system",
        "a.txt Read-only file system",
        "labels.csv Read-only file system",
        "new Read-only file system",
    ]
    assert [path.name for path in data.iterdir()] == ["a.txt"]


SHARE = """
import os
shm = os.statvfs("/dev/shm")
print(shm.f_blocks * shm.f_frsize)
v1 = "/sys/fs/cgroup/memory/memory.limit_in_bytes"
print(open(v1 if os.path.exists(v1) else "/sys/fs/cgroup/memory.max").read().strip())
v1 = "/sys/fs/cgroup/cpu/cpu.cfs_quota_us"
print(open(v1 if os.path.exists(v1) else "/sys/fs/cgroup/cpu.max").read().split()[0])
"""


def test_a_host_gets_the_share_of_the_machine_that_was_asked_for(jobs, engine):
    share = MachineShare(100 * MEBIBYTE, 300 * MEBIBYTE, 0.5)
    jobs.run(SHARE, share=share)
    assert jobs.log().split() == [str(100 * MEBIBYTE), str(300 * MEBIBYTE), "50000"]


def test_shared_memory_is_half_of_the_memory(jobs, engine):
    jobs.run(SHARE)
    half = engine.info()["MemTotal"] // 2
    assert abs(int(jobs.log().split()[0]) - half) <= 4096
    jobs.run(SHARE, name="less", share=MachineShare(memory_bytes=300 * MEBIBYTE))
    assert jobs.log(name="less").split()[0] == str(150 * MEBIBYTE)


def test_workers_hand_over_batches_that_64_megabytes_do_not_hold(jobs):
    script = """
import torch
from torch.utils.data import DataLoader, Dataset
class Data(Dataset):
    def __len__(self): return 8
    def __getitem__(self, i): return torch.full((10_000_000,), float(i))
print(sum(float(b[0, 0]) for b in DataLoader(Data(), batch_size=2, num_workers=2)))
"""
    job = jobs.run(script)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert jobs.log() == "12.0\n"


def test_hyperparameters_arrive_as_they_were_sent(jobs):
    odd = {
        "quotes": """it's "quoted" \\ twice""",
        "command": "$(touch /opt/ml/model/run) `touch x` ; exit 9",
        "lines": "one\ntwo\r\n\tthree",
        "words": "naïve 日本語 🎈",
        "empty": "",
    }
    script = "import json, sys; print(json.dumps(sys.argv[1:]))"
    job = jobs.run(script, parameters={key: json.dumps(value) for key, value in odd.items()})
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    argv = json.loads(jobs.log())
    assert dict(zip(argv[::2], argv[1::2], strict=True)) == {f"--{k}": v for k, v in odd.items()}
    assert jobs.packed() == {}


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside.py"])
def test_code_that_would_land_elsewhere_is_refused_by_name(jobs, name):
    with tarfile.open(jobs.root / "job.tar.gz", "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    job = jobs.run("")
    assert job["TrainingJobStatus"] == "Failed"
    assert f"holds {name!r}, which is no plain file below" in job["FailureReason"]


def test_a_request_may_bring_its_own_command(jobs):
    command = {
        "ContainerEntrypoint": ["/bin/sh", "-c"],
        "ContainerArguments": ['echo "$0 ran in $(hostname)"; : >/opt/ml/output/success', "sh"],
    }
    job = jobs.run("", algorithm=command)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert jobs.log() == "sh ran in algo-1\n"


def test_a_program_that_the_image_lacks_is_named_and_nothing_stays_behind(jobs, engine):
    job = jobs.run("", algorithm={"ContainerEntrypoint": ["no-such-program"]})
    assert job["TrainingJobStatus"] == "Failed"
    assert f"image {jobs.image} has no no-such-program to run" in job["FailureReason"]
    assert of_state(engine, jobs.root / "state") == []


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"algorithm": {"TrainingImage": "no-such-image:1"}}, ImageUnfit, "is not on this machine"),
        ({"algorithm": {"TrainingImage": "Bad Name"}}, ImageUnfit, "is not an image's name"),
        ({"share": MachineShare(cpus=1000)}, OptionError, "--cpus 1000: the engine has"),
        (
            {"share": MachineShare(memory_bytes=1)},
            OptionError,
            "--memory: the engine grants no less",
        ),
        ({"algorithm": {"ContainerArguments": "train"}}, ValidationError, "not a list of words"),
    ],
)
def test_what_cannot_run_is_refused_before_there_is_a_record(jobs, change, error, told):
    with pytest.raises(error, match=told):
        jobs.start("", **change)
    assert jobs.service.names() == []


def test_a_gpu_that_the_engine_cannot_give_is_refused_before_there_is_a_record(jobs, engine):
    if "nvidia" in engine.info()["Runtimes"]:
        pytest.skip("this engine has GPUs to give")
    with pytest.raises(DeviceUnavailable, match="has no NVIDIA runtime"):
        jobs.start("", instance="local_gpu")
    assert jobs.service.names() == []


def test_two_jobs_at_once_have_nothing_to_do_with_each_other(jobs):
    script = (
        "import os, time\n"
        "name = os.environ['TRAINING_JOB_NAME']\n"
        "open('/opt/ml/model/name', 'w').write(name)\n"
        "print('at it', flush=True)\n"
        "while not os.path.exists('/opt/ml/input/data/go/' + name): time.sleep(.02)\n"
        "raise SystemExit(4 if name == 'one' else 0)\n"
    )
    go = jobs.root / "go"
    go.mkdir()
    for name in ("one", "two"):
        jobs.start(script, name=name, channels={"go": go})
    for name in ("one", "two"):
        jobs.prints("at it", name=name)
    (go / "one").touch()
    assert "exit code 4" in jobs.ended("one")["FailureReason"]
    wait(lambda: jobs.service.status("two")["SecondaryStatus"] == "Training")
    (go / "two").touch()
    assert jobs.ended("two")["TrainingJobStatus"] == "Completed"
    assert [jobs.packed(name=name)["name"] for name in ("one", "two")] == ["one", "two"]


def test_a_container_that_somebody_removes_is_said_to_have_been(jobs, engine):
    jobs.start("print('ready', flush=True)\nimport time; time.sleep(600)")
    jobs.prints("ready")
    (name,) = of_state(engine, jobs.root / "state")
    engine.containers.get(name).remove(force=True)
    job = jobs.ended()
    assert job["TrainingJobStatus"] == "Failed"
    # The engine may tell how it ended before it has forgotten it.
    told = ("was removed by someone else while it ran", "exit code 137: it was killed")
    assert any(each in job["FailureReason"] for each in told)
    assert jobs.log() == "ready\n"


def test_a_job_that_fills_its_disk_is_told_so_and_keeps_what_there_is(jobs, engine):
    small = jobs.root / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can make a small disk")
    crowded = ContainerJobs(small, jobs.image)
    try:
        script = "import os; open('/opt/ml/model/w', 'wb').write(os.urandom(8_000_000))"
        job = crowded.run(f"print('words', flush=True)\n{script}")
        assert job["TrainingJobStatus"] == "Failed"
        reason = job["FailureReason"]
        assert reason.startswith("exit code 1, and the disk of ")
        assert "make room, or set SIFT_LAUNCHER_HOME (and --output) to a folder on anothe" in reason
        assert "also, the job's outputs could not be collected in" in reason
        kept = small / "state" / "jobs" / "job" / "hosts"
        assert f"they are kept in {kept}" in reason
        assert (kept / "algo-1" / "model" / "w").stat().st_size > 1_000_000
        assert crowded.log().startswith("words\n")
        assert of_state(engine, small / "state") == []
    finally:
        crowded.end()
        subprocess.run(["umount", "-l", small], check=True)
