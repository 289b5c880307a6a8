"""The share of samples to keep, as it is typed."""

from __future__ import annotations

from typing import Any

import click

from smart_sifting.sift_config.job_config import AUTO


class Share(click.ParamType):  # type: ignore[type-arg]  # generic in newer releases alone
    """A number, or the word auto. Whether the number is a share is for `SiftConfig` to say."""

    name = "share|auto"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | str:
        """Raises ``click.BadParameter`` for anything else."""
        if value == AUTO:
            return AUTO
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is no number; write one such as 0.5, or {AUTO}", param, ctx)
