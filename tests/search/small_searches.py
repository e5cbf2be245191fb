"""A search that takes milliseconds: a pruned network, data, training and scoring."""

import torch
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.activations import ReLU, Swish, Symlog, Tanh, parameter_groups
from budbreak.testing import mlp, separable

X, Y = separable(60, noise=1.0)
CHOICES = (ReLU(), Swish(trainable=True), Tanh(), Symlog())


def pruned(sparsity=0.6, seed=0):
    model = mlp(hidden=8, seed=seed)
    return model, bb.prune(model, sparsity=sparsity)


def train(model):
    """Three steps with all that makes weights come back: momentum, weight decay; and batches that are drawn."""
    optimizer = torch.optim.SGD(parameter_groups(model), lr=0.2, momentum=0.9, weight_decay=1e-2)
    for batch in torch.randperm(60).split(20):
        optimizer.zero_grad()
        cross_entropy(model(X[batch]), Y[batch]).backward()
        optimizer.step()


def evaluate(model):
    with torch.no_grad():
        return float((model(X).argmax(1) == Y).float().mean())


def search(model=None, mask=None, **changes):
    """Arguments at their usual values, but for these."""
    if model is None:
        model, mask = pruned()
    arguments = {"train": train, "evaluate": evaluate, "example": X[:2], "space": CHOICES, "trials": 8, **changes}
    return bb.search_activations(model, mask, **arguments)


def told(history):
    """What does not depend on the clock."""
    return [(trial.candidate, trial.score, trial.epochs, trial.same_as, trial.note) for trial in history]
