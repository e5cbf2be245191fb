"""Complex weights, sparse gradients, float16: what is computed is right, and what cannot be is refused by name."""

import copy

import pytest
import torch
from small_networks import scores_of
from torch import nn
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.criteria import RIA, Gradient, GraSP, Movement, Snip, SynFlow, Taylor, Wanda
from budbreak.errors import InvalidValue
from budbreak.evidence import rehearse
from budbreak.testing import mlp, separable

X, Y = separable(24, noise=1.0)
TOKENS, LABELS = torch.randint(20, (6, 5), generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3


class Words(nn.Module):
    def __init__(self, *, sparse):
        super().__init__()
        self.table, self.head = nn.Embedding(20, 4, sparse=sparse), nn.Linear(4, 3)
        generator = torch.Generator().manual_seed(1)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)

    def forward(self, ids):
        return self.head(torch.tanh(self.table(ids)).mean(1))


OPTIONS = {"batches": [(TOKENS, LABELS)], "loss": cross_entropy, "prunable": bb.including("table.weight")}


@pytest.mark.parametrize("criterion", [Gradient(), Taylor(), Snip("train"), GraSP(1.0), SynFlow()], ids=str)
def test_sparse_gradients_are_those_of_a_dense_table(criterion):
    expected, found = (scores_of(criterion, Words(sparse=sparse), **OPTIONS) for sparse in (False, True))
    for name, scores in expected.items():
        torch.testing.assert_close(found[name], scores)


def test_sparse_gradients_are_watched_in_a_rehearsal():
    observers = Movement().needs[1:]
    seen = [rehearse(Words(sparse=sparse), observers, **OPTIONS)[observers[0]] for sparse in (False, True)]
    for name, sums in seen[0].items():
        torch.testing.assert_close(seen[1][name], sums)


class Waves(nn.Module):
    def __init__(self):
        super().__init__()
        self.waves, self.head = nn.Linear(8, 6, dtype=torch.complex64), nn.Linear(6, 3)
        self.second = nn.Linear(6, 6, dtype=torch.complex64)

    def forward(self, x):
        return self.head(self.second(self.waves(x.to(torch.complex64))).abs())


@pytest.mark.parametrize("criterion", [Wanda(), RIA()], ids=str)
def test_complex_weights_meet_the_magnitudes_of_their_inputs(criterion):
    model = Waves()
    found = scores_of(criterion, model, [X])["second.weight"]
    with torch.no_grad():
        norms = model.waves(X.to(torch.complex64)).abs().double().norm(dim=0)
    magnitudes = model.second.weight.detach().abs().double()
    shares = magnitudes / magnitudes.sum(1, keepdim=True) + magnitudes / magnitudes.sum(0)
    expected = magnitudes * norms if criterion == Wanda() else shares * norms.sqrt()
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("criterion", [GraSP(), SynFlow()], ids=str)
def test_what_has_no_answer_for_complex_weights_says_so(criterion):
    with pytest.raises(InvalidValue, match=r"'waves\.weight' is torch\.complex64\n.*needs real weights\nleave it out"):
        bb.prune(Waves(), sparsity=0.5, criterion=criterion, batches=[(X, Y)], loss=cross_entropy)


def test_second_derivatives_in_float16_are_refused():
    model, half = mlp(), [(X.half(), Y)]
    with pytest.raises(InvalidValue, match=r"'0\.weight' is torch\.float16\n.*below 6e-8.*\n.*\.float\(\)"):
        bb.prune(copy.deepcopy(model).half(), sparsity=0.5, criterion=GraSP(), batches=half, loss=cross_entropy)
    bb.prune(copy.deepcopy(model).half(), sparsity=0.5, criterion=Taylor(), batches=half, loss=cross_entropy)
