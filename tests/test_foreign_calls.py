"""A model or loss that raises on a batch is one error: what it was given, how it is called, what to write."""

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue
from budbreak.testing import mlp

LOSS = nn.functional.cross_entropy
X, Y = torch.rand(6, 8), torch.zeros(6, dtype=torch.long)


@pytest.mark.parametrize(
    ("batches", "options", "words"),
    [
        (
            [(torch.rand(5, 7), Y[:5])],
            {},
            r"the model, given a tuple \(float32 \[5, 7\], int64 \[5\]\), raised Runtime",
        ),
        ([(Y, X)], {}, "raised RuntimeError"),
        ([X], {}, r"the loss, given float32 \[6, \d+\] and float32 \[6, 8\], raised"),
        ([(X, Y[:3])], {}, r"and int64 \[3\], raised ValueError"),
        ([(X, Y + 99)], {}, "raised IndexError: Target 99"),
        ([(X, Y)], {"loss": lambda outputs: outputs.sum()}, r"raised TypeError(.|\n)*loss\(outputs, targets\)"),
        ([(X, Y)], {"forward": lambda model: model(X)}, r"forward, given(.|\n)*forward\(model, batch\)"),
    ],
)
def test_a_batch_that_does_not_fit_is_one_error(batches, options, words):
    with pytest.raises(InvalidValue, match=words) as caught:
        bb.prune(mlp(), sparsity=0.5, criterion=bb.criteria.Taylor(), batches=batches, **{"loss": LOSS, **options})
    assert caught.value.fix.startswith("give batches")


def test_dead_neurons_say_the_same():
    with pytest.raises(InvalidValue, match=r"the model, given float32 \[5, 7\], raised RuntimeError"):
        bb.dead_neurons(mlp(), [torch.rand(5, 7)])
    with pytest.raises(InvalidValue, match=r"given a dict \(float32 \[6, 8\]\), raised TypeError(.|\n)*by keyword"):
        bb.dead_neurons(mlp(), [{"inputs": X}])


def test_a_calibration_set_that_does_not_fit_is_refused_before_anything_is_trained():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    plan = bb.Plan(schedule=bb.schedules.OneShot(sparsity=0.5), criterion=bb.criteria.Taylor())
    with pytest.raises(InvalidValue, match=r"given a tuple \(float32 \[5, 7\]"):
        bb.iterate(model, optimizer, plan, batches=[(torch.rand(5, 7), Y[:5])], loss=LOSS)
