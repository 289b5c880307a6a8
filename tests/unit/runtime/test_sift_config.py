"""The configuration: what it accepts, its defaults, and the one line for each wrong value."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import smart_sifting
from smart_sifting.errors import SiftConfigValidationException
from smart_sifting.sift_config import SiftConfig
from smart_sifting.sift_config.sift_configs import (
    LossConfig,
    RelativeProbabilisticSiftConfig,
    SiftingBaseConfig,
)

ROOT = Path(__file__).parents[3]


def test_defaults_are_those_of_the_aws_library() -> None:
    config = RelativeProbabilisticSiftConfig(beta_value=1)
    assert config.to_dict() == {
        "beta_value": 1.0,
        "loss_history_length": 500,
        "loss_based_sift_config": {
            "sift_config": {"sift_delay": 1000, "repeat_delay_per_epoch": False}
        },
        "acceptance": "quota",
        "seed": 0,
    }


def test_dicts_stand_for_the_nested_objects() -> None:
    objects = RelativeProbabilisticSiftConfig(
        beta_value=3,
        loss_history_length=50,
        loss_based_sift_config=LossConfig(
            sift_config=SiftingBaseConfig(sift_delay=10, repeat_delay_per_epoch=True)
        ),
    )
    dicts = RelativeProbabilisticSiftConfig(
        beta_value=3,
        loss_history_length=50,
        loss_based_sift_config={"sift_config": {"sift_delay": 10, "repeat_delay_per_epoch": True}},
    )
    half = RelativeProbabilisticSiftConfig(
        beta_value=3,
        loss_history_length=50,
        loss_based_sift_config=LossConfig(
            sift_config={"sift_delay": 10, "repeat_delay_per_epoch": True}
        ),
    )
    assert objects == dicts == half
    assert RelativeProbabilisticSiftConfig.from_dict(objects.to_dict()) == objects
    assert repr(objects) == (
        "RelativeProbabilisticSiftConfig(beta_value=3.0, loss_history_length=50, "
        "loss_based_sift_config=LossConfig(sift_config=SiftingBaseConfig(sift_delay=10, "
        "repeat_delay_per_epoch=True)), acceptance='quota', seed=0)"
    )


@pytest.mark.parametrize(("beta", "keep"), [(0.25, 0.8), (1, 0.5), (3, 0.25), (10, 1 / 11)])
def test_beta_says_what_share_is_kept(beta: float, keep: float) -> None:
    assert RelativeProbabilisticSiftConfig(beta_value=beta).keep == pytest.approx(keep)
    assert SiftConfig(keep=keep).beta_value == pytest.approx(beta)


def test_job_defaults() -> None:
    assert SiftConfig().to_dict() == {
        "keep": 0.5,
        "loss_history_length": 500,
        "sift_delay": 0,
        "repeat_delay_per_epoch": False,
        "acceptance": "quota",
        "source": "auto",
        "class_floor": 0.5,
        "auto": False,
        "loss": None,
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{}", SiftConfig()),
        ('{"keep": 1}', SiftConfig(keep=1.0)),
        ({"beta_value": 3}, SiftConfig(keep=0.25)),
        ({"keep": "auto"}, SiftConfig(keep=0.3, auto=True)),
        ({"beta_value": 1, "loss_history_length": 20}, SiftConfig(loss_history_length=20)),
        (
            '{"beta_value": 1, "loss_history_length": 500, "loss_based_sift_config": '
            '{"sift_config": {"sift_delay": 10, "repeat_delay_per_epoch": true}}}',
            SiftConfig(sift_delay=10, repeat_delay_per_epoch=True),
        ),
        ({"beta_value": 1, "loss_based_sift_config": {}}, SiftConfig(sift_delay=1000)),
        ({"loss_based_sift_config": LossConfig()}, SiftConfig(sift_delay=1000)),
        (
            RelativeProbabilisticSiftConfig(
                beta_value=3,
                loss_based_sift_config={"sift_config": {"sift_delay": 7}},
                acceptance="probabilistic",
                seed=5,
            ),
            SiftConfig(keep=0.25, sift_delay=7, acceptance="probabilistic", seed=5),
        ),
        ({"loss": "my.losses:Outer.Inner"}, SiftConfig(loss="my.losses:Outer.Inner")),
        (SiftConfig(keep=0.7), SiftConfig(keep=0.7)),
    ],
)
def test_parse_reads_every_form(given: object, expected: SiftConfig) -> None:
    assert SiftConfig.parse(given) == expected


def test_json_is_canonical_and_reads_back_unchanged() -> None:
    config = SiftConfig(keep=1 / 3, loss="a:B", acceptance="probabilistic", seed=2**63 - 1)
    assert SiftConfig.parse(config.to_json()) == config
    assert SiftConfig(keep=1).to_json() == (
        '{"acceptance": "quota", "auto": false, "class_floor": 0.5, "keep": 1.0, "loss": null, '
        '"loss_history_length": 500, "repeat_delay_per_epoch": false, "seed": 0, '
        '"sift_delay": 0, "source": "auto"}'
    )


HALF = "such as 0.5 to keep half of the samples"
KEEP = f"write a number more than 0 and at most 1, {HALF}"
BETA = "write a number more than 0, such as 1 to keep half of the samples"
EXAMPLE = 'write JSON such as {"keep": 0.5}'
KEYS = (
    "keep, loss_history_length, sift_delay, repeat_delay_per_epoch, acceptance, source, auto, "
    "class_floor, loss, seed, beta_value, loss_based_sift_config"
)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": 0}, f"sift_config: keep is 0; {KEEP}"),
        ({"keep": 1.5}, f"sift_config: keep is 1.5; {KEEP}"),
        ({"keep": True}, f"sift_config: keep is True; {KEEP}"),
        ({"keep": None}, f"sift_config: keep is None; {KEEP}"),
        ('{"keep": NaN}', f"sift_config: keep is nan; {KEEP}"),
        ({"keep": 10**400}, f"sift_config: keep is 1{'0' * 76}...; {KEEP}"),
        ({"keep": "0.5"}, "sift_config: keep is '0.5'; write it without quotes, 0.5"),
        ({"keep": "half"}, f"sift_config: keep is 'half'; {KEEP}"),
        ({"beta_value": -1}, f"sift_config: beta_value is -1; {BETA}"),
        ({"beta_value": float("inf")}, f"sift_config: beta_value is inf; {BETA}"),
        (
            {"beta_value": 0},
            "sift_config: beta_value is 0; write keep 1 to keep every sample, "
            "or a beta more than 0",
        ),
        (
            {"keep": 0.5, "beta_value": 1},
            "sift_config: beta_value is 1; keep is there too: write one of the two",
        ),
        (
            {"sift_delay": 5, "loss_based_sift_config": {}},
            "sift_config: sift_delay is 5; loss_based_sift_config is there too: "
            "write one of the two",
        ),
        (
            {"source": "magic"},
            'sift_config: source is \'magic\'; write "auto" or "memory" or "forward" or "batch"',
        ),
        (
            {"source": "memory", "acceptance": "probabilistic"},
            "sift_config: source is 'memory'; "
            'acceptance "probabilistic" scores what comes: write "forward", or leave it out',
        ),
        (
            {"source": "batch", "loss": "a:B"},
            "sift_config: source is 'batch'; "
            'a loss of your own is used by "forward": write that, or leave it out',
        ),
        (
            {"sift_delay": -1},
            "sift_config: sift_delay is -1; write a whole number, 0 or more, such as 100",
        ),
        (
            {"loss_history_length": 0},
            "sift_config: loss_history_length is 0; write a whole number, 1 or more, such as 500",
        ),
        (
            {"loss_history_length": 5.0},
            "sift_config: loss_history_length is 5.0; write a whole number, 1 or more, such as 500",
        ),
        (
            {"loss_history_length": "500"},
            "sift_config: loss_history_length is '500'; write it without quotes, 500",
        ),
        (
            {"class_floor": 1.5},
            "sift_config: class_floor is 1.5; write a number from 0 to 1, such as 0.5",
        ),
        (
            {"class_floor": -0.1},
            "sift_config: class_floor is -0.1; write a number from 0 to 1, such as 0.5",
        ),
        ({"seed": False}, "sift_config: seed is False; write a whole number, 0 or more, such as 0"),
        (
            {"repeat_delay_per_epoch": 1},
            "sift_config: repeat_delay_per_epoch is 1; write true or false, without quotes",
        ),
        (
            {"acceptance": "random"},
            'sift_config: acceptance is \'random\'; write "quota" or "probabilistic"',
        ),
        (
            {"acceptance": ["quota"]},
            'sift_config: acceptance is [\'quota\']; write "quota" or "probabilistic"',
        ),
        (
            {"loss": "MyLoss"},
            "sift_config: loss is 'MyLoss'; write \"module:Class\", such as "
            '"my_losses:MyLoss" for class MyLoss in my_losses.py',
        ),
        (
            {"loss": "losses.py:MyLoss"},
            "sift_config: loss is 'losses.py:MyLoss'; a module has no .py: write \"losses:MyLoss\"",
        ),
        ({"kepe": 0.5}, "sift_config has an unknown key 'kepe'; write keep"),
        ({"x": 1}, f"sift_config has an unknown key 'x'; known keys: {KEYS}"),
        ({3: 1}, f"sift_config has an unknown key 3; known keys: {KEYS}"),
        (
            {"loss_based_sift_config": {"sift_config": {"sift_dely": 1}}},
            "sift_config: loss_based_sift_config.sift_config has an unknown key 'sift_dely'; "
            "write sift_delay",
        ),
        (
            {"loss_based_sift_config": 5},
            "sift_config: loss_based_sift_config is 5; write an object with the keys sift_config",
        ),
        ("[1]", f"sift_config: the value is [1]; write an object with the keys {KEYS}"),
        ("", f"sift_config: the text is ''; {EXAMPLE}"),
        (
            "{keep: 0.5}",
            "sift_config: the text is '{keep: 0.5}'; not JSON at line 1 column 2 "
            f"(Expecting property name enclosed in double quotes); {EXAMPLE}",
        ),
        (
            '{"keep": 0.5, "keep": 1}',
            "sift_config: keep is 1; the key is there twice: write it once",
        ),
        (
            "9" * 5000,
            f"sift_config: the text is '{'9' * 76}...; a number in it is too long; {EXAMPLE}",
        ),
        (
            "[" * 100_000,
            f"sift_config: the text is '{'[' * 76}...; nested too deep; {EXAMPLE}",
        ),
    ],
    ids=lambda value: str(value)[:40],
)
def test_each_wrong_value_has_one_line_with_its_mend(given: object, message: str) -> None:
    with pytest.raises(SiftConfigValidationException) as caught:
        SiftConfig.parse(given)
    assert str(caught.value) == message
    assert "\n" not in message


@pytest.mark.parametrize("beta", [0, -1, True, float("nan"), float("inf"), "1", None])
def test_the_aws_class_refuses_a_beta_that_keeps_nothing_known(beta: object) -> None:
    with pytest.raises(SiftConfigValidationException, match="beta_value is"):
        RelativeProbabilisticSiftConfig(beta_value=beta)


def test_the_exception_is_a_value_error_under_the_names_of_the_aws_library() -> None:
    from smart_sifting.sift_config import sift_configs

    assert sift_configs.SiftConfigValidationException is SiftConfigValidationException
    assert issubclass(SiftConfigValidationException, ValueError)


def test_parse_checks_an_object_that_was_changed_after_it_was_made() -> None:
    config = RelativeProbabilisticSiftConfig()
    config.beta_value = -2
    with pytest.raises(SiftConfigValidationException, match="beta_value is -2"):
        SiftConfig.parse(config)


def test_the_configuration_imports_the_standard_library_alone() -> None:
    code = (
        "import sys, json; import smart_sifting.sift_config, smart_sifting.receipt, "
        "smart_sifting.picture; "
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules} "
        "- sys.stdlib_module_names)))"
    )
    out = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(ROOT / "container")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert json.loads(out) == ["__main__", "smart_sifting"]


def test_the_package_and_the_distribution_have_one_version() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    assert f'version = "{smart_sifting.__version__}"' in lines
