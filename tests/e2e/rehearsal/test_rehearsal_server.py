"""The server of a rehearsal as commands and processes see it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from cli_runner import POLITE, Cli, long_enough, wait_until
from rehearsed_aws import PATIENCE_SECONDS, Rehearsed

from sift_launcher.rehearsal.files import RehearsalFiles


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cli]:
    monkeypatch.setenv("SIFT_LAUNCHER_HOME", str(tmp_path / "state"))
    (tmp_path / "project").mkdir()
    cli = Cli(tmp_path / "project", tmp_path / "state", PATIENCE_SECONDS)
    yield cli
    cli("rehearsal", "stop")
    cli.end()


@pytest.fixture
def beside(rehearsed: Rehearsed, tmp_path: Path) -> Cli:
    """Commands that find the rehearsal which is there."""
    return Cli(tmp_path, rehearsed.state, PATIENCE_SECONDS)


def serve(cli: Cli, *options: str) -> tuple[subprocess.Popen[str], Rehearsed]:
    """A server in the foreground, once it has said where it answers."""
    process = cli.start("rehearsal", "serve", *options)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    found = RehearsalFiles().read()
    assert found is not None
    assert found[0].url == url
    return process, Rehearsed(found[0], cli.state)


def start_polite(rehearsed: Rehearsed, name: str, note: Path) -> Path:
    """A job that runs until it is stopped; returns where the system shows its process."""
    tell = f"import os; open({str(note)!r}, 'w').write(str(os.getpid()))\n"
    rehearsed.start(name, tell + POLITE)
    wait_until(rehearsed.has_printed(name, "ready"), PATIENCE_SECONDS)
    process = Path("/proc", note.read_text())
    assert process.exists()
    return process


def test_a_rehearsal_is_shown_and_is_the_only_one_of_its_state_folder(rehearsed, beside):
    assert rehearsed.endpoint.url in beside("rehearsal", "status").stdout
    second = beside("rehearsal", "serve")
    assert second.returncode == 1
    assert second.stderr.startswith("a rehearsal is being served already")


def test_where_nothing_is_served_nothing_is_shown(cli):
    for command in ("status", "env"):
        told = cli("rehearsal", command)
        assert told.returncode == 1
        assert told.stderr == "no rehearsal answers: sift-launch rehearsal serve starts one\n"
    assert cli("rehearsal", "stop").stderr == "there is no rehearsal to end\n"


def test_a_port_that_is_taken_is_named(rehearsed, cli):
    port = rehearsed.endpoint.url.rpartition(":")[2]
    told = cli("rehearsal", "serve", "--port", port)
    assert told.returncode == 1
    assert told.stderr.startswith(f"port {port} cannot be served")


def test_credentials_of_others_are_refused_everywhere(rehearsed):
    environment = rehearsed.endpoint.environment | {"AWS_ACCESS_KEY_ID": "ASIAOTHER"}
    stranger = Rehearsed(replace(rehearsed.endpoint, environment=environment), rehearsed.state)
    for ask in (
        lambda: stranger("sagemaker").list_training_jobs(),
        lambda: stranger("s3").list_buckets(),
        lambda: stranger("iam").list_roles(),
    ):
        with pytest.raises(stranger("s3").exceptions.ClientError) as caught:
            ask()
        assert caught.value.response["Error"]["Code"] == "UnrecognizedClientException"


def test_a_server_that_ends_takes_its_jobs_with_it(cli):
    server, rehearsed = serve(cli)
    job = start_polite(rehearsed, "left", cli.project / "pid")
    server.send_signal(signal.SIGTERM)
    assert server.wait(PATIENCE_SECONDS) == 0
    wait_until(lambda: not job.exists(), PATIENCE_SECONDS)
    assert list(RehearsalFiles().home.iterdir()) == []
    assert cli("rehearsal", "status").returncode == 1


def test_a_server_ends_when_it_has_been_idle_but_not_under_a_running_job(cli):
    go = cli.project / "go"
    waits = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(.01)"

    def outlasts(seconds: int) -> bool:
        server, rehearsed = serve(cli, "--idle", str(seconds))
        # It may have been idle for so long before there was the job.
        with suppress(BotoCoreError, ClientError):
            rehearsed.start("busy", waits)
        with suppress(subprocess.TimeoutExpired):
            server.wait(seconds + 1)
            return False
        go.touch()
        assert server.wait(PATIENCE_SECONDS) == 0
        return True

    long_enough(outlasts, 2)


REHEARSES = """
import os
from sift_launcher.rehearsal.start import rehearse
found = rehearse("process", ["50%"])
found.announce("job")
print(found.endpoint.url, os.environ["AWS_ENDPOINT_URL"], "AWS_PROFILE" in os.environ)
"""


def test_commands_that_find_a_killed_server_start_one_for_all_of_them(cli):
    server, rehearsed = serve(cli)
    job = start_polite(rehearsed, "orphan", cli.project / "pid")
    server.kill()
    server.wait()
    # What a user has set for AWS itself is in nobody's way.
    environment = cli.environment | {"AWS_PROFILE": "somebody", "AWS_ENDPOINT_URL_S3": "nowhere"}
    command = [sys.executable, "-c", REHEARSES]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    told = [process.communicate(timeout=PATIENCE_SECONDS)[0].split() for process in started]
    found = RehearsalFiles().read()
    assert found is not None
    again = Rehearsed(found[0], cli.state)
    url = again.endpoint.url
    assert told == [[url, url, "False"]] * 3
    # It outlives whoever started it, and knows nothing of the one before.
    wait_until(lambda: not job.exists(), PATIENCE_SECONDS)
    assert again("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []
    assert cli("rehearsal", "stop").stderr == "the rehearsal has ended\n"
