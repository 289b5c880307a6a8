"""What is known of one loader, and the verdict on it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any
from weakref import ReferenceType, WeakSet, ref

import torch
from torch import Tensor, nn

from smart_sifting.discovery.per_sample import Elements
from smart_sifting.discovery.program import NotTraceable, Program, released
from smart_sifting.discovery.replay import ReplayScorer, independent_scorer, total_losses
from smart_sifting.discovery.schedules import Positions
from smart_sifting.discovery.tape import Handed
from smart_sifting.errors import SiftingError
from smart_sifting.memory.sifter import MemorySifter
from smart_sifting.memory.step_losses import StepLosses, agrees
from smart_sifting.memory.trained_batches import LookAhead
from smart_sifting.no_trace import no_trace
from smart_sifting.ranks import world_size
from smart_sifting.scoring import Scorer
from smart_sifting.sifter import Sifter

# Steps on which a program, recorded on another step, must give the script's own loss.
VERIFICATIONS = 2
# A first step may differ from those that follow; one that differs three times does not settle.
FAILURES = 3
# Without a backward after a model was called on so many batches, this pass is no training.
IDLE_BATCHES = 4
# How far a loss that is read may be from its replay, in units of the mean: other kernels round
# otherwise, and lower precisions much so.
SAME_READING = 0.02
# Gradients may be accumulated over many batches before the first optimizer step.
PATIENCE = 64

VERIFIED = "the script's own loss, replayed on other batches, agrees with it"
SHARDED = (
    "the model's parameters are spread over the ranks: "
    "each forward of it gathers them, and ranks may not score on their own"
)
MIXED = "it is not plain which loader's batch a training step is on"
READ = "the losses of the script's own training steps, checked against a replay of them"


class Verdict(IntEnum):
    """In the order in which ranks agree: the least of theirs holds for all."""

    PASS = 0
    WAIT = 1
    BATCH = 2
    FORWARD = 3
    MEMORY = 4

    @property
    def tier(self) -> str:
        """Its name in the receipt."""
        return {0: "pass-through", 1: "waiting", 2: "batch", 3: "forward", 4: "memory"}[self]


class Role(IntEnum):
    UNKNOWN = 0
    TRAINING = 1
    PASSED = 2
    UNTOUCHED = 3


@dataclass(eq=False)
class Watch:
    """The evidence on one loader.

    Attributes:
        handed: batches given while watching.
        rows: samples in the batch on which the candidate was recorded.
        candidate: the program to be verified on the next steps.
        told: the length last given for this loader before its role was known.
        schedules: where the learning-rate schedulers stood when watching began.
        scorer: runs the verified way to the loss on other batches.
        losses: reads the losses off the script's own steps, once `read` says that it does so right.
        unreadable: why it does not.
        look_ahead: which of the batches handed out a step is on.
        ordinals: how many batches of this loader were handed out up to one with a tape's number.
        known: the candidate was verified on another loader of this process.
        resumed: it goes on from the state of an interrupted job.
        limited: no longer sifted, but each epoch still ends after the batches it was planned to
            have, because the other ranks count on them.
        mixed: batches of another loader were given between one of this loader's and its step, or
            the other way round.
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
    losses: StepLosses | None = None
    read: bool = False
    unreadable: str = "no training step was read"
    look_ahead: LookAhead = field(default_factory=LookAhead)
    ordinals: dict[int, int] = field(default_factory=dict)
    sifter: Sifter | MemorySifter | None = None
    idle_passes: int = 0
    told: int | None = None
    known: bool = False
    resumed: bool = False
    limited: bool = False
    mixed: bool = False
    schedules: Positions | None = None
    modules: list[nn.Module] = field(default_factory=list)

    def observe(self, observed: Program, handed: Handed, root: Tensor) -> None:
        """One more training step, of which `root` is the loss: record it, or hold the candidate
        against it."""
        if self.scorer is not None or len(self.failures) >= FAILURES:
            return
        candidate = self.candidate
        if candidate is not None and handed.rows != self.rows:
            return  # a last, shorter batch proves nothing: shapes may be written into the script
        if candidate is None:
            self._record(observed, handed)
            return
        if world_size() > 1 and any(map(is_sharded, candidate.modules)):
            # Ranks that disagree on a replay would leave each other waiting for parameters.
            self.fail(SHARDED)
            return
        try:
            if not candidate.same_course(observed):
                raise NotTraceable("the steps differ in what they compute")
            elements = _replayed(candidate, observed, handed)
            if elements is None:
                raise NotTraceable(
                    "the step run again on the next batch gives another loss than the script's"
                )
            self.verified += 1
            if self.verified >= (1 if self.known else VERIFICATIONS):
                self.scorer = independent_scorer(candidate, handed.leaves, handed.rows)
                self._check_reading(self.scorer, observed, elements, root)
            else:
                self._begin_reading(observed, root, handed.rows)
        except NotTraceable as why:
            self._retry(str(why), observed, handed)
        except Exception as failure:  # noqa: BLE001 - a replay runs the user's code in new ways
            self._retry(describe(failure), observed, handed)

    def fail(self, why: str) -> None:
        self.failures.append(why)
        self.verified = 0

    def verdict(
        self, optimizers_in_turn: str | None, source: str, unfollowed: str | None
    ) -> tuple[Verdict, str]:
        """What to do with this loader, as far as is known by now, and why.

        Args:
            optimizers_in_turn: why nothing may be sifted, if it is known already.
            source: where the scores are to come from, as configured.
            unfollowed: why its samples cannot be told by their indices; None: they can.
        """
        if optimizers_in_turn is not None:
            return Verdict.PASS, optimizers_in_turn
        if source == "batch" and self.steps and unfollowed is None:
            return Verdict.BATCH, "every sample equally often, as asked"
        if self.scorer is not None and self.steps:
            return self._verified(source, unfollowed)
        reason = self._given_up()
        if reason is None:
            return Verdict.WAIT, "not settled yet"
        if source in ("auto", "memory") and self.steps and unfollowed is None:
            return Verdict.BATCH, f"every sample equally often: {reason}"
        return Verdict.PASS, reason

    def read_with(self, losses: StepLosses | None) -> None:
        """Read steps in this way from now on; None: not at all."""
        if losses is not None:
            losses.start()  # before the old ones stop: what they keep of this step serves both
        if self.losses is not None:
            self.losses.stop()
        self.losses = losses

    def _verified(self, source: str, unfollowed: str | None) -> tuple[Verdict, str]:
        blind = unfollowed
        if blind is None and not self.read:
            blind = self.unreadable
        if blind is None and self.mixed:
            blind = MIXED
        if blind is None and self.look_ahead.rule() is None:
            blind = "it is not plain which batch a training step is on"
        if source in ("auto", "memory") and blind is None:
            return Verdict.MEMORY, READ
        if source == "memory":
            if unfollowed is None:
                return Verdict.BATCH, f"every sample equally often: {blind}"
            return Verdict.PASS, f"no memory of its samples: {unfollowed}"
        return Verdict.FORWARD, VERIFIED if source == "forward" else f"{VERIFIED}; {blind}"

    def _given_up(self) -> str | None:
        """Why the loss will not be verified; None while it still may be."""
        if len(self.failures) >= FAILURES:
            return self.failures[-1]
        if self.handed < PATIENCE:
            return None
        if self.failures:
            return self.failures[-1]
        if not self.steps:
            return f"no optimizer step in the first {PATIENCE} batches"
        return f"the loss was not verified in the first {PATIENCE} batches"

    def _begin_reading(self, observed: Program, root: Tensor, rows: int) -> None:
        """Some losses must be kept from now on to be read at the next step."""
        try:
            self.read_with(StepLosses.of(observed, root, rows))
        except NotTraceable as why:
            self.unreadable = str(why)

    def _check_reading(
        self, scorer: ReplayScorer, observed: Program, elements: list[Elements], root: Tensor
    ) -> None:
        """Whether what is read off this step, row by row, is what its replay gives."""
        try:
            losses = StepLosses.of(observed, root, scorer.rows, batch_first=scorer.batch_first)
            self.read_with(losses)
            read = losses.read(root, scorer.rows)
            replayed = total_losses(observed, elements, scorer.rows, batch_first=scorer.batch_first)
            if read is None or not agrees(read, replayed, SAME_READING):
                raise NotTraceable("what is read off its training steps is not its loss")
            self.read = True
        except NotTraceable as why:
            self.read_with(None)
            self.unreadable = str(why)

    def _retry(self, why: str, observed: Program, handed: Handed) -> None:
        self.fail(why)
        self.known = False
        self._record(observed, handed)

    def _record(self, observed: Program, handed: Handed) -> None:
        self.candidate = released(observed)
        self.rows = handed.rows
        self.verified = 0
        self.modules = observed.modules


def _replayed(candidate: Program, observed: Program, handed: Handed) -> list[Elements] | None:
    """The elements that the candidate gives on the observed batch, in training mode; None if they
    do not make up the observed loss."""
    with no_trace(candidate.modules, evaluate=False):
        handed.generators.restore()
        elements = candidate.elements(handed.leaves, observed.generators())
        return elements if candidate.agrees(elements, observed, handed.rows) else None


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


def is_idle(passed: int, ahead: int) -> bool:
    """Whether a pass without a backward so far is no training.

    Args:
        passed: batches that it has given.
        ahead: those of them that no model was called on yet: they may only be fetched ahead.
    """
    return passed - ahead >= IDLE_BATCHES or passed >= PATIENCE


def is_sharded(model: nn.Module) -> bool:
    """Whether a forward needs parameters of other ranks: FSDP, tensor parallelism, ZeRO-3."""
    fsdp: Any = sys.modules.get("torch.distributed.fsdp")  # not imported unless it is used
    kinds = () if fsdp is None else (fsdp.FullyShardedDataParallel, fsdp.FSDPModule)
    if any(isinstance(module, kinds) for module in model.modules()):
        return True
    return any(hasattr(p, "device_mesh") or hasattr(p, "ds_id") for p in model.parameters())


def loader_name(loader: Any, number: int, samples: int | None) -> str:
    size = "" if samples is None else f", {samples} samples"
    return f"{type(loader).__name__}#{number}({type(loader.dataset).__name__}{size})"
