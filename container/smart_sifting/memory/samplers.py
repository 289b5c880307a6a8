"""What batch samplers tell of themselves without being asked for a batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def layers(sampler: Any) -> Iterator[Any]:
    """A batch sampler, those that it wraps, and what gives them their samples."""
    while sampler is not None:
        yield sampler
        sampler = getattr(sampler, "batch_sampler", None) or getattr(sampler, "sampler", None)


def has_state(thing: Any) -> bool:
    """Whether a checkpoint may hold the place that this is at."""
    return hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict")


def declared_size(sampler: Any) -> int | None:
    """What a batch sampler says of the size of its batches."""
    for layer in layers(sampler):
        size = getattr(layer, "batch_size", None)
        if isinstance(size, int):
            # Accelerate's: each process gets a piece of every batch.
            split = getattr(layer, "split_batches", False)
            return size // layer.num_processes if split else size
    return None


def skipped_batches(sampler: Any) -> int:
    """Batches that a sampler leaves out of those of its own `batch_sampler`, as Accelerate's for
    the rest of an epoch does."""
    return getattr(sampler, "skip_batches", 0) if hasattr(sampler, "batch_sampler") else 0


def known_length(sampler: Any) -> int | None:
    """Its batches, if it knows their number."""
    try:
        return len(sampler)
    except (TypeError, NotImplementedError):
        return None
