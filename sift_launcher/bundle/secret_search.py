"""Refusing what looks like a secret."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def check_no_secrets(
    hyperparameters: Mapping[str, object],
    environment: Mapping[str, str],
    allow: Collection[str] = (),
) -> None:
    """Raises SecretFound."""
