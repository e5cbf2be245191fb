"""Every criterion of the library hosts an iteration."""

import pytest
import torch
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak import criteria
from budbreak.errors import MissingEvidence
from budbreak.evidence import Observer, StartWeights, Weights
from budbreak.testing import mlp, separable
from enrolled import instances

X, Y = separable(64, noise=1.0)
BATCHES = [(X[:40], Y[:40]), (X[40:], Y[40:])]
SHAPED = criteria.SynFlow(rounds=3, shape=(8,))
CASES = [criterion for criterion in instances(criteria.ALL) if getattr(criterion, "shape", None) is None] + [SHAPED]


def plan_of(criterion):
    untrained = getattr(criterion, "at_initialization", False)
    return bb.Plan(criterion=criterion, schedule=bb.schedules.OneShot(sparsity=0.3), train_dense=not untrained)


def arguments():
    model = mlp()
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


@pytest.mark.parametrize("criterion", CASES, ids=str)
def test_each_criterion_hosts_an_iteration(criterion):
    model, optimizer = arguments()
    with bb.iterate(model, optimizer, plan_of(criterion), batches=BATCHES, loss=cross_entropy) as levels:
        for level in levels:
            for _ in level.epochs(2):
                optimizer.zero_grad()
                cross_entropy(model(X), Y).backward()
                optimizer.step()
                level.record(accuracy=0.5)  # what counts may be weighted by
    assert levels.history[-1].density == pytest.approx(1 - 0.3, abs=0.002)


@pytest.mark.parametrize("criterion", CASES, ids=str)
def test_a_host_that_needs_data_is_refused_without_before_anything_is_trained(criterion):
    needs_nothing = (
        all(isinstance(need, Weights | StartWeights | Observer) for need in criterion.needs) or criterion == SHAPED
    )
    if needs_nothing:
        bb.iterate(*arguments(), plan_of(criterion))
        return
    with pytest.raises(MissingEvidence, match=r"no batches were given, and \w+ looks at them"):
        bb.iterate(*arguments(), plan_of(criterion))
