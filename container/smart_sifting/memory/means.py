"""Means and sums that leave what they were made of on their node of autograd's graph.

Autograd saves no elements for a plain `mean()` or `sum()`. Between `start` and `stop` the functions
that compute one are replaced by wrappers that put the elements with the node of the result: they
are found there when the backward begins, and go when the graph goes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any

import torch
from torch import Tensor
from torch.jit import _builtins

from smart_sifting.discovery.per_sample import ORIGINAL, is_reduction

_KEY = "smart_sifting.elements"
_NO_REDUCTION = 0

_restore: list[Callable[[], None]] = []
_users = 0


def remembered(node: Any) -> Tensor | None:
    """The elements, detached, that a mean's or sum's node was made of; None if nobody kept them."""
    elements: Tensor | None = node.metadata.get(_KEY)
    return elements


def start() -> None:
    """Keep elements from now on. To be followed by one `stop` each time."""
    global _users
    _users += 1
    if _users > 1:
        return
    for owner, name, keeping in _REDUCTIONS:
        _replace(owner, name, keeping)


def stop() -> None:
    """Keep nothing any more once nobody else wants it: torch has its own functions back."""
    global _users
    _users -= 1
    if _users:
        return
    while _restore:
        _restore.pop()()


def _replace(owner: Any, name: str, keeping: Callable[[Any], Any]) -> None:
    original, inherited = getattr(owner, name), name not in vars(owner)
    wrapper = _wrapper(original, keeping)

    def restore() -> None:
        # Not where somebody else has replaced it since: the wrapper inside theirs does no harm.
        if vars(owner).get(name) is not wrapper:
            return
        if inherited:
            delattr(owner, name)
        else:
            setattr(owner, name, original)

    setattr(owner, name, wrapper)
    _restore.append(restore)


@cache
def _wrapper(original: Callable[..., Any], keeping: Callable[[Any], Any]) -> Callable[..., Any]:
    """Made once and never let go: TorchScript knows the builtins by their ids."""
    wrapper: Callable[..., Any] = wraps(original)(keeping(original))
    setattr(wrapper, ORIGINAL, original)
    operator = _builtins._find_builtin(original)  # type: ignore[no-untyped-call]
    if operator is not None:
        _builtins._register_builtin(wrapper, operator)
    return wrapper


def _keeping(original: Callable[..., Any]) -> Callable[..., Any]:
    def reduction(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if _wanted(result) and is_reduction(original, args, kwargs):
            result.grad_fn.metadata[_KEY] = args[0].detach()
        return result

    return reduction


def _keeping_composed(original: Callable[..., Any], position: int) -> Callable[..., Any]:
    """`position` is where the functional's arguments hold its reduction."""

    def loss(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if _wanted(result) and len(args) > position and args[position] != _NO_REDUCTION:
            with torch.no_grad():
                elements = original(
                    *args[:position], _NO_REDUCTION, *args[position + 1 :], **kwargs
                )
            result.grad_fn.metadata[_KEY] = elements
        return result

    return loss


def _wanted(result: Any) -> bool:
    # A compiler that traces this must not find the graph in it; what it compiles has none of ours.
    if not _users or torch.compiler.is_compiling():
        return False
    return isinstance(result, Tensor) and result.dim() == 0 and result.grad_fn is not None


# What a reduction is replaced by. The last two are of losses that sum up in C++, out of reach of a
# wrapper around `sum`; the position is that of their argument `reduction`.
_REDUCTIONS: list[tuple[Any, str, Callable[[Any], Any]]] = [
    (torch, "mean", _keeping),
    (torch, "sum", _keeping),
    (Tensor, "mean", _keeping),
    (Tensor, "sum", _keeping),
    (torch, "kl_div", partial(_keeping_composed, position=2)),
    (torch, "poisson_nll_loss", partial(_keeping_composed, position=5)),
]
