"""What is known of one loader, and the verdict on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any
from weakref import ReferenceType, WeakSet, ref

import torch
from torch import nn

from smart_sifting.discovery.program import NotTraceable, Program, released
from smart_sifting.discovery.replay import independent_scorer
from smart_sifting.discovery.schedules import Positions
from smart_sifting.discovery.tape import Handed
from smart_sifting.errors import SiftingError
from smart_sifting.no_trace import no_trace
from smart_sifting.scoring import Scorer
from smart_sifting.sifter import Sifter

# Steps on which a program, recorded on another step, must give the script's own loss.
VERIFICATIONS = 2
# A first step may differ from those that follow; one that differs three times does not settle.
FAILURES = 3
# Without a backward after so many batches, this pass over the loader is no training.
IDLE_BATCHES = 4
# Gradients may be accumulated over many batches before the first optimizer step.
PATIENCE = 64


class Verdict(IntEnum):
    """In the order in which ranks agree: the least of theirs holds for all."""

    PASS = 0
    WAIT = 1
    SIFT = 2


class Role(IntEnum):
    UNKNOWN = 0
    TRAINING = 1
    PASSED = 2
    UNTOUCHED = 3


@dataclass
class Watch:
    """The evidence on one loader.

    Attributes:
        handed: batches given while watching.
        rows: samples in the batch on which the candidate was recorded.
        candidate: the program to be verified on the next steps.
        told: the length last given for this loader before its role was known.
        schedules: where the learning-rate schedulers stood when watching began.
        known: the candidate was verified on another loader of this process.
        resumed: it goes on from the state of an interrupted job.
        limited: no longer sifted, but each epoch still ends after the batches it was planned to
            have, because the other ranks count on them.
    """

    name: str
    role: Role = Role.UNKNOWN
    handed: int = 0
    backwards: int = 0
    steps: int = 0
    rows: int = 0
    candidate: Program | None = None
    verified: int = 0
    failures: list[str] = field(default_factory=list)
    scorer: Scorer | None = None
    sifter: Sifter | None = None
    idle_passes: int = 0
    told: int | None = None
    known: bool = False
    resumed: bool = False
    limited: bool = False
    schedules: Positions | None = None
    modules: list[nn.Module] = field(default_factory=list)

    def observe(self, observed: Program, handed: Handed) -> None:
        """One more training step: record it, or hold the candidate against it."""
        if self.scorer is not None or len(self.failures) >= FAILURES:
            return
        candidate = self.candidate
        if candidate is not None and handed.rows != self.rows:
            return  # a last, shorter batch proves nothing: shapes may be written into the script
        if candidate is None:
            self._record(observed, handed)
            return
        try:
            if not candidate.same_course(observed):
                raise NotTraceable("the steps differ in what they compute")
            if not _replays(candidate, observed, handed):
                raise NotTraceable(
                    "the step run again on the next batch gives another loss than the script's"
                )
            self.verified += 1
            if self.verified >= (1 if self.known else VERIFICATIONS):
                self.scorer = independent_scorer(candidate, handed.leaves, handed.rows)
        except NotTraceable as why:
            self._retry(str(why), observed, handed)
        except Exception as failure:  # noqa: BLE001 - a replay runs the user's code in new ways
            self._retry(describe(failure), observed, handed)

    def fail(self, why: str) -> None:
        self.failures.append(why)
        self.verified = 0

    def verdict(self, optimizers_in_turn: str | None) -> tuple[Verdict, str]:
        """What to do with this loader, as far as is known by now, and why."""
        if optimizers_in_turn is not None:
            return Verdict.PASS, optimizers_in_turn
        if self.scorer is not None and self.steps:
            return Verdict.SIFT, "the script's own loss, replayed on other batches, agrees with it"
        if len(self.failures) >= FAILURES:
            return Verdict.PASS, self.failures[-1]
        if self.handed < PATIENCE:
            return Verdict.WAIT, "not settled yet"
        if self.failures:
            return Verdict.PASS, self.failures[-1]
        if not self.steps:
            return Verdict.PASS, f"no optimizer step in the first {PATIENCE} batches"
        return Verdict.PASS, f"the loss was not verified in the first {PATIENCE} batches"

    def _retry(self, why: str, observed: Program, handed: Handed) -> None:
        self.fail(why)
        self.known = False
        self._record(observed, handed)

    def _record(self, observed: Program, handed: Handed) -> None:
        self.candidate = released(observed)
        self.rows = handed.rows
        self.verified = 0
        self.modules = observed.modules


def _replays(candidate: Program, observed: Program, handed: Handed) -> bool:
    """Whether the candidate gives the observed loss on the observed batch, in training mode."""
    with no_trace(candidate.modules, evaluate=False):
        handed.generators.restore()
        elements = candidate.elements(handed.leaves, observed.generators())
        return candidate.agrees(elements, observed, handed.rows)


class OptimizerTurns:
    """Notices optimizers that step in turn, as those of a GAN do.

    One that takes over for good (a second phase of training) is no turn: the first must come back.
    """

    def __init__(self) -> None:
        # Weakly: an id would be given again to another optimizer once one is gone.
        self._known: WeakSet[torch.optim.Optimizer] = WeakSet()
        self._left: WeakSet[torch.optim.Optimizer] = WeakSet()
        self._last: ReferenceType[torch.optim.Optimizer] | None = None
        self.reason: str | None = None

    def stepped(self, optimizer: torch.optim.Optimizer) -> None:
        last = None if self._last is None else self._last()
        if last is optimizer:
            return
        if last is not None:
            self._left.add(last)
        self._last = ref(optimizer)
        self._known.add(optimizer)
        if optimizer in self._left and self.reason is None:
            names = ", ".join(sorted(type(each).__name__ for each in self._known))
            self.reason = (
                f"{len(self._known)} optimizers step in turn ({names}): "
                "each of their losses asks for other samples"
            )


def describe(failure: BaseException) -> str:
    """A failure of the user's code or ours, on one line."""
    text = " ".join(str(failure).split())[:200]
    return text if isinstance(failure, SiftingError) else f"{type(failure).__name__}: {text}"


def may_train(modules: Iterable[nn.Module]) -> bool:
    """Whether a pass that begins now can be for training, by gradients and the models' mode."""
    known = list(modules)
    return torch.is_grad_enabled() and (not known or any(module.training for module in known))


def loader_name(loader: Any, number: int, samples: int | None) -> str:
    size = "" if samples is None else f", {samples} samples"
    return f"{type(loader).__name__}#{number}({type(loader.dataset).__name__}{size})"
