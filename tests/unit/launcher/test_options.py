from __future__ import annotations

import json
from pathlib import Path

import pytest

from sift_launcher.cli.options import (
    channels,
    environment,
    hyperparameters,
    machine_share,
    sharded,
    sift_config,
)
from sift_launcher.errors import OptionError
from sift_launcher.job_spec import Channel
from sift_launcher.local.machine import MachineShare
from smart_sifting.sift_config.job_config import SiftConfig


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("3", 3),
        ("-1", -1),
        ("0.1", 0.1),
        ("1e-3", 0.001),
        ("true", True),
        ("null", None),
        ("True", "True"),
        ("adam", "adam"),
        ("007", "007"),
        ('"5"', "5"),
        ("", ""),
        ("a=b", "a=b"),
        ("[1, 2]", "[1, 2]"),
        ('{"a": 1}', '{"a": 1}'),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        (" x ", " x "),
    ],
)
def test_a_json_scalar_keeps_its_type_and_all_else_is_text(typed: str, value: object):
    (read,) = hyperparameters([f"key={typed}"]).values()
    assert read == value
    assert type(read) is type(value)


def test_pairs_keep_their_order_and_all_but_the_first_equals_sign():
    assert list(hyperparameters(["b=1", "a=2"])) == ["b", "a"]
    assert environment(["A=1", "B=x=y"]) == {"A": "1", "B": "x=y"}


def test_a_channels_path_may_begin_at_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/ada")
    assert channels(["train=~/data", "test=s3://b/t=1"]) == {
        "train": Channel("/home/ada/data"),
        "test": Channel("s3://b/t=1"),
    }


def test_channels_are_sharded_by_name():
    given = {"train": Channel("a"), "test": Channel("b", sharded=True)}
    assert sharded(given, ["train"]) == {
        "train": Channel("a", sharded=True),
        "test": Channel("b", sharded=True),
    }
    with pytest.raises(OptionError) as caught:
        sharded(given, ["trian"])
    assert str(caught.value) == (
        "--shard trian names no channel (did you mean train?): add --data trian=PLACE, or leave "
        "it out"
    )


def config(text: str | None = None, **given: object) -> SiftConfig | None:
    options = {"keep": None, "beta": None, "sift_delay": None, "loss": None, "no_sift": False}
    return sift_config(text=text, **options | given)


def test_without_options_half_is_kept_and_with_no_sift_nothing_is_sifted():
    assert config() == SiftConfig(keep=0.5)
    assert config(no_sift=True) is None


def test_beta_is_keep_in_other_terms():
    assert config(beta=3.0) == SiftConfig(keep=0.25)


def test_the_options_override_the_configuration(tmp_path: Path):
    text = '{"keep": 0.2, "seed": 7, "loss": "a:B"}'
    (tmp_path / "sift.json").write_text(text)
    for given in (text, str(tmp_path / "sift.json")):
        assert config(given) == SiftConfig(keep=0.2, seed=7, loss="a:B")
        assert config(given, keep=0.9) == SiftConfig(keep=0.9, seed=7, loss="a:B")
        assert config(given, sift_delay=5, loss="c:D") == SiftConfig(
            keep=0.2, seed=7, sift_delay=5, loss="c:D"
        )


def test_awss_nested_form_is_read():
    nested = {
        "beta_value": 1,
        "loss_history_length": 300,
        "loss_based_sift_config": {"sift_config": {"sift_delay": 10}},
    }
    assert config(json.dumps(nested)) == SiftConfig(
        keep=0.5, loss_history_length=300, sift_delay=10
    )


@pytest.mark.parametrize(
    ("typed", "size"),
    [
        ("64", 64),
        ("64b", 64),
        ("1k", 1024),
        ("512m", 512 * 1024**2),
        ("64MB", 64 * 1024**2),
        ("2g", 2 * 1024**3),
        ("1.5G", 3 * 512 * 1024**2),
        ("1t", 1024**4),
    ],
)
def test_sizes_are_read_in_dockers_own_notation(typed: str, size: int):
    share = machine_share(typed, None, None, None)
    assert share == MachineShare(shm_bytes=size)
    assert machine_share(None, typed, None, None) == MachineShare(memory_bytes=size)


def test_processors_and_platform_are_taken_as_they_are():
    assert machine_share(None, None, 1.5, "linux/arm64/v8") == MachineShare(
        cpus=1.5, platform="linux/arm64/v8"
    )
