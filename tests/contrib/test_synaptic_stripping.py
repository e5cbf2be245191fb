"""Which weights of dead units are stripped: against the authors' rule, unit by unit."""

import math

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.contrib import SynapticStripping
from budbreak.errors import InvalidValue, NoSites
from budbreak.masks import competing
from budbreak.testing import check_criterion, mlp, residual_cnn, toy_evidence

INF = math.inf


def scores_of(model, x, **options):
    return SynapticStripping(**options)(bb.probe(model, SynapticStripping().needs, batches=[x]))


def partly_dead(*, seed=0):
    """An MLP of which every third hidden unit is dead, some weights are pruned, and one has a single weight left."""
    torch.manual_seed(seed)
    model = mlp(inputs=40, hidden=30)
    with torch.no_grad():
        for layer in (model[0], model[2]):
            layer.bias[::3] = -50.0
            layer.weight[torch.rand(layer.weight.shape) < 0.4] = 0.0
        model[0].weight[3, 1:] = 0.0
    return model


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_as_many_go_as_by_the_authors_rule(share):
    """Their code: of each dead unit, what is below the quantile of its weights that are not zero."""
    model, x = partly_dead(), torch.randn(50, 40)
    scores, hidden = scores_of(model, x, share=share), {"0.weight": model[:2](x), "2.weight": model[:4](x)}
    for name, outputs in hidden.items():
        goes, weight = scores[name].tensor() < INF, model.get_parameter(name).detach()
        for unit, row in enumerate(weight):
            living = row[row != 0]
            below = (row != 0) & (row < torch.quantile(living, share)) if len(living) else row != 0
            assert torch.equal(goes[unit], below & bool((outputs[:, unit] == 0).all()))
    assert bool(scores["4.weight"].tensor().isinf().all())


def test_golden_numbers():
    """One dead unit: of four living weights half of three, so two, go; a fifth is pruned."""
    model = nn.Sequential(nn.Linear(5, 1), nn.ReLU(), nn.Linear(1, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[-1.0, 3.0, 0.0, -1.0, 2.0]]))
        model[0].bias.fill_(-100.0)
    scores = scores_of(model, torch.rand(10, 5), share=0.5)["0.weight"].tensor()
    assert scores.tolist() == [[1 / 4, INF, INF, 0.0, INF]]  # of equal ones the lower index is kept longer
    with torch.no_grad():
        model[0].bias.fill_(0.1)
    assert competing(scores_of(model, torch.rand(10, 5), share=0.5)) == 0


def test_nearly_dead_units_may_be_taken_for_dead():
    """x > 0 on one of ten samples."""
    model, x = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2)), -torch.ones(10, 2)
    x[0] = 1
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.5, 1.0]]))
        model[0].bias.zero_()
    assert [competing(scores_of(model, x, activity=activity)) for activity in (0.0, 0.05, 0.1)] == [0, 0, 1]


def test_channels_are_dead_where_no_position_is_active():
    model = residual_cnn().eval()
    with torch.no_grad():
        model.norm1.bias[1] = -100.0
    scores = scores_of(model, torch.randn(4, 3, 6, 6))
    goes = {name: (score.tensor() < INF).flatten(1).sum(1).tolist() for name, score in scores.items()}
    assert goes == {"stem.weight": [0] * 4, "conv1.weight": [0, 2, 0, 0], "conv2.weight": [0] * 4, "fc.weight": [0] * 3}


def test_a_unit_that_is_called_twice_is_dead_only_where_both_are():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.relu, self.last = nn.Linear(2, 1, bias=False), nn.ReLU(), nn.Linear(2, 2)

        def forward(self, x):
            return self.last(torch.cat([self.relu(self.fc(x)), self.relu(self.fc(-x))], 1))

    model, x = Twice(), torch.ones(5, 2)
    assert competing(scores_of(model, x, share=1.0, activity=0.4)) == 0
    assert competing(scores_of(model, x, share=1.0, activity=0.5)) == 1


def test_it_is_a_criterion():
    for criterion in (SynapticStripping(), SynapticStripping(0.5, activity=0.3)):
        check_criterion(criterion)
        check_criterion(criterion, toy_evidence(mlp(), probes=criterion.needs, seed=3))
    assert competing(SynapticStripping(0.5, activity=0.6)(toy_evidence(mlp(), probes=SynapticStripping().needs))) > 0


@pytest.mark.parametrize(
    ("arguments", "words"), [({"share": 0.0}, "share"), ({"share": 5}, "share"), ({"activity": 1.0}, "activity")]
)
def test_shares_are_wanted(arguments, words):
    with pytest.raises(InvalidValue, match=words):
        SynapticStripping(**arguments)


def test_smooth_nets_are_refused():
    with pytest.raises(NoSites, match="exact zeros"):
        scores_of(nn.Sequential(nn.Linear(4, 3), nn.GELU(), nn.Linear(3, 2)), torch.randn(5, 4))
