"""The configuration classes of the withdrawn AWS library, under their own names.

    RelativeProbabilisticSiftConfig(
        beta_value=1,
        loss_history_length=500,
        loss_based_sift_config=LossConfig(sift_config=SiftingBaseConfig(sift_delay=10)),
    )

Every nested object may be written as a dict of its fields. The values are checked when an object
is made; a wrong one raises ``SiftConfigValidationException``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from smart_sifting.errors import SiftConfigValidationException
from smart_sifting.sift_config.validation import choice, flag, integer, mapping, number, refuse

__all__ = [
    "ACCEPTANCE_RULES",
    "LossConfig",
    "RelativeProbabilisticSiftConfig",
    "SiftConfigValidationException",
    "SiftingBaseConfig",
]

ACCEPTANCE_RULES = ("quota", "probabilistic")
"""``quota``: a fixed number of every window; ``probabilistic``: each sample by its own chance."""


@dataclass
class SiftingBaseConfig:
    """When sifting begins.

    sift_delay: training steps with all data before the first sample is dropped (0 or more).
    repeat_delay_per_epoch: wait for that many steps in every epoch, not in the first alone.
    """

    sift_delay: int = 1000
    repeat_delay_per_epoch: bool = False

    def __post_init__(self) -> None:
        self.sift_delay = integer("sift_delay", self.sift_delay, minimum=0, example=1000)
        self.repeat_delay_per_epoch = flag("repeat_delay_per_epoch", self.repeat_delay_per_epoch)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SiftingBaseConfig:
        """The object that ``to_dict`` wrote; missing keys take their defaults."""
        return cls(**mapping("loss_based_sift_config.sift_config", values, _keys(cls)))

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "sift_delay": self.sift_delay,
            "repeat_delay_per_epoch": self.repeat_delay_per_epoch,
        }


@dataclass
class LossConfig:
    """What is asked of sifting by loss: a ``SiftingBaseConfig`` or a dict of its fields."""

    sift_config: SiftingBaseConfig = field(default_factory=SiftingBaseConfig)

    def __post_init__(self) -> None:
        if not isinstance(self.sift_config, SiftingBaseConfig):
            self.sift_config = SiftingBaseConfig.from_dict(self.sift_config)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> LossConfig:
        """The object that ``to_dict`` wrote; missing keys take their defaults."""
        return cls(**mapping("loss_based_sift_config", values, _keys(cls)))

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values, nested."""
        return {"sift_config": self.sift_config.to_dict()}


@dataclass
class RelativeProbabilisticSiftConfig:
    """Keep a sample with probability (its loss's percentile among recent losses) ** beta_value.

    beta_value: more than 0; the share that is kept is 1 / (1 + beta_value), so 1 keeps half.
    loss_history_length: how many recent losses a new one is ranked among (1 or more).
    loss_based_sift_config: a ``LossConfig`` or a dict of its fields.
    acceptance: ``quota`` keeps a fixed number of every window, drawn with these probabilities, so
        that ``len(loader)`` is known before an epoch; ``probabilistic`` draws each sample on its
        own, as the AWS library did.
    seed: of the generator that draws, apart from the script's own (0 or more).
    """

    beta_value: float = 1.0
    loss_history_length: int = 500
    loss_based_sift_config: LossConfig = field(default_factory=LossConfig)
    acceptance: str = "quota"
    seed: int = 0

    def __post_init__(self) -> None:
        self.beta_value = beta("beta_value", self.beta_value)
        self.loss_history_length = integer(
            "loss_history_length", self.loss_history_length, minimum=1, example=500
        )
        if not isinstance(self.loss_based_sift_config, LossConfig):
            self.loss_based_sift_config = LossConfig.from_dict(self.loss_based_sift_config)
        self.acceptance = choice("acceptance", self.acceptance, ACCEPTANCE_RULES)
        self.seed = integer("seed", self.seed, minimum=0, example=0)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RelativeProbabilisticSiftConfig:
        """The object that ``to_dict`` wrote; missing keys take their defaults."""
        return cls(**mapping("sift_config", values, _keys(cls)))

    @property
    def keep(self) -> float:
        """The share of the samples that is kept, 0 to 1."""
        return 1.0 / (1.0 + self.beta_value)

    def to_dict(self) -> dict[str, Any]:
        """The fields as JSON values, nested."""
        return {
            "beta_value": self.beta_value,
            "loss_history_length": self.loss_history_length,
            "loss_based_sift_config": self.loss_based_sift_config.to_dict(),
            "acceptance": self.acceptance,
            "seed": self.seed,
        }


def beta(name: str, value: object) -> float:
    """``value`` as a beta: finite and more than 0."""
    mend = "write a number more than 0, such as 1 to keep half of the samples"
    checked = number(name, value, mend)
    if checked <= 0:
        raise refuse(name, value, mend)
    return checked


def _keys(cls: type[Any]) -> tuple[str, ...]:
    return tuple(each.name for each in fields(cls))
