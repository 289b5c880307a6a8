"""Our own code, where a function that the script has compiled comes to it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def uncompiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """`function`, left alone by `torch.compile`, which compiles whatever a compiled function calls.

    The compiler itself is not imported for it: that takes seconds.
    """
    disabled: Callable[Parameters, Result] | None = None

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        nonlocal disabled
        if disabled is None:
            if "torch._dynamo.eval_frame" not in sys.modules:
                return function(*args, **kwargs)
            disabled = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
        return disabled(*args, **kwargs)

    return call
