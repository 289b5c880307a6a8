"""Scores from a program: the script's own way from a batch to its loss, run on another batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from smart_sifting.discovery.per_sample import Elements, row_losses
from smart_sifting.discovery.program import NotTraceable, Program
from smart_sifting.discovery.walk import tensors_in
from smart_sifting.no_trace import no_trace
from smart_sifting.scoring import Scores

# Rows of one batch against the same rows in other company: kernels may round another way.
SAME_LOSS = 2e-3


class ReplayScorer:
    """Runs the program in eval mode, always on as many rows as were on the tape.

    A script may hold its batch size in a shape (`x.view(64, -1)`): a shorter batch is filled up
    with rows of its own, a longer one is cut, unless all its rows are asked for at once: whoever
    asks for that compares.

    Args:
        program: verified to give the script's own loss.
        rows: samples in the batches that it was verified on.
        batch_first: how flattened elements lie: all of a sample's together, or apart.

    `rows_apart` says, after a run, that no elements were flattened: each has a row a sample.
    """

    def __init__(self, program: Program, rows: int, *, batch_first: bool = True) -> None:
        self.program = program
        self.rows = rows
        self.batch_first = batch_first
        self.rows_apart = True

    @property
    def modules(self) -> Sequence[nn.Module]:
        return self.program.modules

    def __call__(
        self, transformed: Any, original: Any, samples: int, *, at_once: bool = False
    ) -> Scores:
        leaves = list(tensors_in(original))
        if at_once:
            return self.on_leaves(leaves, samples)
        parts = [self._score_rows(leaves, samples, start) for start in range(0, samples, self.rows)]
        labels = [part.labels for part in parts if part.labels is not None]
        return Scores(
            torch.cat([part.losses for part in parts]),
            torch.cat(labels) if len(labels) == len(parts) else None,
        )

    def on_leaves(self, leaves: list[Tensor], rows: int | None = None) -> Scores:
        """The scores of a batch of exactly so many samples, `self.rows` if not said.

        Raises:
            NotTraceable: the model does something else in eval mode than in training.
        """
        rows = self.rows if rows is None else rows
        with no_trace(self.program.modules):
            terms = self.program.elements(leaves)
            self.rows_apart = all(each.values.shape[:1] == (rows,) for each in terms)
            losses = total_losses(self.program, terms, rows, batch_first=self.batch_first)
        return Scores(losses.cpu(), _labels(terms, rows))

    def _score_rows(self, leaves: list[Tensor], samples: int, start: int) -> Scores:
        count = min(self.rows, samples - start)
        if samples != self.rows:
            rows = (start + torch.arange(self.rows)) % samples
            leaves = [_rows_of(leaf, rows, samples) for leaf in leaves]
        scores = self.on_leaves(leaves)
        labels = None if scores.labels is None else scores.labels[:count]
        return Scores(scores.losses[:count], labels)


def total_losses(
    program: Program, terms: list[Elements], rows: int, *, batch_first: bool
) -> Tensor:
    """One loss for each of `rows` samples, (rows,) float64, from the elements of all terms.

    Terms count by their share in the loss and with its sign; the factor of a loss scaler or of
    accumulated gradients falls out.

    Raises:
        NotTraceable: the elements are not those of so many samples.
    """
    largest = max((abs(term.weight) for term in program.terms), default=1.0)
    total: Tensor | None = None
    for term, elements in zip(program.terms, terms, strict=True):
        losses = row_losses(elements, rows, batch_first=batch_first)
        if losses is None:
            raise NotTraceable("the loss has another shape in eval mode than in training")
        weighted = losses.double() * (term.weight / largest)
        total = weighted if total is None else total + weighted
    if total is None:
        raise NotTraceable("the loss has no terms")
    return total


def independent_scorer(program: Program, leaves: list[Tensor], rows: int) -> ReplayScorer:
    """A scorer of that program, if each sample's score depends on that sample alone.

    The second half of the batch is replaced by its first half: then the first half must score as
    before. A loss across samples (contrastive, mixup) does not. Where elements lie flattened, the
    second half must also score like the first, which a wrong guess of their order does not.

    Raises:
        NotTraceable: the samples' losses depend on each other.
    """
    half = rows // 2
    again = torch.cat([torch.arange(half), torch.arange(half), torch.arange(2 * half, rows)])
    halved = [_rows_of(leaf, again, rows) for leaf in leaves]
    for batch_first in (True, False):
        scorer = ReplayScorer(program, rows, batch_first=batch_first)
        before, after = scorer.on_leaves(leaves).losses, scorer.on_leaves(halved).losses
        if not torch.isfinite(before).all():
            raise NotTraceable("losses are not finite in the first steps")
        margin = SAME_LOSS * float(before.abs().mean())
        halves = [after[:half]] if scorer.rows_apart else [after[:half], after[half : 2 * half]]
        if all(torch.allclose(h, before[:half], rtol=SAME_LOSS, atol=margin) for h in halves):
            return scorer
    raise NotTraceable("a sample's loss depends on the other samples of its batch")


def _rows_of(leaf: Tensor, rows: Tensor, samples: int) -> Tensor:
    """Those rows of a leaf; a leaf that is not one row a sample is shared by all."""
    if leaf.dim() == 0 or leaf.shape[0] != samples:
        return leaf
    return leaf.index_select(0, rows.to(leaf.device))


def _labels(terms: list[Elements], rows: int) -> Tensor | None:
    for elements in terms:
        if elements.labels is not None and elements.labels.shape == (rows,):
            return elements.labels.cpu()
    return None
