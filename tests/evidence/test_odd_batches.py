"""Batches without samples, and batches of several kinds: what passes, and what the messages say."""

import pytest
import torch
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.criteria import APoZ, Gradient, GraSP, Lookahead, SynFlow, Wanda
from budbreak.errors import EmptyBatches, InvalidValue
from budbreak.testing import mlp, separable

X, Y = separable(24, noise=1.0)
EMPTY = (X[:0], Y[:0])
OF_LOSS, OF_FIRST = [Gradient(), GraSP(1.0)], [Lookahead(), SynFlow(rounds=2)]
CRITERIA = [*OF_LOSS, *OF_FIRST, Wanda(), APoZ()]


def pruned(criterion, batches):
    return bb.prune(mlp(), sparsity=0.3, criterion=criterion, batches=batches, loss=cross_entropy)


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: type(criterion).__name__)
def test_a_batch_without_samples_changes_nothing(criterion):
    expected = pruned(criterion, [(X, Y)])
    for batches in ([EMPTY, (X, Y)], [(X, Y), EMPTY], [EMPTY, EMPTY, (X, Y)]):
        assert pruned(criterion, batches) == expected


@pytest.mark.parametrize("criterion", CRITERIA, ids=lambda criterion: type(criterion).__name__)
def test_batches_without_any_sample_are_refused(criterion):
    with pytest.raises(EmptyBatches, match=r"the batches hold no samples|no label of the batches counts"):
        pruned(criterion, [EMPTY, EMPTY])


@pytest.mark.parametrize("criterion", OF_LOSS, ids=lambda criterion: type(criterion).__name__)
def test_a_later_batch_of_another_kind_is_named(criterion):
    pair = r"a tuple \(float32 \[24, 8\], int64 \[24\]\)"
    with pytest.raises(InvalidValue, match=rf"^batch 1 is float32 \[24, 8\], the first {pair}: the loss, given"):
        pruned(criterion, [(X, Y), X])
    with pytest.raises(InvalidValue, match=rf"^batch 2 is a dict \(float32 \[24, 8\]\), the first {pair}: the targets"):
        pruned(criterion, [(X, Y), (X, Y), {"input": X}])
    with pytest.raises(InvalidValue, match=r"^batch 1: the loss, given .* raised IndexError: Target 5"):
        pruned(criterion, [(X, Y), (X, Y + 5)])


def test_a_later_batch_that_the_model_does_not_take_is_named():
    with pytest.raises(InvalidValue, match=r"^batch 1 is a list \(float32 \[24, 5\]\), the first a list .*: the model"):
        pruned(Wanda(), [[X], [X[:, :5]]])
    with pytest.raises(InvalidValue, match=r"^the model, given a list \(float32 \[24, 5\]\)"):
        pruned(Wanda(), [[X[:, :5]], [X]])


def test_an_iteration_names_it_before_it_trains():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.5, levels=1), criterion=Gradient())
    with pytest.raises(InvalidValue, match=r"^batch 1 is float32 \[24, 8\], the first a tuple"):
        bb.iterate(model, optimizer, plan, batches=[(X, Y), X], loss=cross_entropy)


@pytest.mark.parametrize("target", [None, Y.tolist(), Y.numpy(), 3, "cat"], ids=lambda t: type(t).__name__)
def test_targets_that_are_no_tensor_are_refused_with_what_to_give(target):
    with pytest.raises(
        InvalidValue, match=r"the targets are .*\n.*\ngive batches of \(inputs, targets\), both of them"
    ):
        pruned(Gradient(), [(X, target)])


def test_a_single_batch_by_keyword_is_no_list_of_batches():
    for batches in ({"input": X}, {"a": (X, Y)}):
        with pytest.raises(
            InvalidValue, match=r"batches is \{.*\nit is an iterable of batches\n.*batches=\[\{\.\.\.\}\]"
        ):
            pruned(Wanda(), batches)
    with pytest.raises(InvalidValue, match=r"batches is 'data'\nit is an iterable of batches"):
        pruned(Wanda(), "data")
    assert pruned(Wanda(), [{"input": X}]) == pruned(Wanda(), [X])


def test_a_batch_of_nothing_is_counted_in_words():
    with pytest.raises(InvalidValue, match=r"a batch of 0 items\n"):
        pruned(Gradient(), [()])
    with pytest.raises(InvalidValue, match=r"a batch of 1 item\n"):
        pruned(Gradient(), [(X,)])
