"""Pushing to a real registry, which knows its users as ECR does: by a token."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import urllib.request
from base64 import b64encode

import pytest
from cli_runner import wait_until

from sift_launcher.errors import PushFailed
from sift_launcher.image.push import Login, push

pytestmark = pytest.mark.docker

PATIENCE_SECONDS = 600.0

# What `htpasswd -B` makes of the user AWS and the password "token".
_USERS = "AWS:$2b$04$ECXWpwIbsQ5v1SbUuNfouenex1/CawVGWLjJjtSTRv.NTvEAvdRSS\n"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """The address of Debian's registry, run here with a folder of its own."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("there is no docker-registry: apt-get install docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    (folder / "users").write_text(_USERS)
    settings = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": "127.0.0.1:0"},
        "auth": {"htpasswd": {"realm": "here", "path": str(folder / "users")}},
    }
    (folder / "settings.yml").write_text(json.dumps(settings))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [program, "serve", str(folder / "settings.yml")], stdout=log, stderr=log
        )
    try:
        # It chooses a free port, and says in its log which.
        listens = re.compile(r"listening on (127\.0\.0\.1:\d+)")
        found = wait_until(lambda: listens.search((folder / "log").read_text()), PATIENCE_SECONDS)
        yield found[1]
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)


def ask(host, path):
    token = b64encode(b"AWS:token").decode()
    request = urllib.request.Request(
        f"http://{host}/v2/{path}", headers={"Authorization": f"Basic {token}"}
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            return json.load(answer)
    except OSError:
        return None


@pytest.fixture
def tagged(engine, base_image, registry, until):
    until(lambda: ask(registry, "") is not None)
    name = f"{registry}/team/sift:cpu"
    engine.images.get(base_image).tag(name)
    yield name
    engine.images.remove(name)


def test_an_image_is_pushed_with_a_token_that_is_written_nowhere(
    engine, registry, tagged, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / ".docker"))
    told = []
    digest = push(engine, tagged, Login("AWS", "token"), told.append)
    assert digest.startswith("sha256:")
    assert ask(registry, "team/sift/tags/list") == {"name": "team/sift", "tags": ["cpu"]}
    assert any("Pushed" in line for line in told)
    assert list(tmp_path.rglob("*")) == []


def test_a_registry_that_refuses_is_quoted(engine, tagged):
    with pytest.raises(PushFailed, match=r"failed: .*(denied|unauthorized|no basic auth)"):
        push(engine, tagged, Login("AWS", "another"), lambda line: None)


def test_a_registry_that_is_not_there_is_named(engine, base_image):
    name = "127.0.0.1:9/team/sift:cpu"
    engine.images.get(base_image).tag(name)
    try:
        with pytest.raises(PushFailed, match=r"pushing 127\.0\.0\.1:9/team/sift:cpu failed: "):
            push(engine, name, Login("AWS", "token"), lambda line: None)
    finally:
        engine.images.remove(name)


def test_a_push_without_credentials_is_told_before_the_build(cli, engine, tmp_path):
    for name in [each for each in os.environ if each.startswith("AWS_")]:
        cli.environment.pop(name, None)
    cli.environment |= {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    target = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/sift:cpu"
    done = cli("build", "--push", "--tag", target)
    assert done.returncode == 1
    assert done.stderr == (
        "there are no AWS credentials: aws configure stores some, or set AWS_PROFILE\n"
    )
