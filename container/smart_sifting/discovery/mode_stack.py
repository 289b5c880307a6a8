"""Where a `TorchFunctionMode` of ours stands among the script's own."""

from __future__ import annotations

from typing import Any

import torch
import torch.overrides
from torch.overrides import TorchFunctionMode

# Not public, and the only way to enter anywhere but on top.
_overrides: Any = torch.overrides


def push_lowest(mode: TorchFunctionMode) -> None:
    """Under the script's modes, so that each of theirs still finds itself on top when it ends."""
    above = _pop_all()
    if above and above[-1] is _default_device():
        # torch insists on finding this one at the very bottom.
        _overrides._push_mode(above.pop())
    _push_all([*above, mode])


def remove(mode: TorchFunctionMode) -> None:
    """Take it out, wherever it stands."""
    _push_all([each for each in _pop_all() if each is not mode])


def _default_device() -> Any:
    """The mode that `torch.set_default_device` put there; unlike a `with torch.device` block, which
    takes the topmost mode off when it ends."""
    return getattr(getattr(torch, "_GLOBAL_DEVICE_CONTEXT", None), "device_context", None)


def _pop_all() -> list[TorchFunctionMode]:
    """Every mode, the topmost first."""
    return [_overrides._pop_mode() for _ in range(_overrides._len_torch_function_stack())]


def _push_all(modes: list[TorchFunctionMode]) -> None:
    for each in reversed(modes):
        _overrides._push_mode(each)
