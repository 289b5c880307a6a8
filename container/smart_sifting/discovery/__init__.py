"""Sifting for scripts that know nothing of it: `install()` is all that a process needs.

It replaces two methods of `torch.utils.data.DataLoader`, iteration and length. Everything else
(tape, hooks) begins with the first loader that is iterated, and ends when its role is known.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from smart_sifting.discovery.discoverer import Discoverer
    from smart_sifting.job_report import JobReport

_installed = False


def install() -> None:
    """Follow every DataLoader of this process, as SM_HP_SIFT_CONFIG says. A second call is nothing.

    The receipt goes to SM_OUTPUT_DATA_DIR; without it none is written. State is kept with the
    checkpoints in SM_CHECKPOINT_DIR; without it none is.

    Raises:
        SiftConfigValidationException: SM_HP_SIFT_CONFIG does not hold a valid configuration.
    """
    from smart_sifting import checkpoints
    from smart_sifting.sift_config.job_config import SiftConfig

    global _installed
    if _installed:
        return
    config = SiftConfig.parse(os.environ["SM_HP_SIFT_CONFIG"])

    def report() -> JobReport:
        from smart_sifting import job_report

        folder = os.environ.get("SM_OUTPUT_DATA_DIR")
        return job_report.start(Path(folder) if folder else None, config.keep, config.acceptance)

    def discoverer(plain_length: Callable[[Any], int]) -> Discoverer:
        from smart_sifting.discovery.discoverer import Discoverer

        made = Discoverer(config, report(), plain_length)
        checkpoints.attach()
        return made

    patch(discoverer)
    checkpoints.install(report, config.to_json())
    _installed = True


def patch(make: Callable[[Callable[[Any], int]], Discoverer]) -> Callable[[], None]:
    """Let a discoverer, made when it is first asked, stand behind every DataLoader.

    Args:
        make: makes it, given the length of a loader as torch counts it.

    Returns:
        A function that gives torch its own methods back.
    """
    from torch.utils.data import DataLoader, get_worker_info

    from smart_sifting.memory import index_pass

    plain_length = DataLoader.__len__
    plain_iters: dict[type, Callable[[Any], Iterator[Any]]] = {}

    @cache
    def discoverer() -> Discoverer:
        return make(plain_length)

    def sift(kind: type[DataLoader[Any]]) -> None:
        plain_iter = plain_iters[kind] = kind.__iter__

        def sifting_iter(self: DataLoader[Any]) -> Iterator[Any]:
            source = plain_iter(self)
            if get_worker_info() is not None:
                return source
            return discoverer().follow(self, source)

        kind.__iter__ = sifting_iter  # type: ignore[method-assign, assignment]

    def sifting_length(self: DataLoader[Any]) -> int:
        if get_worker_info() is not None:
            return plain_length(self)
        return discoverer().length(self)

    follow_indices_no_more = index_pass.patch(lambda loader: discoverer().choose(loader))

    def new_kind(kind: type[DataLoader[Any]], **options: Any) -> None:
        super(DataLoader, kind).__init_subclass__(**options)
        if _iterates_itself(kind):
            sift(kind)

    def unpatch() -> None:
        follow_indices_no_more()
        for kind, plain_iter in plain_iters.items():
            kind.__iter__ = plain_iter  # type: ignore[attr-defined]
        DataLoader.__len__ = plain_length  # type: ignore[method-assign]
        del DataLoader.__init_subclass__

    sift(DataLoader)
    for kind in DataLoader.__subclasses__():
        if _iterates_itself(kind):
            sift(kind)
    DataLoader.__len__ = sifting_length  # type: ignore[method-assign]
    DataLoader.__init_subclass__ = classmethod(new_kind)  # type: ignore[arg-type, assignment]
    return unpatch


def _iterates_itself(kind: type) -> bool:
    """Whether a class of loaders makes its iterators itself, as torchdata's StatefulDataLoader
    does. The others come to torch's."""
    return kind.__module__.partition(".")[0] == "torchdata" and "__iter__" in vars(kind)
