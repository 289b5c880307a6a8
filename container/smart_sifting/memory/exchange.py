"""What ranks tell each other between two epochs, so that all hold the same memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from smart_sifting import ranks
from smart_sifting.memory.score_memory import NO_CLASS, ScoreMemory

# Samples at a time: 4 MiB on the device of the collectives, however large the data set is.
_CHUNK = 2**20


def exchange(memory: ScoreMemory, changes: NDArray[np.integer], shown: int) -> NDArray[np.integer]:
    """Merges this epoch's losses and classes of all ranks into each rank's memory.

    Ranks that do not divide one data set among them keep memories of their own: where lengths
    differ, or where one rank alone is shown all of it, an index may be another sample elsewhere.

    A collective where there are several ranks. Bit for bit the same on all.

    Args:
        memory: this rank's.
        changes: (samples,) units by which this rank's choice changes the credits.
        shown: samples that this rank's loader gives in an epoch.

    Returns:
        The (samples,) changes of all ranks, added up.
    """
    if not _divided(len(memory), shown):
        return changes
    total = np.empty(len(memory), np.int64)
    for start in range(0, len(memory), _CHUNK):
        part = slice(start, start + _CHUNK)
        total[part] = _reduced(changes[part].astype(np.int64), dist.ReduceOp.SUM)
        memory.fresh[part] = _merged_losses(memory.fresh[part])
        memory.class_ids[part] = _merged_classes(memory.class_ids[part])
    return total


def _divided(samples: int, shown: int) -> bool:
    if ranks.world_size() == 1:
        return False
    fewest, minus_most, minus_most_shown = ranks.lowest_of_all_ranks([samples, -samples, -shown])
    return fewest == -minus_most and -minus_most_shown < samples


def _merged_losses(fresh: NDArray[np.float16]) -> NDArray[np.float32]:
    """Of a sample that several ranks saw the higher loss, not finite above all."""
    lowest = np.where(np.isnan(fresh), -np.inf, fresh).astype(np.float32)
    merged = _reduced(lowest, dist.ReduceOp.MAX)
    return np.where(np.isneginf(merged), np.nan, merged)


def _merged_classes(classes: NDArray[np.uint16]) -> NDArray[np.int32]:
    known = np.where(classes == NO_CLASS, -1, classes.astype(np.int32))
    merged = _reduced(known, dist.ReduceOp.MAX)
    return np.where(merged < 0, NO_CLASS, merged)


def _reduced(values: NDArray[Any], how: Any) -> NDArray[Any]:
    tensor = torch.from_numpy(values).to(ranks.collective_device())
    dist.all_reduce(tensor, op=how)
    return tensor.cpu().numpy()
