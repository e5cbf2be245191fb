"""Every kind of evidence is that of all ranks' batches together, equal on all of them."""

import torch
from launching import launch
from ranks_run import Half
from torch import nn
from torch.nn.functional import cross_entropy

import budbreak as bb
from budbreak.criteria import GraSP, Snip, SynFlow, Taylor, Wanda
from budbreak.errors import BudbreakError
from budbreak.evidence import Gradients, HessianGradients, InputNorms, MeanActivations, Weights

CRITERIA = [Wanda(), Snip(), GraSP(1.0, "eval"), SynFlow()]


def seen_in(batches, group):
    """All scores, and the means of units, as lists."""
    probes = [probe for criterion in CRITERIA for probe in criterion.needs] + [MeanActivations()]
    evidence = bb.probe(Half(0, 1, wrap=False).plain, probes, batches=batches, loss=cross_entropy, group=group)
    scores = [{name: s.tensor().tolist() for name, s in criterion(evidence).items()} for criterion in CRITERIA]
    return [*scores, {name: mean.magnitudes.tolist() for name, mean in evidence[MeanActivations()].items()}]


def shared(rank):
    whole = Half(0, 1, wrap=False)
    uneven = (
        [(whole.x[:5], whole.y[:5])] if rank == 0 else [(whole.x[5:20], whole.y[5:20]), (whole.x[20:], whole.y[20:])]
    )
    return [seen_in(uneven, None), seen_in([(whole.x, whole.y)] if rank == 1 else [], None)]


def test_scores_are_those_of_all_batches_together(tmp_path):
    first, second = launch(shared, tmp_path)
    assert first == second
    whole = Half(0, 1, wrap=False)
    alone = seen_in([(whole.x, whole.y)], "alone")
    for found in first:
        for mine, expected in zip(found, alone, strict=True):
            assert list(mine) == list(expected)
            for name, numbers in expected.items():  # float32, summed in another order
                torch.testing.assert_close(torch.tensor(mine[name]), torch.tensor(numbers), rtol=1e-4, atol=1e-6)


def nothing(rank):
    told = []
    for probe in (InputNorms(), HessianGradients(), MeanActivations(), *SynFlow().needs[1:]):
        try:
            bb.probe(Half(0, 1, wrap=False).plain, [probe], batches=[], loss=cross_entropy, group=None)
        except BudbreakError as error:
            told.append(type(error).__name__)
    return told


def test_no_batches_on_any_rank_are_refused_on_all(tmp_path):
    assert launch(nothing, tmp_path) == [["EmptyBatches"] * 4] * 2


class Branches(nn.Module):
    """One of two branches, as the first number of a batch says, and a layer that is never called."""

    def __init__(self):
        super().__init__()
        self.ways, self.never, self.last = (
            nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6)]), nn.Linear(6, 6), nn.Linear(6, 2)
        )  # fmt: skip

    def forward(self, x):
        return self.last(self.ways[int(x[0, 0] > 0)](x).tanh())


def apart(rank):
    torch.manual_seed(0)
    model, x = Branches(), torch.randn(4, 6).abs()
    batches = [(x if rank else -x, torch.tensor([0, 1, 0, 1]))]
    probes = [Gradients(), HessianGradients()]
    found = bb.probe(model, [Weights(), *probes], batches=batches, loss=cross_entropy, group=None)
    try:
        Taylor()(found)
    except BudbreakError as error:
        return [list(found[probe]) for probe in probes], error.value
    return None


def test_a_weight_that_one_rank_reaches_is_reached(tmp_path):
    names = ["ways.0.weight", "ways.1.weight", "last.weight"]
    assert launch(apart, tmp_path) == [[[names, names], "the loss of no batch depends on 'never.weight'"]] * 2
