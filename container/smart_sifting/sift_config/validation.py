"""How one field of a configuration is checked: every helper returns the value or raises.

All errors are ``SiftConfigValidationException`` with one line: which field, which value, and what
to write instead.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any

from smart_sifting.errors import SiftConfigValidationException

LARGEST_INTEGER = 2**63 - 1


def refuse(field: str, value: object, mend: str) -> SiftConfigValidationException:
    """The error for ``field``: to be raised by the caller."""
    return SiftConfigValidationException(f"sift_config: {field} is {shown(value)}; {mend}")


def number(field: str, value: object, mend: str) -> float:
    """A finite number. Booleans are not numbers here, and text is not read as one."""
    if isinstance(value, str) and _reads_as_number(value):
        raise refuse(field, value, f"write it without quotes, {value.strip()}")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse(field, value, mend)
    try:
        converted = float(value)
    except OverflowError:
        raise refuse(field, value, mend) from None
    if not math.isfinite(converted):
        raise refuse(field, value, mend)
    return converted


def integer(field: str, value: object, minimum: int, example: int) -> int:
    """An integer from ``minimum`` up to what 64 bits hold."""
    mend = f"write a whole number, {minimum} or more, such as {example}"
    if isinstance(value, str) and _reads_as_number(value):
        raise refuse(field, value, f"write it without quotes, {value.strip()}")
    if isinstance(value, bool) or not isinstance(value, int):
        raise refuse(field, value, mend)
    if not minimum <= value <= LARGEST_INTEGER:
        raise refuse(field, value, mend)
    return int(value)


def flag(field: str, value: object) -> bool:
    """True or false, and nothing that merely counts as one of them."""
    if not isinstance(value, bool):
        raise refuse(field, value, "write true or false, without quotes")
    return value


def choice(field: str, value: object, allowed: Collection[str]) -> str:
    """One of the ``allowed`` words."""
    if isinstance(value, str) and value in allowed:
        return value
    raise refuse(field, value, "write " + " or ".join(f'"{word}"' for word in allowed))


def mapping(field: str, value: object, known: Collection[str]) -> dict[str, Any]:
    """A mapping with no other keys than the ``known`` ones, as a new dict."""
    if not isinstance(value, Mapping):
        what = "the value" if field == "sift_config" else field
        raise refuse(what, value, f"write an object with the keys {', '.join(known)}")
    for key in value:
        if key not in known:
            raise _unknown(field, key, known)
    return dict(value)


def shown(value: object) -> str:
    """``value`` as one short line."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else text[:77] + "..."


def _unknown(field: str, key: object, known: Collection[str]) -> SiftConfigValidationException:
    near = get_close_matches(str(key), known, n=1)
    mend = f"write {near[0]}" if near else f"known keys: {', '.join(known)}"
    where = "sift_config" if field == "sift_config" else f"sift_config: {field}"
    return SiftConfigValidationException(f"{where} has an unknown key {shown(key)}; {mend}")


def _reads_as_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
