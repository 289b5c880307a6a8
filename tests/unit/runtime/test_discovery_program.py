"""A program taken from one step gives the per-sample losses of another batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from smart_sifting.discovery.program import NotTraceable, Program, program_of, released
from smart_sifting.discovery.replay import ReplayScorer, independent_scorer
from smart_sifting.discovery.tape import Handed, Tape
from smart_sifting.scoring_cost import Way, WindowScorer

ROWS = 6


class Recorder:
    """Runs one training step under a tape and keeps its program, or why there is none."""

    def __init__(self) -> None:
        self.tape = Tape(self._on_backward)
        self.program: Program | None = None
        self.handed: Handed | None = None
        self.refused: str | None = None

    def step(self, batch: Any, loss_of: Callable[[Any], Tensor], loader: object = "one") -> Program:
        self.tape.start()
        self.tape.hand_out(batch, ROWS, loader)
        loss_of(batch).backward()
        if self.program is None:
            raise NotTraceable(str(self.refused))
        return released(self.program)

    def _on_backward(self, root: Tensor) -> None:
        try:
            self.program, self.handed = program_of(self.tape, root)
        except NotTraceable as why:
            self.refused = str(why)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.tape.stop()


def batch(seed: int, rows: int = ROWS) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(rows, 4, generator=generator),
        torch.randint(0, 3, (rows,), generator=generator),
    ]


def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def test_two_terms_count_by_their_share_in_the_loss(recorder: Recorder) -> None:
    model = linear()

    def loss_of(b: list[Tensor]) -> Tensor:
        out = model(b[0])
        return F.cross_entropy(out, b[1]) + 0.25 * (out**2).mean()

    scorer = ReplayScorer(recorder.step(batch(1), loss_of), ROWS)

    other = batch(2)
    with torch.no_grad():
        out = model(other[0])
        expected = F.cross_entropy(out, other[1], reduction="none") + 0.25 * (out**2).mean(1)
    scores = scorer(other, other, ROWS)
    assert torch.allclose(scores.losses, expected.double())
    assert scores.labels is not None
    assert scores.labels.tolist() == other[1].tolist()


def test_a_likelihood_that_is_to_grow_scores_high_where_it_is_small(recorder: Recorder) -> None:
    model = linear()

    def negative_log_likelihood(b: list[Tensor]) -> Tensor:
        return -F.log_softmax(model(b[0]), dim=1).gather(1, b[1][:, None]).mean()

    scorer = ReplayScorer(recorder.step(batch(1), negative_log_likelihood), ROWS)

    other = batch(2)
    expected = F.cross_entropy(model(other[0]), other[1], reduction="none")
    assert torch.allclose(scorer(other, other, ROWS).losses, expected.detach().double())


def test_a_loss_scaler_falls_out_of_the_scores(recorder: Recorder) -> None:
    model = linear()
    program = recorder.step(batch(1), lambda b: F.cross_entropy(model(b[0]), b[1]) * 65536)

    other = batch(2)
    expected = F.cross_entropy(model(other[0]), other[1], reduction="none")
    assert program.terms[0].weight == 65536
    assert torch.allclose(
        ReplayScorer(program, ROWS)(other, other, ROWS).losses, expected.detach().double()
    )


@pytest.mark.parametrize("rows", [1, 5, 6, 7, 20])
def test_a_batch_of_any_size_is_scored_though_the_script_holds_its_own_in_a_shape(
    rows: int, recorder: Recorder
) -> None:
    model = linear()
    program = recorder.step(
        batch(1), lambda b: F.cross_entropy(model(b[0].view(len(b[0]), 4)), b[1])
    )

    other = batch(2, rows)
    expected = F.cross_entropy(model(other[0]), other[1], reduction="none")
    scores = ReplayScorer(program, ROWS)(other, other, rows)
    assert torch.allclose(scores.losses, expected.detach().double())
    assert scores.labels is not None
    assert scores.labels.tolist() == other[1].tolist()


def test_tokens_that_lie_time_first_are_told_apart_by_sample(recorder: Recorder) -> None:
    torch.manual_seed(0)
    table = nn.Embedding(9, 9)
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, 9, (ROWS, 5), generator=generator)

    def loss_of(b: list[Tensor]) -> Tensor:
        time_first = b[0].t()
        return F.cross_entropy(table(time_first[:-1]).reshape(-1, 9), time_first[1:].reshape(-1))

    program = recorder.step([tokens], loss_of)
    scorer = independent_scorer(program, [tokens], ROWS)

    logits = table(tokens[:, :-1]).transpose(1, 2)
    expected = F.cross_entropy(logits, tokens[:, 1:], reduction="none").mean(1)
    assert scorer.batch_first is False
    assert torch.allclose(scorer([tokens], [tokens], ROWS).losses, expected.detach().double())


def test_a_window_at_once_scores_as_its_batches_do(recorder: Recorder) -> None:
    model = linear()
    program = recorder.step(batch(1), lambda b: F.cross_entropy(model(b[0]), b[1]))
    scorer = ReplayScorer(program, ROWS)

    window = batch(2, 3 * ROWS)
    scores = scorer(window, window, 3 * ROWS, at_once=True)
    assert torch.allclose(scores.losses, scorer(window, window, 3 * ROWS).losses)
    assert scores.labels is not None
    assert scores.labels.tolist() == window[1].tolist()


@pytest.mark.parametrize("held", [False, True], ids=["any size", "its size held in a shape"])
def test_a_window_is_scored_at_once_unless_the_script_holds_its_batch_size(
    held: bool, recorder: Recorder
) -> None:
    model = linear()

    def loss_of(b: list[Tensor]) -> Tensor:
        rows = b[0].reshape(ROWS, -1)[:, :4] if held else b[0]
        return F.cross_entropy(model(rows), b[1])

    program = recorder.step(batch(1), loss_of)
    forwards: list[None] = []
    model.register_forward_hook(lambda *_: forwards.append(None))
    scorer = WindowScorer(ReplayScorer(program, ROWS), clock=lambda: float(len(forwards)))
    window = [(each, each, ROWS) for each in (batch(2), batch(3))]
    for _ in range(4):
        losses = scorer(window).losses
    expected = [F.cross_entropy(model(x), y, reduction="none") for (x, y), _, _ in window]
    assert scorer.way == Way(at_once=not held)
    assert torch.allclose(losses, torch.cat(expected).double())


def test_ignored_tokens_do_not_count(recorder: Recorder) -> None:
    torch.manual_seed(0)
    table = nn.Embedding(9, 9)
    tokens = torch.arange(ROWS * 4).reshape(ROWS, 4) % 9
    labels = torch.where(tokens > 5, torch.tensor(-100), tokens)

    program = recorder.step(
        [tokens, labels], lambda b: F.cross_entropy(table(b[0]).view(-1, 9), b[1].view(-1))
    )

    element = F.cross_entropy(table(tokens).view(-1, 9), labels.view(-1), reduction="none")
    counted = (labels != -100).sum(1)
    expected = element.view(ROWS, 4).sum(1) / counted.clamp_min(1)
    scores = ReplayScorer(program, ROWS)([tokens, labels], [tokens, labels], ROWS)
    assert torch.allclose(scores.losses, expected.detach().double())


def test_scoring_changes_nothing_that_the_script_holds(recorder: Recorder) -> None:
    model = linear()

    def loss_of(b: list[Tensor]) -> Tensor:
        b[0].add_(1.0)
        return F.cross_entropy(model(b[0]), b[1])

    program = recorder.step(batch(1), loss_of)
    other = batch(2)
    before = other[0].clone()
    ReplayScorer(program, ROWS)(other, other, ROWS)

    assert torch.equal(other[0], before)
    assert model.training


@pytest.mark.parametrize(
    ("loss_of", "why"),
    [
        (
            lambda m, b: F.cross_entropy(m(torch.ones(6, 4)), torch.zeros(6, dtype=torch.long)),
            "the loss could not be traced back to a batch",
        ),
        (
            lambda m, b: F.cross_entropy(m(b[0]), b[1], reduction="none").max(),
            "the loss is not a mean or a sum of per-sample losses",
        ),
        (
            lambda m, b: F.cross_entropy(m(b[0]), b[1]) + m.weight.abs().sum(),
            "the loss has terms that do not come from the batch sample by sample",
        ),
    ],
)
def test_a_loss_that_cannot_be_opened_says_why(
    loss_of: Callable[..., Tensor], why: str, recorder: Recorder
) -> None:
    model = linear()
    with pytest.raises(NotTraceable) as refused:
        recorder.step(batch(1), lambda b: loss_of(model, b))
    assert str(refused.value) == why


def test_a_loss_over_two_loaders_says_so(recorder: Recorder) -> None:
    model = linear()
    first = batch(1)
    recorder.tape.start()
    recorder.tape.hand_out(first, ROWS, "labelled")
    with pytest.raises(NotTraceable) as refused:
        recorder.step(
            batch(2),
            lambda b: (
                F.cross_entropy(model(b[0]), b[1]) + F.mse_loss(model(first[0]), first[0][:, :3])
            ),
            "unlabelled",
        )
    assert str(refused.value) == "the loss depends on batches of two loaders"


def test_a_memory_of_earlier_batches_says_so(recorder: Recorder) -> None:
    model = linear()
    first = batch(1)
    recorder.tape.start()
    recorder.tape.hand_out(first, ROWS, "one")
    remembered = model(first[0]).detach()
    with pytest.raises(NotTraceable) as refused:
        recorder.step(batch(2), lambda b: F.mse_loss(model(b[0]), remembered))
    assert str(refused.value) == "the loss depends on several batches at once"


def test_a_stopped_tape_holds_no_tensor(recorder: Recorder) -> None:
    model = linear()
    recorder.step(batch(1), lambda b: F.cross_entropy(model(b[0]), b[1]))
    recorder.tape.stop()

    assert recorder.tape.handed == {}
    assert recorder.tape.producers == {}
    assert recorder.tape.called == {}
    assert torch.overrides._len_torch_function_stack() == 0  # type: ignore[attr-defined]


def test_a_long_watch_remembers_the_last_batches_alone(recorder: Recorder) -> None:
    model = linear()
    for seed in range(20):
        recorder.step(batch(seed), lambda b: F.cross_entropy(model(b[0]), b[1]))

    assert sorted(recorder.tape.handed) == [17, 18, 19, 20]
    # Two tensors of the batch, the model's output and the loss, for each of the four.
    assert len(recorder.tape.origins) == 16


def test_batches_fetched_ahead_of_the_model_are_remembered_until_it_has_had_them(
    recorder: Recorder,
) -> None:
    """Hugging Face's Trainer fetches all batches of an update before it trains on the first."""
    model = linear()
    recorder.tape.start()
    ahead = [batch(seed) for seed in range(10)]
    for each in ahead:
        recorder.tape.hand_out(each, ROWS, "one")
    assert recorder.tape.ahead == 10

    for number, each in enumerate(ahead, start=1):
        F.cross_entropy(model(each[0]), each[1]).backward()
        assert recorder.handed is not None and recorder.handed.number == number
        assert recorder.tape.ahead == 10 - number


def test_what_is_held_of_batches_fetched_ahead_is_bounded(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smart_sifting.discovery.tape.BATCHES_AHEAD", 20)
    recorder.tape.start()
    for seed in range(40):
        recorder.tape.hand_out(batch(seed), ROWS, "one")
    assert sorted(recorder.tape.handed) == list(range(18, 41))

    one = sum(leaf.nbytes for leaf in batch(0))
    monkeypatch.setattr("smart_sifting.discovery.tape.BYTES_AHEAD", 6 * one)
    recorder.tape.hand_out(batch(0), ROWS, "one")
    assert sorted(recorder.tape.handed) == list(range(36, 42))


def test_a_number_counted_over_several_batches_is_a_constant_of_the_step_on_one(
    recorder: Recorder,
) -> None:
    model = linear()
    recorder.tape.start()
    group = [batch(seed) for seed in range(3)]
    for each in group:
        recorder.tape.hand_out(each, ROWS, "one")
    count = sum((labels != 0).sum() for _, labels in group)

    inputs, labels = group[1]
    loss = F.cross_entropy(model(inputs), labels, reduction="sum") / count
    loss.backward()

    assert recorder.refused is None
    assert recorder.handed is not None and recorder.handed.number == 2
    assert recorder.program is not None
    assert recorder.program.terms[0].weight == pytest.approx(1 / float(count))


@pytest.mark.parametrize("inside", [False, True], ids=["of the script", "of the model"])
def test_a_loss_that_is_scaled_in_place_is_the_one_before(recorder: Recorder, inside: bool) -> None:
    """`loss /= 4` is how gradients are often accumulated; Hugging Face's Trainer does the like."""
    layer = linear()

    class WithLoss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
            return F.cross_entropy(self.layer(inputs), labels)

    model = WithLoss()
    whole: list[float] = []

    def loss_of(b: list[Tensor]) -> Tensor:
        loss = model(*b) if inside else F.cross_entropy(layer(b[0]), b[1])
        whole.append(float(loss.detach()))
        loss /= 4
        return loss

    (term,) = recorder.step(batch(1), loss_of).terms

    assert (term.value, term.weight) == pytest.approx((whole[0], 0.25))


def test_a_function_that_is_compiled_in_one_piece_stays_in_one_piece(recorder: Recorder) -> None:
    """`fullgraph=True` fails where anything breaks its graph."""
    model = linear()
    compiled = torch.compile(
        lambda inputs, labels: F.cross_entropy(model(inputs), labels),
        backend="eager",
        fullgraph=True,
    )
    recorder.step(batch(1), lambda b: compiled(*b))

    assert model.weight.grad is not None


# The compiler itself looks at the gradient of everything that a frame is called with.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_what_listens_to_a_compiled_step_is_not_compiled_with_it() -> None:
    compiling: list[bool] = []
    tape = Tape(lambda root: compiling.append(torch.compiler.is_compiling()))
    model = linear()

    @torch.compile(backend="eager")
    def step(inputs: Tensor, labels: Tensor) -> None:
        F.cross_entropy(model(inputs), labels).backward()

    tape.start()
    tape.hand_out(batch(1), ROWS, "one")
    step(*batch(1))
    tape.stop()

    assert compiling == [False]


def test_a_forward_that_fails_leaves_the_tape_reading(recorder: Recorder) -> None:
    """Scripts catch errors of a batch, as when memory is short, and go on."""

    class Failing(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            raise MemoryError

    failing = Failing(4, 3)
    recorder.tape.start()
    recorder.tape.hand_out(batch(0), ROWS, "one")
    with pytest.raises(MemoryError):
        failing(batch(0)[0])

    model = linear()
    recorder.step(batch(1), lambda b: F.cross_entropy(model(b[0]), b[1]))
    assert [node.module for node in recorder.program.nodes][:1] == [model]  # type: ignore[union-attr]


def test_modules_run_again_by_activation_checkpointing_are_no_calls_of_the_script(
    recorder: Recorder,
) -> None:
    first, last = nn.Linear(4, 8), nn.Linear(8, 3)

    def loss_of(b: list[Tensor]) -> Tensor:
        return F.cross_entropy(last(checkpoint(first, b[0], use_reentrant=False)), b[1])

    recorder.step(batch(1), loss_of)
    calls = len(recorder.tape.producers)
    assert calls == 3  # first, last and the loss
    assert list(recorder.tape.called.values()) == [first, last]


def test_a_device_block_that_ends_while_the_tape_runs_ends_well(recorder: Recorder) -> None:
    with torch.device("meta"):
        recorder.tape.start()
        assert torch.empty(1).device.type == "meta"
    assert torch.empty(1).device.type == "cpu"
    assert recorder.tape.running


def test_a_default_device_that_changes_while_the_tape_runs_is_the_new_one(
    recorder: Recorder,
) -> None:
    torch.set_default_device("meta")
    try:
        recorder.tape.start()
        torch.set_default_device("cpu")
        assert torch.empty(1).device.type == "cpu"
        torch.set_default_device("meta")
        recorder.tape.stop()
        assert torch.empty(1).device.type == "meta"
    finally:
        torch.set_default_device(None)
    assert torch.empty(1).device.type == "cpu"
