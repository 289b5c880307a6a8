"""The figure that a log ends with."""

from __future__ import annotations

import math

import pytest

from sift_launcher.errors import MetricNotFound, OptionError
from sift_launcher.pilot.metric import asked_for, missing, usual


@pytest.mark.parametrize(
    ("log", "name", "value"),
    [
        ("epoch 0 accuracy 0.91\nepoch 1: loss 0.1 accuracy 0.93\ndone\n", "accuracy", 0.93),
        ("Test set: Average loss: 0.03, Accuracy: 9905/10000 (99%)", "accuracy", 0.9905),
        ("{'eval_loss': 0.31, 'eval_accuracy': 0.9}\n{'train_loss': 0.2}", "accuracy", 0.9),
        ("│   test_acc   │    0.9130    │", "acc", 0.913),
        (" * Acc@1 71.250 Acc@5 90.1", "acc", 71.25),
        ("\x1b[32mTop-1\x1b[0m: 71.2%", "top-1", 71.2),
        ("F1 score = .88", "f1", 0.88),
        ("val roc_auc 0.75", "auc", 0.75),
        ("valid ppl 1.25e1", "perplexity", 12.5),
        ("  3%| | loss=2.5\r 100%|#| loss=1.5\n", "loss", 1.5),
    ],
)
def test_the_usual_words_are_found(log, name, value):
    metric = usual(log)
    assert metric.name == name
    assert metric.last(log).value == value


def test_held_out_figures_come_before_others_and_those_of_training_are_none():
    log = "val acc 0.9, acc 0.5, train acc: 0.99\n"
    assert usual(log).last(log).value == 0.9
    log = "train_acc 0.99\nacc 0.5\ntraining acc: 0.98\n"
    assert usual(log).last(log).value == 0.5


def test_the_line_of_the_figure_is_told():
    log = "accuracy 0.1\n  epoch 9: accuracy 0.93 (best)\nbye"
    assert usual(log).last(log).line == "epoch 9: accuracy 0.93 (best)"
    bar = " 50%|# | acc=0.5\r100%|##| acc=0.6\n"
    assert usual(bar).last(bar).line == "100%|##| acc=0.6"


def test_losses_and_perplexities_are_the_better_the_lower():
    assert usual("val loss 0.5").lower_is_better
    assert usual("ppl 12").lower_is_better
    assert not usual("accuracy 0.5").lower_is_better


def test_a_loss_that_may_be_of_training_batches_comes_with_a_caution():
    assert usual("loss 0.5").caution.startswith("if that is the loss of training batches")
    assert usual("val_loss 0.5").caution is None


def test_a_loss_that_is_no_number_is_a_figure():
    assert math.isnan(usual("test loss: nan").last("test loss: nan").value)


@pytest.mark.parametrize(
    "log",
    [
        "",
        "done\n",
        "accuracy of the model\n",
        "train loss: 0.3\n",
        "lossless 3, interval_accuracyx 5\n",
        "sift: the mean loss is 0.5\n",
    ],
)
def test_a_log_without_a_figure_says_what_to_type(log):
    with pytest.raises(MetricNotFound) as missed:
        usual(log)
    assert str(missed.value) == (
        "its log has no figure by a usual name (accuracy, acc, top-1, f1, auc, perplexity, loss): "
        "say how to read it, as in --metric 'test accuracy: ([0-9.]+)'"
    )


def test_an_expression_takes_its_last_match():
    metric = asked_for(r"score=(-?\d+)/10", lower_is_better=True)
    assert (metric.name, metric.lower_is_better) == ("score", True)
    assert metric.last("score=3/10 score=-4/10\nother\n").value == -4
    assert metric.last("no such thing") is None


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("test accuracy: ([0-9.]+)", "test accuracy"),
        (r"acc\s*=\s*([\d.]+)", "acc"),
        (r"^([\d.]+)$", "metric"),
    ],
)
def test_an_expression_has_a_name_for_the_table(expression, name):
    assert asked_for(expression, lower_is_better=False).name == name


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("accuracy", "--metric 'accuracy' has no group: put the figure in parentheses"),
        ("(", "--metric '(' is no regular expression (missing ), unterminated subpattern"),
    ],
)
def test_an_expression_that_cannot_be_used_is_refused(expression, told):
    with pytest.raises(OptionError) as refused:
        asked_for(expression, lower_is_better=False)
    assert str(refused.value).startswith(told)
    assert "--metric 'test accuracy: ([0-9.]+)'" in str(refused.value)


@pytest.mark.parametrize("expression", ["accuracy: (.*)", "accuracy: (x)?"])
def test_a_group_that_is_no_number_is_refused(expression):
    with pytest.raises(OptionError, match="which is no number: put the figure alone"):
        asked_for(expression, lower_is_better=False).last("accuracy: high")


def test_the_form_of_a_launch_is_recognised_where_nothing_matches():
    metric = asked_for("acc=accuracy: ([0-9.]+)", lower_is_better=False)
    assert str(missing(metric)) == (
        "no line of its log matches --metric 'acc=accuracy: ([0-9.]+)'; here the expression "
        "stands alone, as in --metric 'accuracy: ([0-9.]+)'"
    )
