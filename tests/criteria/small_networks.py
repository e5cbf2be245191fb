"""Data and networks for the tests of criteria that look at a network."""

import torch
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.testing import separable

X, Y = separable(24, noise=1.0)
X = X.double()
BATCHES = [(X[:10], Y[:10]), (X[10:], Y[10:])]


def scores_of(criterion, model, batches=BATCHES, loss=cross_entropy, **options):
    """All scores of a live network, by name."""
    evidence = bb.probe(model, criterion.needs, batches=batches, loss=loss, **options)
    return {name: score.tensor() for name, score in criterion(evidence).items()}


def weights_of(model):
    """The prunable weights, live."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.dim() > 1}


def images(*shape, seed=0):
    """Random images in float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
