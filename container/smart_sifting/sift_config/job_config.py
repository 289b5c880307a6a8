"""The configuration of a whole job: what travels in the hyperparameter ``sift_config``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from smart_sifting.errors import SiftConfigValidationException
from smart_sifting.sift_config.sift_configs import (
    ACCEPTANCE_RULES,
    LossConfig,
    RelativeProbabilisticSiftConfig,
    beta,
)
from smart_sifting.sift_config.validation import choice, flag, integer, mapping, number, refuse

SOURCES = ("auto", "memory", "forward", "batch")
"""Where the scores may come from; "auto" is the best that can be verified, in this order."""

AUTO = "auto"
"""For `keep`: let the job choose its share as it learns, never less than `LEAST_AUTO`."""

LEAST_AUTO = 0.3

VISITS_AUTO = 4
"""Visits of each sample before `auto` does without any. Until then a model learns from every one,
however small its loss: going down after the first of four epochs on CIFAR-10 lost a point."""

_LOSS_PATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")


@dataclass(frozen=True)
class SiftConfig:
    """How a job is sifted. Checked when made; a wrong value raises
    ``SiftConfigValidationException`` with the field, the value and what to write.

    keep: share of the samples that is trained on, more than 0 and at most 1. ``parse`` and the
        command line take ``auto`` too.
    auto: begin with everything, and go down as far as the losses allow; ``keep`` is the least.
    loss_history_length: how many recent losses a new one is ranked among.
    sift_delay: training steps with all data before the first sample is dropped, beyond the steps
        that discovery needs.
    repeat_delay_per_epoch: wait for that many steps in every epoch.
    acceptance: ``quota`` or ``probabilistic``, see ``RelativeProbabilisticSiftConfig``.
    source: where scores come from: ``memory`` is the training steps' own losses, ``forward`` a
        pass over what the loader gives, ``batch`` the whole batch's loss alone, so that samples
        are chosen evenly; ``auto`` is the first of them that the script allows.
    class_floor: the least that a class keeps, as a part of an equal share of the kept samples, or
        all that it has; 0 to 1. At 0 nothing is kept for being rare.
    loss: ``module:Class`` of the user's own ``Loss``, or None to find the script's.
    seed: of the generator that draws.
    """

    keep: float = 0.5
    loss_history_length: int = 500
    sift_delay: int = 0
    repeat_delay_per_epoch: bool = False
    acceptance: str = "quota"
    source: str = "auto"
    auto: bool = False
    class_floor: float = 0.5
    loss: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        # A frozen dataclass writes its checked values past its own lock.
        checked = {
            "keep": _share("keep", self.keep),
            "loss_history_length": integer(
                "loss_history_length", self.loss_history_length, minimum=1, example=500
            ),
            "sift_delay": integer("sift_delay", self.sift_delay, minimum=0, example=100),
            "repeat_delay_per_epoch": flag("repeat_delay_per_epoch", self.repeat_delay_per_epoch),
            "acceptance": choice("acceptance", self.acceptance, ACCEPTANCE_RULES),
            "auto": flag("auto", self.auto),
            "source": choice("source", self.source, SOURCES),
            "class_floor": _floor("class_floor", self.class_floor),
            "loss": _loss_path("loss", self.loss),
            "seed": integer("seed", self.seed, minimum=0, example=0),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        self._check_source()

    def _check_source(self) -> None:
        if self.source in ("auto", "forward"):
            return
        if self.acceptance == "probabilistic":
            mend = 'acceptance "probabilistic" scores what comes: write "forward", or leave it out'
            raise refuse("source", self.source, mend)
        if self.loss is not None:
            mend = 'a loss of your own is used by "forward": write that, or leave it out'
            raise refuse("source", self.source, mend)

    @property
    def beta_value(self) -> float:
        """The same share in AWS's terms: 1 / keep - 1."""
        return 1.0 / self.keep - 1.0

    @classmethod
    def parse(
        cls, value: str | Mapping[str, Any] | SiftConfig | RelativeProbabilisticSiftConfig
    ) -> SiftConfig:
        """A configuration from JSON text, from a dict, or from a configuration object.

        The keys are the fields of this class. ``beta_value`` may stand instead of ``keep``, and
        AWS's nested ``loss_based_sift_config`` instead of ``sift_delay`` and
        ``repeat_delay_per_epoch``; a nested form that leaves them out gets AWS's defaults (1000
        steps), a flat one ours (0).

        >>> SiftConfig.parse('{"beta_value": 3}').keep
        0.25
        """
        if isinstance(value, SiftConfig):
            return value
        if isinstance(value, RelativeProbabilisticSiftConfig):
            return cls._from_mapping(value.to_dict())
        return cls._from_mapping(_from_json(value) if isinstance(value, str) else value)

    @classmethod
    def _from_mapping(cls, value: Mapping[str, Any]) -> SiftConfig:
        own_keys = [each.name for each in fields(cls)]
        values = mapping("sift_config", value, [*own_keys, "beta_value", "loss_based_sift_config"])
        if values.get("keep") == AUTO:
            values |= {"keep": LEAST_AUTO, "auto": True}
        if "beta_value" in values:
            given = values.pop("beta_value")
            if "keep" in values:
                raise refuse("beta_value", given, "keep is there too: write one of the two")
            values["keep"] = 1.0 / (1.0 + _job_beta(given))
        if "loss_based_sift_config" in values:
            nested = values.pop("loss_based_sift_config")
            base = (
                nested if isinstance(nested, LossConfig) else LossConfig.from_dict(nested)
            ).sift_config
            for key, inner in base.to_dict().items():
                if key in values:
                    mend = "loss_based_sift_config is there too: write one of the two"
                    raise refuse(key, values[key], mend)
                values[key] = inner
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

    def to_json(self) -> str:
        """Canonical JSON text: every field, keys sorted. ``parse`` reads it back unchanged."""
        return json.dumps(self.to_dict(), sort_keys=True)


def _share(name: str, value: object) -> float:
    mend = "write a number more than 0 and at most 1, such as 0.5 to keep half of the samples"
    checked = number(name, value, mend)
    if not 0 < checked <= 1:
        raise refuse(name, value, mend)
    return checked


def _floor(name: str, value: object) -> float:
    mend = "write a number from 0 to 1, such as 0.5"
    checked = number(name, value, mend)
    if not 0 <= checked <= 1:
        raise refuse(name, value, mend)
    return checked


def _job_beta(value: object) -> float:
    if not isinstance(value, bool) and value == 0:
        raise refuse(
            "beta_value", value, "write keep 1 to keep every sample, or a beta more than 0"
        )
    return beta("beta_value", value)


def _loss_path(name: str, value: object) -> str | None:
    if value is None:
        return None
    mend = 'write "module:Class", such as "my_losses:MyLoss" for class MyLoss in my_losses.py'
    if not isinstance(value, str) or not _LOSS_PATH.fullmatch(value):
        raise refuse(name, value, mend)
    if value.partition(":")[0].endswith(".py"):
        raise refuse(name, value, f'a module has no .py: write "{value.replace(".py:", ":")}"')
    return value


def _from_json(text: str) -> Any:
    mend = 'write JSON such as {"keep": 0.5}'
    if not text.strip():
        raise refuse("the text", text, mend)
    try:
        return json.loads(text, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as broken:
        at = f"line {broken.lineno} column {broken.colno}"
        raise refuse("the text", text, f"not JSON at {at} ({broken.msg}); {mend}") from broken
    except RecursionError:
        raise refuse("the text", text, f"nested too deep; {mend}") from None
    except SiftConfigValidationException:
        raise
    except ValueError:  # Python's own limit on the digits of an integer
        raise refuse("the text", text, f"a number in it is too long; {mend}") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        if key in values:
            raise refuse(key, value, "the key is there twice: write it once")
        values[key] = value
    return values
