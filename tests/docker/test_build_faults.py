"""What can go wrong with a build, on a real engine: one line each, and nothing left behind."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import zipfile

import docker
import pytest
from other_user import other_user
from small_wheels import build_small, small_wheelhouse, write_wheel

from sift_launcher.errors import BuildFailed
from sift_launcher.image.spec import ImageSpec

pytestmark = pytest.mark.docker

TAG = "sift-test-build:faulty"
NEVER_BUILT = "sift-test-build:never"


@pytest.fixture(scope="module")
def small_wheels(tmp_path_factory, wheelhouse):
    return small_wheelhouse(tmp_path_factory.mktemp("faults") / "wheels", wheelhouse)


@pytest.fixture
def containers(engine):
    """The ids of the containers of builds that are there at the moment."""

    def ids():
        listed = engine.containers.list(all=True, ignore_removed=True)
        return {
            each.id for each in listed if "/build/install.py" in str(each.attrs["Config"]["Cmd"])
        }

    return ids


@pytest.fixture
def containers_of(engine):
    """The containers of an image that are there at the moment."""
    return lambda image: engine.containers.list(
        all=True, filters={"ancestor": image}, ignore_removed=True
    )


def import_image(engine, tag, architecture="amd64", files=()):
    """An image of no more than some files."""
    import io
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = 0o755
            tar.addfile(info, io.BytesIO(content))
    engine.api.import_image_from_data(stream.getvalue(), *tag.split(":"))
    if architecture != "amd64":
        _relabel(engine, tag, architecture)


def _relabel(engine, tag, architecture):
    """Loads the image again, as one for another machine."""
    import io
    import json
    import tarfile

    saved = b"".join(engine.images.get(tag).save(named=True))
    engine.images.remove(tag)
    changed = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(saved)) as old,
        tarfile.open(fileobj=changed, mode="w") as new,
    ):
        manifest = json.load(old.extractfile("manifest.json"))
        for member in old:
            content = old.extractfile(member).read() if member.isfile() else b""
            if member.name == manifest[0]["Config"]:
                content = json.dumps(json.loads(content) | {"architecture": architecture}).encode()
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    engine.images.load(changed.getvalue())


@pytest.fixture
def odd_image(engine):
    made = []

    def make(tag, **more):
        made.append(tag)
        import_image(engine, tag, **more)
        return tag

    yield make
    for tag in made:
        engine.images.remove(tag, force=True)


def failed(done, code):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_a_base_that_cannot_be_had_is_named_with_the_mend(cli, engine):
    line = failed(cli("build", "--base", "127.0.0.1:9/nowhere:1"), 2)
    assert line.startswith("base image 127.0.0.1:9/nowhere:1 is not on this machine and cannot be")
    assert line.endswith("container/bootstrap makes a base (docs/images.md)")


def test_a_base_without_python_is_refused_by_name(cli, odd_image, containers_of):
    base = odd_image("sift-test-base:empty", files=[("bin/sh", b"")])
    line = failed(cli("build", "--base", base), 2)
    assert line == (
        f"image {base} has no python3: name one that has it, as in --base python:3.11-slim-bookworm"
    )
    assert containers_of(base) == []


def test_a_base_whose_python_does_not_run_says_what_it_said(cli, odd_image, base_image, engine):
    base = odd_image("sift-test-base:broken", files=[("usr/bin/python3", b"#!/usr/bin/nothing\n")])
    assert f"image {base} has" in failed(cli("build", "--base", base), 2)


def test_a_base_for_another_machine_is_refused_before_anything_is_built(
    cli, odd_image, containers_of
):
    base = odd_image(
        "sift-test-base:arm", architecture="arm64", files=[("bin/python3", b"\x7fELF")]
    )
    line = failed(cli("build", "--base", base), 2)
    assert f"image {base} is for arm64, and this engine runs amd64" in line
    asked = failed(cli("build", "--base", base, "--platform", "linux/arm64"), 2)
    assert f"this machine cannot run image {base}" in asked
    assert containers_of(base) == []


def complaint(engine, **asked):
    with pytest.raises(BuildFailed) as caught:
        build_small(engine, ImageSpec(tag=NEVER_BUILT, **asked))
    assert caught.value.exit_code == 1
    return str(caught.value)


def test_pips_own_complaint_ends_the_build(engine, base_image, small_wheels, tmp_path):
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("no-such-package-at-all==9\n")
    asked = {"base": base_image, "wheelhouse": small_wheels, "requirements": requirements}
    line = complaint(engine, **asked)
    assert line.startswith(
        f"image {NEVER_BUILT} could not be built: ERROR: Could not find a version that"
    )
    assert line.endswith("ERROR: No matching distribution found for no-such-package-at-all==9")
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(NEVER_BUILT)


def test_the_command_ends_with_that_complaint(cli, base_image, small_wheels):
    """Of the real lock, nothing but pip is in these wheels."""
    call = ("build", "--base", base_image, "--wheelhouse", str(small_wheels), "--tag", TAG)
    line = failed(cli(*call), 1)
    assert line.startswith(f"image {TAG} could not be built: ERROR: Could not find a version that")
    assert "ERROR: No matching distribution found for filelock==" in line


def test_a_wheel_that_is_not_the_locked_one_is_refused(engine, base_image, small_wheels, tmp_path):
    wheels = tmp_path / "wheels"
    shutil.copytree(small_wheels, wheels)
    with zipfile.ZipFile(next(wheels.glob("pip-*.whl")), "a") as pip:
        pip.comment = b"tampered"
    assert "DO NOT MATCH THE HASHES" in complaint(engine, base=base_image, wheelhouse=wheels)


def test_cuda_is_not_installed_for_a_cpu_nor_a_cpus_torch_for_a_gpu(
    engine, base_image, small_wheels, tmp_path
):
    line = complaint(engine, base=base_image, wheelhouse=small_wheels, device="gpu")
    assert "ERROR: pip found torch 2.13.0+cpu without CUDA: name CUDA wheels with" in line
    wheels = tmp_path / "wheels"
    shutil.copytree(small_wheels, wheels, ignore=shutil.ignore_patterns("torch-*"))
    write_wheel(wheels, "nvidia-cublas", "13.0")
    write_wheel(wheels, "torch", "2.13.0", ["nvidia-cublas"])
    line = complaint(engine, base=base_image, wheelhouse=wheels)
    assert "ERROR: pip found torch 2.13.0 with CUDA, which weighs gigabytes: name CPU" in line


def test_ctrl_c_ends_the_build_and_leaves_no_container(
    cli, base_image, wheelhouse, containers, interrupt, until
):
    before = containers()
    process = cli.start(
        *("build", "--base", base_image, "--wheelhouse", str(wheelhouse)),
        *("--tag", TAG, "--no-cache"),
    )
    until(lambda: containers() - before)
    interrupt(process)
    _, told = process.communicate(timeout=cli.patience_seconds)
    assert process.returncode == 130
    assert told.splitlines()[-1] == (
        f"building image {TAG} was interrupted; steps that had ended are kept"
    )
    until(lambda: containers() <= before)  # others' may have gone meanwhile


def test_no_engine_and_no_permission_are_told_apart(cli, tmp_path):
    cli.environment["DOCKER_HOST"] = f"unix://{tmp_path}/none.sock"
    assert failed(cli("build"), 2).startswith(f"no Docker engine answers at {tmp_path}/none.sock")
    with other_user(groups=[]) as user:
        told = failed(user.python("-m", "sift_launcher", "build"), 2)
    assert "sudo usermod -aG docker $USER, then log in again" in told


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--tag", "Bad:Tag"), "--tag 'Bad:Tag' is no image's name"),
        (("--label", "sift-launcher.runtime=1"), "choose another name"),
        (("--push",), "--push goes to Amazon's ECR"),
        (("--wheelhouse", "/nowhere"), "--wheelhouse /nowhere: there is no such folder"),
        (("--label", "team"), "--label 'team' is not KEY=VALUE"),
    ],
)
def test_a_wrong_call_is_one_line_and_asks_no_engine(cli, option, told):
    cli.environment["DOCKER_HOST"] = "unix:///nowhere"
    done = cli("build", *option)
    assert told in failed(done, 2)
    assert len(done.stderr.splitlines()) == 1


def test_a_dry_run_needs_no_engine_and_shows_no_password(cli):
    cli.environment["DOCKER_HOST"] = "unix:///nowhere"
    shown = cli(
        "build", "--device", "gpu", "--dry-run", "--extra-index", "https://me:pw@i.example/s"
    )
    assert shown.returncode == 0, shown.stderr
    assert "DEVICE=gpu" in shown.stdout
    assert "NVIDIA_VISIBLE_DEVICES=all" in shown.stdout
    assert "FROM ${BASE} AS packages" in shown.stdout
    assert "https://***@i.example/s" in shown.stdout
    assert "pw" not in shown.stdout
    assert "container/bootstrap" not in shown.stdout


def test_a_terminal_gets_one_status_line_that_goes_away(image, cli):
    own, other = pty.openpty()
    process = cli.start(
        *("build", "--base", image, "--tag", TAG),
        stderr=other,
        stdout=subprocess.DEVNULL,
    )
    os.close(other)
    told = b""
    while True:
        try:
            chunk = os.read(own, 65536)
        except OSError:  # how a terminal ends
            break
        if not chunk:
            break
        told += chunk
    os.close(own)
    assert process.wait(timeout=cli.patience_seconds) == 0
    assert b"step 6/" in told
    lines = told.decode().replace("\r\n", "\n").split("\n")
    assert len(lines) == 2, "nothing but the last line stays"
    assert lines[0].rpartition("\r\x1b[2K")[2].startswith(f"built {TAG}: ")


def client_of(address):
    try:
        return docker.DockerClient(base_url=address, timeout=600)
    except docker.errors.DockerException:
        return None


@pytest.fixture
def small_engine(tmp_path_factory, until):
    """An engine of our own with a disk of 260 MB; its address."""
    folder = tmp_path_factory.mktemp("engine")
    disk = folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=260m", "tmpfs", disk], check=True)
    address = f"unix://{folder}/engine.sock"
    name = f"sift-test-{os.getpid()}"
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [
            # In a network of its own: without a bridge it removes that of the other engine.
            *("unshare", "--net"),
            *("dockerd", "--data-root", disk / "data", "--exec-root", folder / "exec"),
            *("--pidfile", folder / "pid", "--host", address, "--bridge=none", "--iptables=false"),
            *("--containerd-namespace", name, "--containerd-plugins-namespace", f"{name}-plugins"),
        ],
        stdout=log,
        stderr=log,
    )
    try:
        client = until(lambda: client_of(address))
        yield address, client
        client.close()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=600)
        log.close()
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_is_named(cli, engine, base_image, wheelhouse, small_engine):
    address, client = small_engine
    client.images.load(b"".join(engine.images.get(base_image).save(named=base_image)))
    cli.environment["DOCKER_HOST"] = address
    done = cli("build", "--base", base_image, "--wheelhouse", str(wheelhouse), "--tag", TAG)
    assert failed(done, 1).startswith(
        f"image {TAG} could not be built: the engine's disk is full: docker system df shows"
    )
    assert client.containers.list(all=True) == []


def test_a_base_that_cannot_get_a_compiler_is_told_so(engine, base_image, small_wheels):
    line = complaint(engine, base=base_image, wheelhouse=small_wheels, with_compiler=True)
    assert line.endswith("ERROR: name a --base that has g++, or apt-get")
