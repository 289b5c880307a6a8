"""sift.toml: where it is found, what it may hold, and what wins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from sift_launcher.cli.cmd_init import settings_text
from sift_launcher.cli.cmd_train import command
from sift_launcher.cli.settings_file import (
    Settings,
    apply_settings,
    find_settings,
    read_settings,
)
from sift_launcher.cli.to_spec import parse_pairs
from sift_launcher.cli.train_options import SECTIONS
from sift_launcher.errors import SettingsFileError
from sift_launcher.job_spec import Channel

OPTIONS = [option for section in SECTIONS.values() for option in section]


@pytest.fixture
def toml(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of settings into a folder of its own."""

    def write(text: str, name: str = "sift.toml") -> Path:
        path = tmp_path / "p" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def values(path: Path | None, *typed: str, profile: str | None = None) -> dict[str, Any]:
    """All options for a command line beside that file."""
    settings = read_settings(path, OPTIONS, profile) if path else Settings()
    context = command.make_context("sift-launch", ["train.py", *typed])

    def is_typed(name: str) -> bool:
        return context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE

    own = {name: each for name, each in context.params.items() if name not in ("script", "surplus")}
    return apply_settings(settings, parse_pairs(own), is_typed)


def changed(path: Path, *typed: str, profile: str | None = None) -> dict[str, Any]:
    """The options that the file changes."""
    without = values(None, *typed)
    return {k: v for k, v in values(path, *typed, profile=profile).items() if v != without[k]}


def test_the_nearest_file_is_found_up_to_the_top_of_the_project(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    inner = tmp_path / "home" / "work" / "repo" / "src" / "net"
    inner.mkdir(parents=True)
    repo = inner.parents[1]
    assert find_settings(inner) is None
    (tmp_path / "sift.toml").touch()  # above home: not this user's
    assert find_settings(inner) is None
    (tmp_path / "home" / "sift.toml").touch()
    assert find_settings(inner) == tmp_path / "home" / "sift.toml"
    (repo / ".git").mkdir()
    assert find_settings(inner) is None
    (repo / "pyproject.toml").write_text("[project]\nname = 'sift-nothing'\n")
    assert find_settings(inner) is None
    (repo / "pyproject.toml").write_text("[tool.sift]\nkeep = 0.5\n")
    assert find_settings(inner) == repo / "pyproject.toml"
    (repo / "sift.toml").touch()
    assert find_settings(inner) == repo / "sift.toml"
    (inner.parent / "sift.toml").touch()
    assert find_settings(inner) == inner.parent / "sift.toml"


def test_every_kind_of_value_reaches_its_option(toml, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("DATA", "/mnt/data")
    path = toml(
        """
instance = "ml.g5.xlarge"
count = 2
keep = 1
max-run = 3600
spot = true
wait = false
subnet = ["subnet-1", "subnet-2"]
security-group = "sg-1"
source-dir = "src"
output = "s3://mine/$USERNAME_OF_NOBODY"
sift-config = "sift.json"

[data]
train = "data/train"
test = "$DATA/test"
home = "~/x"
far = {place = "s3://bkt/far", shard = true, input-mode = "FastFile"}

[hyperparameters]
epochs = 3
lr = 0.1
amp = true
net = "5"

[env]
OMP_NUM_THREADS = "2"

[tags]
team = "vision"

[metrics]
loss = 'loss: ([0-9.]+)'
""".replace("$USERNAME_OF_NOBODY", "${DATA}s")
    )
    folder = path.parent
    assert changed(path) == {
        "instance": "ml.g5.xlarge",
        "count": 2,
        "keep": 1.0,
        "max_run": 3600,
        "spot": True,
        "wait": False,
        "subnet": ("subnet-1", "subnet-2"),
        "security_group": ("sg-1",),
        "source_dir": f"{folder}/src",
        "output": "s3://mine//mnt/datas",
        "sift_config": f"{folder}/sift.json",
        "data": {
            "train": Channel(f"{folder}/data/train"),
            "test": Channel("/mnt/data/test"),
            "home": Channel("/home/ada/x"),
            "far": Channel("s3://bkt/far", True, "FastFile"),
        },
        "hyperparameter": {"epochs": 3, "lr": 0.1, "amp": True, "net": "5"},
        "env": {"OMP_NUM_THREADS": "2"},
        "tag": {"team": "vision"},
        "metric": {"loss": "loss: ([0-9.]+)"},
    }


def test_what_is_typed_wins_over_a_profile_and_that_over_the_rest(toml):
    path = toml("""
instance = "process"
max-run = 1
keep = 0.1
[hyperparameters]
a = 1
b = 1
c = 1
[data]
train = {place = "s3://bkt/all", shard = true}
[profiles.big]
instance = "ml.p4d.24xlarge"
max-run = 2
[profiles.big.hyperparameters]
b = 2
c = 2
""")
    typed = ["--max-run", "3", "-p", "c=3", "--data", "train=s3://bkt/few"]
    assert changed(path, *typed) == {
        "keep": 0.1,
        "hyperparameter": {"a": 1, "b": 1, "c": 3},
        "data": {"train": Channel("s3://bkt/few", True)},
    }
    assert changed(path, *typed, profile="big") == {
        "instance": "ml.p4d.24xlarge",
        "keep": 0.1,
        "hyperparameter": {"a": 1, "b": 2, "c": 3},
        "data": {"train": Channel("s3://bkt/few", True)},
    }
    assert values(path, *typed, profile="big")["max_run"] == 3


@pytest.mark.parametrize(
    ("text", "typed", "kept"),
    [
        ("keep = 0.1", ["--beta", "1"], {}),
        ("keep = 0.1", ["--no-sift"], {}),
        ("no-sift = true", ["--keep", "0.5"], {}),
        ("no-sift = true\nbeta = 1.0", ["--loss", "a:B"], {"beta": 1.0}),
        ("spot = true", ["--no-spot"], {}),
        ("spot = true", [], {}),
        ("sift-delay = 5", ["--keep", "0.5"], {"sift_delay": 5}),
    ],
)
def test_what_is_typed_takes_back_what_the_file_says_of_the_same_matter(
    toml, text: str, typed: list[str], kept: dict[str, Any]
):
    assert changed(toml(text), *typed) == kept


EVERYWHERE = """
image = "me/torch"
count = 2
memory = "8g"
python = "python3"
role = "SageMakerRole"
region = "us-east-1"
spot = true
max-wait = 90000
retries = 2
output = "s3://mine/models"
keep = 0.25
"""


@pytest.mark.parametrize(
    ("instance", "names"),
    [
        ("process", {"python", "region", "keep"}),
        ("local", {"image", "count", "memory", "region", "keep"}),
        (
            "ml.g5.xlarge",
            {"image", "count", "role", "region", "spot", "max_wait", "retries", "output", "keep"},
        ),
    ],
)
def test_what_means_nothing_where_the_job_runs_is_passed_over(toml, instance: str, names: set[str]):
    assert set(changed(toml(EVERYWHERE), "--instance", instance)) == names


def test_an_output_folder_is_passed_over_in_sagemaker(toml):
    path = toml('output = "out"\ncheckpoint = "ck"')
    assert set(changed(path)) == {"output", "checkpoint"}
    assert changed(path, "--instance", "ml.g5.xlarge") == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kep = 0.5", "kep is no option (did you mean keep?)"),
        ("tag = 'a'", "tag is no option (did you mean tags?)"),
        ("hyperparameter = {}", "hyperparameter is no table of options (did you mean hyper"),
        ("max_run = 5", "max_run is no option (did you mean max-run?)"),
        ("xyzzy = 1", "xyzzy is no option (sift-launch --help lists them)"),
        ("[profile.a]\nkeep = 1", "profile is no table of options (did you mean profiles?)"),
        ("name = 'x'", "name is for the command line alone: a second job cannot have the name of"),
        ("yes = true", "yes is for the command line alone: nobody is asked then"),
        ("json = true", "json is for the command line alone: it is about one call"),
        ("keep = '0.5'", "keep is '0.5': write a number"),
        ("keep = true", "keep is true: write a number"),
        ("count = 1.5", "count is 1.5: write a whole number"),
        ("count = true", "count is true: write a whole number"),
        ("spot = 1", "spot is 1: write true or false"),
        ("image = 5", 'image is 5: write text, as "..."'),
        ("subnet = [1]", 'subnet is [1]: write a list of texts, as ["a", "b"]'),
        ("data = 'x'", "data is 'x': write a table: [data], and its keys below"),
        ("[data]\nt = 5", 'data.t is 5: write a place, or {place = "...", shard = true}'),
        ("[data]\nt = ''", "data.t names no place: write a path or s3://BUCKET/PREFIX"),
        ("[data]\nt = {shard = true}", "data.t says not where the data is: add place"),
        ("[data]\nt = {plac = 'x'}", "data.t.plac is no part of a channel (did you mean place?)"),
        ("[data]\nt = {place = 'x', shard = 1}", "data.t.shard is 1: write true or false"),
        ("[data]\nt = '$NOWHERE/x'", "data.t speaks of $NOWHERE, which the environment does not"),
        ("[hyperparameters]\na = [1]", "hyperparameters.a is [1]: write text, a number, true or"),
        ("[env]\nA = 2", 'env.A is 2: write text, as "..."'),
        ("[profiles.big]\nkep = 1", "profiles.big.kep is no option (did you mean keep?)"),
        ("[profiles.big.env]\nA = 1", 'profiles.big.env.A is 1: write text, as "..."'),
    ],
)
def test_what_no_option_takes_is_refused_with_file_and_key(toml, text: str, told: str):
    path = toml(text)
    with pytest.raises(SettingsFileError) as caught:
        read_settings(path, OPTIONS)
    assert str(caught.value).startswith(f"{path}: {told}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("keep 0.5", "is not TOML: "),
        ("profiles = 5", "profiles holds what is no profile: write [profiles.NAME] and its keys"),
        ("[profiles]\nkeep = 5", "profiles holds what is no profile: write [profiles.NAME]"),
    ],
)
def test_a_file_that_is_none_is_named(toml, text: str, told: str):
    path = toml(text)
    with pytest.raises(SettingsFileError) as caught:
        read_settings(path, OPTIONS)
    assert str(caught.value).replace(": profiles", " profiles").startswith(f"{path} {told}")


def test_a_file_that_is_no_text_is_named(toml):
    path = toml("")
    path.write_bytes(b"keep = \xff")
    with pytest.raises(SettingsFileError, match=r"sift\.toml is not TOML: "):
        read_settings(path, OPTIONS)


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        ("bigg", "has no [profiles.bigg]: did you mean --with big?"),
        ("cloud", "has no [profiles.cloud]: there are big, small"),
    ],
)
def test_a_profile_that_is_not_there_is_answered_with_those_that_are(toml, profile, told):
    path = toml("[profiles.big]\n[profiles.small]\n")
    with pytest.raises(SettingsFileError) as caught:
        read_settings(path, OPTIONS, profile)
    assert str(caught.value) == f"{path} {told}"
    bare = toml("keep = 1")
    with pytest.raises(SettingsFileError) as caught:
        read_settings(bare, OPTIONS, profile)
    assert str(caught.value) == (
        f"{bare} has no profiles: write [profiles.{profile}] and its keys below"
    )


def test_of_pyproject_the_table_of_ours_is_read(toml):
    path = toml("[project]\nname = 'x'\n[tool.sift]\nkeep = 0.1\n", "pyproject.toml")
    assert changed(path) == {"keep": 0.1}
    path = toml("[tool.sift]\nkep = 0.1\n", "pyproject.toml")
    with pytest.raises(SettingsFileError) as caught:
        read_settings(path, OPTIONS)
    assert str(caught.value).startswith(f"{path} [tool.sift]: kep is no option")


# The command


def test_the_command_takes_defaults_from_the_scripts_folder_wherever_it_is_called(
    call, project: Path, tmp_path: Path, monkeypatch
):
    (project / "sift.toml").write_text('keep = 0.25\n[data]\ntrain = "data"\n')
    (project / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    ended = call("project/train.py", "--dry-run")
    assert ended.err == ""
    assert f"data      train: {project}/data" in ended.out.splitlines()
    assert '\\"keep\\": 0.25' in ended.out.replace("\\\\", "")


def test_a_script_named_from_within_its_source_folder_finds_the_file_there(call, project: Path):
    (project / "src").mkdir()
    (project / "src" / "go.py").touch()
    (project / "src" / "sift.toml").write_text("max-run = 77\n")
    ended = call("go.py", "--source-dir", "src", "--dry-run")
    assert '"MaxRuntimeInSeconds": 77' in ended.out


def test_a_profile_without_a_file_is_refused(call):
    ended = call("train.py", "--with", "cloud")
    assert (ended.code, ended.err) == (
        2,
        "--with cloud: there is no sift.toml for train.py; sift-launch init writes one\n",
    )


# init


def test_init_writes_a_file_that_sets_nothing_yet_and_is_never_written_over(
    call, project: Path, monkeypatch
):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    ended = call("init")
    path = project / "sift.toml"
    assert (ended.code, ended.err) == (0, f"wrote {path}\n")
    assert read_settings(path, OPTIONS) == Settings(path, {})
    path.write_text("keep = 0.5")
    ended = call("init")
    assert (ended.code, ended.err) == (2, f"{path} is there already: it is left as it is\n")
    assert path.read_text() == "keep = 0.5"


def test_what_init_writes_is_read_when_the_comments_are_taken_away(toml):
    lines = [
        line.removeprefix("#") if line.startswith("#") and not line.startswith("# ") else line
        for line in settings_text({}).splitlines()
    ]
    settings = read_settings(toml("\n".join(lines)), OPTIONS, "cloud")
    never = {"name", "yes", "dry-run", "json", "with", "version"}
    names = {max(option.opts, key=len).removeprefix("--") for option in OPTIONS}
    assert set(settings.values) == names - never


def test_init_fills_in_what_the_environment_and_the_profile_know(tmp_path: Path, toml):
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-west-1\n[profile mine]\nregion = eu-north-1\n")
    found = {"AWS_CONFIG_FILE": str(config)}

    def known(**environment: str) -> dict[str, Any]:
        return dict(read_settings(toml(settings_text(environment)), OPTIONS).values)

    assert known(**found) == {"region": "eu-west-1"}
    assert known(**found, AWS_PROFILE="mine") == {"region": "eu-north-1", "profile": "mine"}
    assert known(**found, AWS_REGION="us-west-2") == {"region": "us-west-2"}
    assert known(AWS_CONFIG_FILE="/nowhere") == {}
