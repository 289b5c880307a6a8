"""The losses that are read off a step's graph are those of the step, and so are their gradients."""

from __future__ import annotations

import io
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smart_sifting.discovery.program import NotTraceable, program_of
from smart_sifting.discovery.replay import ReplayScorer
from smart_sifting.discovery.tape import Tape
from smart_sifting.memory import means
from smart_sifting.memory.step_losses import StepLosses, agrees

ROWS, CLASSES, TOKENS = 6, 5, 4
Batch = list[Tensor]
Loss = Callable[[Tensor, Batch, str], Tensor]
"""Of the model's output and the batch, with that reduction."""


def batch(seed: int, rows: int = ROWS, dtype: torch.dtype = torch.float32) -> Batch:
    """Inputs, labels, other numbers, labels of tokens; the last two rows' labels are hard cases."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (rows,), generator=draw)
    tokens = torch.randint(0, CLASSES, (rows, TOKENS), generator=draw)
    labels[-1] = -100
    tokens[-2, 1:] = -100
    return [
        torch.randn(rows, 3, generator=draw, dtype=torch.float64).to(dtype),
        labels,
        torch.randn(rows, CLASSES, generator=draw, dtype=torch.float64).to(dtype),
        tokens,
    ]


def labels(b: Batch) -> Tensor:
    return b[1].clamp_min(0)


def linear(out: int = CLASSES, dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(3, out).to(dtype)


def class_weights(like: Tensor) -> Tensor:
    return torch.linspace(0.5, 2.0, CLASSES, dtype=like.dtype, device=like.device)


def cross_entropy(**options: Any) -> Loss:
    return lambda o, b, r: F.cross_entropy(o, b[1], reduction=r, **options)


def soft_cross_entropy(**options: Any) -> Loss:
    return lambda o, b, r: F.cross_entropy(o, b[2].softmax(1), reduction=r, **options)


def reduced(values: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" else torch.sum(values)


# What autograd saves: nothing has to be replaced in torch.
SAVED: dict[str, Loss] = {
    "cross entropy": cross_entropy(),
    "cross entropy, class weights": lambda o, b, r: F.cross_entropy(
        o, labels(b), weight=class_weights(o), reduction=r
    ),
    "cross entropy, another ignored label": lambda o, b, r: F.cross_entropy(
        o, labels(b), ignore_index=3, reduction=r
    ),
    "cross entropy, smoothed": cross_entropy(label_smoothing=0.1),
    "cross entropy, smoothed, class weights": lambda o, b, r: F.cross_entropy(
        o, labels(b), class_weights(o), ignore_index=3, label_smoothing=0.2, reduction=r
    ),
    "cross entropy, soft labels": soft_cross_entropy(),
    "cross entropy, soft labels, smoothed": soft_cross_entropy(label_smoothing=0.1),
    "cross entropy, soft labels, class weights": lambda o, b, r: F.cross_entropy(
        o, b[2].softmax(1), weight=class_weights(o), reduction=r
    ),
    "nll": lambda o, b, r: F.nll_loss(o.log_softmax(1), b[1], reduction=r),
    "bce": lambda o, b, r: F.binary_cross_entropy(o.sigmoid(), b[2].sigmoid(), reduction=r),
    "bce, saturated": lambda o, b, r: F.binary_cross_entropy(
        (o * 1e3).sigmoid(), (b[2] > 0).to(o.dtype), reduction=r
    ),
    "bce, weights": lambda o, b, r: F.binary_cross_entropy(
        o.sigmoid(), b[2].sigmoid(), weight=b[2].exp(), reduction=r
    ),
    "bce with logits": lambda o, b, r: F.binary_cross_entropy_with_logits(
        o, b[2].sigmoid(), pos_weight=class_weights(o), reduction=r
    ),
    "bce with logits, weights": lambda o, b, r: F.binary_cross_entropy_with_logits(
        o, b[2].sigmoid(), weight=b[2].exp(), reduction=r
    ),
    "mse": lambda o, b, r: F.mse_loss(o, b[2], reduction=r),
    "mse, model's output second": lambda o, b, r: F.mse_loss(b[2], o, reduction=r),
    "l1": lambda o, b, r: F.l1_loss(o, b[2], reduction=r),
    "smooth l1": lambda o, b, r: F.smooth_l1_loss(o, b[2], beta=0.7, reduction=r),
    "smooth l1, no beta": lambda o, b, r: F.smooth_l1_loss(o, b[2], beta=0.0, reduction=r),
    "huber": lambda o, b, r: F.huber_loss(o, b[2], delta=0.6, reduction=r),
    "soft margin": lambda o, b, r: F.soft_margin_loss(o, b[2].sign(), reduction=r),
    "multi margin": lambda o, b, r: F.multi_margin_loss(
        o, labels(b), p=2, margin=0.8, weight=class_weights(o), reduction=r
    ),
    "square, by hand": lambda o, b, r: reduced((o - b[2]) ** 2, r),
    "absolute, by hand": lambda o, b, r: reduced((o - b[2]).abs(), r),
    "mean of cross entropies": lambda o, b, r: reduced(
        F.cross_entropy(o, b[1], reduction="none"), r
    ),
    "mean of bce": lambda o, b, r: reduced(
        F.binary_cross_entropy_with_logits(o, b[2].sigmoid(), reduction="none"), r
    ),
}

# What it does not.
REMEMBERED: dict[str, Loss] = {
    "gaussian nll": lambda o, b, r: F.gaussian_nll_loss(o, b[2], b[2].exp(), reduction=r),
    "kl divergence": lambda o, b, r: F.kl_div(o.log_softmax(1), b[2].softmax(1), reduction=r),
    "kl divergence, logarithms": lambda o, b, r: F.kl_div(
        o.log_softmax(1), b[2].log_softmax(1), reduction=r, log_target=True
    ),
    "poisson nll": lambda o, b, r: F.poisson_nll_loss(o, b[2].exp(), full=True, reduction=r),
    "multi-label soft margin": lambda o, b, r: F.multilabel_soft_margin_loss(
        o, (b[2] > 0).to(o.dtype), reduction=r
    ),
    "focal, by hand": lambda o, b, r: reduced(_focal(o, b), r),
    "squares of a row, by hand": lambda o, b, r: reduced(((o - b[2]) ** 2).sum(1), r),
}
LOSSES = SAVED | REMEMBERED


def _focal(output: Tensor, b: Batch) -> Tensor:
    losses = F.cross_entropy(output, labels(b), reduction="none")
    return (1 - torch.exp(-losses)) ** 2 * losses


class Learned:
    """A step observed under the tape: its losses, and the replay to hold them against."""

    def __init__(
        self,
        step: Callable[[Batch], Tensor],
        *,
        on: Batch | None = None,
        rows: int = ROWS,
        batch_first: bool = True,
    ) -> None:
        self._rows, self._batch_first = rows, batch_first
        self._refused: NotTraceable | None = None
        tape = Tape(self._on_backward)
        self._tape = tape
        given = batch(1) if on is None else on
        tape.start()
        try:
            tape.hand_out(given, rows, "loader")
            step(given).backward()
        finally:
            tape.stop()
        if self._refused is not None:
            raise self._refused

    def replayed(self, b: Batch) -> Tensor:
        return self._replay(b, b, len(b[0])).losses

    def _on_backward(self, root: Tensor) -> None:
        try:
            program, _ = program_of(self._tape, root)
            self.losses = StepLosses.of(program, root, self._rows, batch_first=self._batch_first)
        except NotTraceable as why:
            self._refused = why
            return
        self._replay = ReplayScorer(program, self._rows, batch_first=self._batch_first)


@contextmanager
def started(losses: StepLosses) -> Iterator[StepLosses]:
    losses.start()
    try:
        yield losses
    finally:
        losses.stop()


def gradients(model: nn.Module, root: Tensor, **options: Any) -> list[Tensor]:
    model.zero_grad()
    root.backward(**options)
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def weighted(elements: Tensor, loss: Tensor, weights: Tensor) -> Tensor:
    """The loss, had each row's elements been multiplied by the row's weight."""
    spread = weights.reshape(-1, *[1] * (elements.dim() - 1))
    return (elements * spread).sum() * (loss / elements.sum()).detach()


def assert_equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs) > 0
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_losses_read_off_another_step_are_those_of_its_replay(name: str, reduction: str) -> None:
    model, loss = linear(), LOSSES[name]

    def step(b: Batch) -> Tensor:
        return loss(model(b[0]), b, reduction)

    learned, other = Learned(step), batch(2)
    with started(learned.losses):
        read = learned.losses.read(step(other), ROWS)
    assert read is not None
    assert read.shape == (ROWS,)
    assert not read.requires_grad
    assert read.std() > 0.01
    torch.testing.assert_close(read.double(), learned.replayed(other), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_weights_scale_each_rows_gradient_exactly(name: str, reduction: str) -> None:
    model, loss = linear(dtype=torch.float64), LOSSES[name]

    def step(b: Batch) -> Tensor:
        return loss(model(b[0]), b, reduction)

    learned, other = Learned(step, on=batch(1, dtype=torch.float64)), batch(2, dtype=torch.float64)
    weights = torch.rand(ROWS, dtype=torch.float64) + 0.5
    root = step(other)
    assert learned.losses.weigh(root, weights)
    ours = gradients(model, root)
    elements = loss(model(other[0]), other, "none")
    assert_equal(ours, gradients(model, weighted(elements, root.detach(), weights)))


@pytest.mark.parametrize("name", SAVED)
def test_nothing_is_replaced_in_torch_where_autograd_saves_the_losses(name: str) -> None:
    model, loss = linear(), SAVED[name]
    learned = Learned(lambda b: loss(model(b[0]), b, "mean"))
    before = torch.mean, torch.sum, Tensor.mean, Tensor.sum, torch.kl_div
    with started(learned.losses):
        assert (torch.mean, torch.sum, Tensor.mean, Tensor.sum, torch.kl_div) == before


# Torch has no backward of the multi margin loss for that device.
@pytest.mark.parametrize("name", [name for name in SAVED if name != "multi margin"])
def test_reading_and_weighing_wait_for_no_accelerator(name: str) -> None:
    """On the device "meta" tensors have no values: to look at one is an error."""
    model, loss = linear(), SAVED[name]
    losses = Learned(lambda b: loss(model(b[0]), b, "mean")).losses
    model, b = model.to("meta"), [each.to("meta") for each in batch(2)]
    root = loss(model(b[0]), b, "mean")
    read = losses.read(root, ROWS)
    assert read is not None
    assert read.shape == (ROWS,)
    assert read.device.type == "meta"
    assert losses.weigh(root, torch.ones(ROWS, device="meta"))
    root.backward()


def test_a_batch_mean_of_a_divergence_is_read_and_weighted() -> None:
    model = linear(dtype=torch.float64)

    def step(b: Batch) -> Tensor:
        return F.kl_div(model(b[0]).log_softmax(1), b[2].softmax(1), reduction="batchmean")

    learned, other = Learned(step, on=batch(1, dtype=torch.float64)), batch(2, dtype=torch.float64)
    weights = torch.rand(ROWS, dtype=torch.float64)
    with started(learned.losses):
        root = step(other)
        read = learned.losses.read(root, ROWS)
        assert learned.losses.weigh(root, weights)
    assert read is not None
    torch.testing.assert_close(read, learned.replayed(other))
    elements = F.kl_div(model(other[0]).log_softmax(1), other[2].softmax(1), reduction="none")
    assert_equal(gradients(model, root), gradients(model, weighted(elements, root, weights)))


# -- tokens and pictures ---------------------------------------------------------------------------


def token_logits(model: nn.Linear, b: Batch) -> Tensor:
    """(rows, tokens, classes)."""
    return model(b[0]).view(-1, TOKENS, CLASSES)


TOKEN_LOSSES: dict[str, Callable[[nn.Linear, Batch, str], Tensor]] = {
    "flattened": lambda m, b, r: F.cross_entropy(
        token_logits(m, b).flatten(0, 1), b[3].flatten(), reduction=r
    ),
    "flattened, smoothed": lambda m, b, r: F.cross_entropy(
        token_logits(m, b).flatten(0, 1), b[3].flatten(), reduction=r, label_smoothing=0.1
    ),
    "rows apart": lambda m, b, r: F.cross_entropy(
        token_logits(m, b).transpose(1, 2), b[3], reduction=r
    ),
    "rows apart, smoothed": lambda m, b, r: F.cross_entropy(
        token_logits(m, b).transpose(1, 2), b[3], reduction=r, label_smoothing=0.1
    ),
    "as a picture": lambda m, b, r: F.cross_entropy(
        token_logits(m, b).transpose(1, 2).reshape(-1, CLASSES, 2, 2),
        b[3].view(-1, 2, 2),
        reduction=r,
    ),
}


@pytest.mark.parametrize("name", TOKEN_LOSSES)
def test_a_rows_token_losses_are_averaged_over_those_that_count(name: str) -> None:
    model = linear(TOKENS * CLASSES, torch.float64)
    loss = TOKEN_LOSSES[name]
    learned = Learned(lambda b: loss(model, b, "mean"), on=batch(1, dtype=torch.float64))
    other = batch(2, dtype=torch.float64)
    root = loss(model, other, "mean")
    read = learned.losses.read(root, ROWS)
    assert read is not None
    torch.testing.assert_close(read, learned.replayed(other))

    weights = torch.rand(ROWS, dtype=torch.float64)
    assert learned.losses.weigh(root, weights)
    elements = loss(model, other, "none").reshape(ROWS, TOKENS)
    assert_equal(gradients(model, root), gradients(model, weighted(elements, root, weights)))


def test_elements_with_the_rows_last_are_told_apart() -> None:
    model = linear(TOKENS * CLASSES, torch.float64)

    def elements_of(b: Batch, reduction: str) -> Tensor:
        logits = token_logits(model, b).transpose(0, 1)
        return F.cross_entropy(logits.flatten(0, 1), b[3].t().flatten(), reduction=reduction)

    learned = Learned(
        lambda b: elements_of(b, "mean"), on=batch(1, dtype=torch.float64), batch_first=False
    )
    other, weights = batch(2, dtype=torch.float64), torch.rand(ROWS, dtype=torch.float64)
    root = elements_of(other, "mean")
    read = learned.losses.read(root, ROWS)
    assert read is not None
    torch.testing.assert_close(read, learned.replayed(other))
    assert learned.losses.weigh(root, weights)
    elements = elements_of(other, "none").reshape(TOKENS, ROWS).t()
    assert_equal(gradients(model, root), gradients(model, weighted(elements, root, weights)))


# -- the way from the root to the loss -------------------------------------------------------------


def test_two_terms_count_by_their_share_in_the_loss() -> None:
    model = linear(dtype=torch.float64)

    def step(b: Batch) -> Tensor:
        out = model(b[0])
        return (0.5 * F.mse_loss(out, b[2]) + F.cross_entropy(out, labels(b))) / 4 * 1024.0

    learned = Learned(step, on=batch(1, dtype=torch.float64))
    other, weights = batch(2, dtype=torch.float64), torch.rand(ROWS, dtype=torch.float64)
    root, out = step(other), model(other[0])
    likelihood = F.cross_entropy(out, labels(other), reduction="none")
    rows = likelihood + 0.5 * (out - other[2]).square().mean(1)
    read = learned.losses.read(root, ROWS)
    assert read is not None
    torch.testing.assert_close(read, rows.detach())
    assert learned.losses.weigh(root, weights)
    assert_equal(gradients(model, root), gradients(model, (rows * weights).mean() / 4 * 1024.0))


def test_the_factor_of_a_loss_scaler_or_of_accumulation_may_come_and_go() -> None:
    model = linear()

    def loss(b: Batch) -> Tensor:
        return F.cross_entropy(model(b[0]), b[1])

    learned, other = Learned(lambda b: loss(b) / 4), batch(2)
    expected = learned.replayed(other).float()
    for scaled in (loss(other), loss(other) * 65536.0 / 4, loss(other) / 4):
        read = learned.losses.read(scaled, ROWS)
        assert read is not None
        torch.testing.assert_close(read, expected)


def test_a_last_batch_with_fewer_rows_is_read() -> None:
    model = linear()
    learned = Learned(lambda b: F.cross_entropy(model(b[0]), labels(b)))
    short = batch(2, rows=2)
    root = F.cross_entropy(model(short[0]), labels(short))
    read = learned.losses.read(root, 2)
    assert read is not None
    expected = F.cross_entropy(model(short[0]), labels(short), reduction="none")
    torch.testing.assert_close(read, expected.detach())
    assert learned.losses.weigh(root, torch.ones(2))


def test_another_kind_of_step_is_not_read_nor_weighted() -> None:
    model = linear()
    learned = Learned(lambda b: F.cross_entropy(model(b[0]), b[1]))
    b = batch(2)
    deep = model(b[0]).exp().sum()
    for _ in range(300):
        deep = deep + 1
    others = {
        "another loss": F.mse_loss(model(b[0]), b[2]),
        "the same by hand": F.cross_entropy(model(b[0]), b[1], reduction="none").mean(),
        "no graph": torch.tensor(1.0, requires_grad=True),
        "rows that do not fit": F.cross_entropy(model(b[0][:4]), b[1][:4]),
        "far from the root": deep,
    }
    for what, root in others.items():
        assert learned.losses.read(root, ROWS) is None, what
        assert not learned.losses.weigh(root, torch.ones(ROWS)), what


def test_a_loss_that_a_single_sample_has_no_part_in_is_refused() -> None:
    model = linear()
    with pytest.raises(NotTraceable):
        Learned(lambda b: model(b[0]).logsumexp((0, 1)))


# -- how scripts train -----------------------------------------------------------------------------


class LossInside(nn.Module):
    """Computes its own loss, as the models of Hugging Face do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = linear()

    def forward(self, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        logits = self.head(inputs)
        return {"loss": F.cross_entropy(logits, targets), "logits": logits}


def test_a_loss_computed_inside_the_model_is_read() -> None:
    model = LossInside()
    learned, other = Learned(lambda b: model(b[0], b[1])["loss"] / 2), batch(2)
    read = learned.losses.read(model(other[0], other[1])["loss"] / 2, ROWS)
    assert read is not None
    torch.testing.assert_close(read.double(), learned.replayed(other), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:Using `torch.compile")
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_with_its_loss_outside_is_read(backend: str) -> None:
    plain = linear()
    model = torch.compile(plain, backend=backend)
    other = batch(2)

    def step(b: Batch) -> Tensor:
        return F.cross_entropy(model(b[0]), b[1])

    learned = Learned(step)
    read = learned.losses.read(step(other), ROWS)
    expected = F.cross_entropy(plain(other[0]), other[1], reduction="none")
    assert read is not None
    torch.testing.assert_close(read, expected.detach())


@pytest.mark.parametrize("name", ["cross entropy", "bce with logits", "square, by hand", "mse"])
def test_losses_under_autocast_are_those_of_the_replay(name: str) -> None:
    model, loss = linear(), LOSSES[name]

    def step(b: Batch) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return loss(model(b[0]), b, "mean")

    learned, other = Learned(step), batch(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):  # some scripts go backward inside it
        read = learned.losses.read(step(other), ROWS)
    assert read is not None
    assert read.dtype is torch.float32
    assert agrees(read, learned.replayed(other), 1e-2)


def test_bce_is_read_in_a_backward_under_autocast() -> None:
    model = linear()

    def step(b: Batch) -> Tensor:
        return F.binary_cross_entropy(model(b[0]).sigmoid(), b[2].sigmoid())

    learned, other = Learned(step), batch(2)
    root = step(other)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        read = learned.losses.read(root, ROWS)
    assert read is not None
    torch.testing.assert_close(read.double(), learned.replayed(other), rtol=1e-5, atol=1e-6)


def test_losses_are_read_behind_a_data_parallel_wrapper(
    one_rank: Callable[..., nn.Module],
) -> None:
    model = LossInside()
    wrapped = one_rank(model, find_unused_parameters=True)
    learned, other = Learned(lambda b: wrapped(b[0], b[1])["loss"]), batch(2)
    root = wrapped(other[0], other[1])["loss"]
    read = learned.losses.read(root, ROWS)
    assert read is not None
    torch.testing.assert_close(read.double(), learned.replayed(other), rtol=1e-5, atol=1e-6)
    weights = torch.rand(ROWS) + 0.5
    assert learned.losses.weigh(root, weights)
    ours = gradients(model, root)
    losses = F.cross_entropy(model.head(other[0]), other[1], reduction="none")
    reference = gradients(model, (losses * weights).sum() / (ROWS - 1))
    for a, b in zip(ours, reference, strict=True):
        torch.testing.assert_close(a, b)


@pytest.fixture
def one_rank(tmp_path: Any) -> Iterator[Callable[..., nn.Module]]:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        yield nn.parallel.DistributedDataParallel
    finally:
        torch.distributed.destroy_process_group()


# -- what is left behind ---------------------------------------------------------------------------


def test_a_graph_that_goes_backward_twice_is_weighted_once_each_time() -> None:
    model = linear(dtype=torch.float64)
    learned = Learned(
        lambda b: F.cross_entropy(model(b[0]), labels(b)), on=batch(1, dtype=torch.float64)
    )
    b, weights = batch(2, dtype=torch.float64), torch.rand(ROWS, dtype=torch.float64)
    root = F.cross_entropy(model(b[0]), labels(b))
    plain = gradients(model, root, retain_graph=True)
    assert learned.losses.weigh(root, weights)
    first = gradients(model, root, retain_graph=True)
    assert learned.losses.weigh(root, weights)
    second = gradients(model, root, retain_graph=True)
    assert_equal(second, first)
    assert not torch.allclose(first[0], plain[0])
    assert learned.losses.weigh(root, torch.ones(ROWS, dtype=torch.float64))
    assert_equal(gradients(model, root), plain)


def test_reading_and_weighing_with_ones_leave_the_gradients_bit_identical() -> None:
    model, b = linear(), batch(2)
    learned = Learned(lambda b: F.cross_entropy(model(b[0]), b[1], label_smoothing=0.1))
    root = F.cross_entropy(model(b[0]), b[1], label_smoothing=0.1)
    plain = gradients(model, root, retain_graph=True)
    learned.losses.read(root, ROWS)
    assert learned.losses.weigh(root, torch.ones(ROWS))
    ours = gradients(model, root)
    assert all(torch.equal(a, c) for a, c in zip(ours, plain, strict=True))


@pytest.mark.parametrize("name", ["cross entropy, smoothed", "focal, by hand"])
def test_a_step_dies_with_its_graph(name: str) -> None:
    model, loss, b = linear(), LOSSES[name], batch(2)
    learned = Learned(lambda b: loss(model(b[0]), b, "mean"))

    class Marker:
        pass

    with started(learned.losses):
        output = model(b[0])
        marker = Marker()
        alive = weakref.ref(marker)
        output.grad_fn.metadata["marker"] = marker
        root = loss(output, b, "mean")
        assert learned.losses.read(root, ROWS) is not None
        assert learned.losses.weigh(root, torch.rand(ROWS))
        root.backward()
        del marker, output, root
        assert alive() is None


def test_torch_has_its_own_functions_back_when_the_last_reader_stops() -> None:
    model = linear()
    learned = [
        Learned(lambda b: REMEMBERED["focal, by hand"](model(b[0]), b, "mean")).losses
        for _ in range(2)
    ]
    before = torch.mean, torch.sum, Tensor.mean, Tensor.sum
    learned[0].start()
    replaced = torch.mean
    assert replaced is not before[0]
    learned[0].start()
    learned[1].start()
    assert torch.mean is replaced
    learned[0].stop()
    learned[0].stop()
    assert torch.mean is not before[0]
    learned[1].stop()
    assert (torch.mean, torch.sum, Tensor.mean, Tensor.sum) == before
    assert "mean" not in vars(Tensor)


def test_what_is_learned_while_another_reader_runs_is_read_without_it() -> None:
    model, loss, b = linear(), REMEMBERED["focal, by hand"], batch(2)

    def step(b: Batch) -> Tensor:
        return loss(model(b[0]), b, "mean")

    with started(Learned(step).losses):
        second = Learned(step).losses
    with started(second):
        assert second.read(step(b), ROWS) is not None


def test_a_wrapper_that_somebody_else_put_on_top_stays_and_does_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    means.start()
    ours = torch.mean
    with monkeypatch.context() as patched:
        patched.setattr(torch, "mean", lambda *a, **k: ours(*a, **k))
        theirs = torch.mean
        means.stop()
        assert torch.mean is theirs
        loss = torch.mean(torch.ones(3, requires_grad=True))
        assert means.remembered(loss.grad_fn) is None
    monkeypatch.setattr(torch, "mean", ours.__wrapped__)


def test_means_of_everything_and_no_others_are_remembered() -> None:
    x = torch.arange(6.0).reshape(3, 2).requires_grad_()
    means.start()
    try:
        for whole in (x.mean(), torch.mean(x), x.sum(), torch.sum(x, dtype=torch.float64)):
            elements = means.remembered(whole.grad_fn)
            assert elements is not None
            assert elements.tolist() == [[0, 1], [2, 3], [4, 5]]
            assert not elements.requires_grad
        assert means.remembered(x.mean((0, 1)).grad_fn) is None
        assert means.remembered(x.sum(0).grad_fn) is None
        with torch.no_grad():
            assert x.mean().grad_fn is None
    finally:
        means.stop()


def test_the_elements_kept_of_a_divergence_hold_no_graph() -> None:
    means.start()
    try:
        x = torch.zeros(2, 3, requires_grad=True)
        loss = F.kl_div(x, torch.ones(2, 3), reduction="sum")
        elements = means.remembered(loss.grad_fn)
        assert elements is not None
        assert not elements.requires_grad
    finally:
        means.stop()


def test_code_is_compiled_and_scripted_as_ever_while_means_are_remembered() -> None:
    def by_function(x: Tensor) -> Tensor:
        return torch.mean(x * 2)

    def by_method(x: Tensor) -> Tensor:
        return (x * 2).sum()

    x = torch.ones(3, requires_grad=True)
    means.start()
    try:
        compiled = torch.compile(by_function, backend="eager", fullgraph=True)
        assert compiled(x).item() == 2.0
        assert torch.compile(by_method, backend="eager", fullgraph=True)(x).item() == 6.0
        with pytest.warns(DeprecationWarning):
            assert torch.jit.script(by_function)(x).item() == 2.0
    finally:
        means.stop()


@pytest.mark.parametrize("name", ["cross entropy, smoothed", "focal, by hand"])
def test_a_resumed_job_reads_from_its_first_step_on(name: str) -> None:
    model, loss = linear(), LOSSES[name]

    def step(b: Batch) -> Tensor:
        return loss(model(b[0]), b, "mean") / 2

    learned, other = Learned(step), batch(2)
    file = io.BytesIO()
    torch.save(learned.losses.describe(), file)
    file.seek(0)
    resumed = StepLosses.from_description(torch.load(file, weights_only=True))
    assert resumed.describe() == learned.losses.describe()
    with started(resumed):
        read = resumed.read(step(other), ROWS)
    assert read is not None
    torch.testing.assert_close(read.double(), learned.replayed(other), rtol=1e-5, atol=1e-6)


def test_a_description_of_another_version_is_refused() -> None:
    terms = [{"kind": "of a later version", "nth": 0, "share": 1.0, "path": []}]
    with pytest.raises(KeyError):
        StepLosses.from_description({"terms": terms, "batch_first": True, "remembers": False})


def test_losses_agree_within_a_part_of_their_mean_size() -> None:
    replayed = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert agrees(replayed.float() + 0.001, replayed, 1e-3)
    assert not agrees(replayed + torch.tensor([0.0, 0.0, 0.01]), replayed, 1e-3)
    assert not agrees(replayed[:2], replayed, 1e-3)
    assert not agrees(torch.tensor([1.0, 2.0, float("nan")]), replayed, 1e-3)
