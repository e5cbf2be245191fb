"""What activation counts may count instead: each option against lists in plain Python, and by hand."""

import pytest
import torch
from torch import nn

import budbreak as bb
from budbreak.criteria import ActivationCount
from budbreak.errors import InvalidValue, UnknownName
from budbreak.evidence import ActivationCounts, Evidence, Watch, Weights
from budbreak.evidence.activation_counts import sum_units
from budbreak.masks import prunable_parameters, select
from budbreak.processes import Processes


def watched(observer, trainings, recorded=lambda name: None, model=None):
    """What it says after trainings, each a list of batches; no step is taken."""
    model = model or network()
    with Watch(model, prunable_parameters(model), [observer], is_on=lambda: True, recorded=recorded) as watch:
        for batches in trainings:
            watch.begin()
            for x in batches:
                model(x)
        return watch.result(observer, Processes())["0.weight"]


def network():
    """Hidden units that pass on 1, -1, 2 times the only input."""
    model = nn.Sequential(nn.Linear(1, 3, bias=False), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0], [-1.0], [2.0]]))
    return model


def rows(*values):
    return torch.tensor(values)[:, None]


def numbers(activity):
    return activity.active.flatten().tolist()


ONE, TWO = [rows(1.0, 2.0, -3.0), rows(4.0)], [rows(-1.0, -1.0)]


def test_golden_numbers():
    # inputs 1, 2, -3, 4, -1, -1: unit 0 fires on 1, 2, 4; unit 1 on -3, -1, -1; unit 2 as unit 0, with twice the output
    assert numbers(watched(ActivationCounts(), [ONE, TWO])) == [3, 3, 3]
    assert numbers(watched(ActivationCounts(event="inactive"), [ONE, TWO])) == [3, 3, 3]
    assert numbers(watched(ActivationCounts(event="inactive"), [ONE])) == [1, 3, 1]
    assert numbers(watched(ActivationCounts(increment="sum"), [ONE, TWO])) == [7, 5, 14]
    assert watched(ActivationCounts(increment="sum"), [ONE, TWO]).frequency.flatten().tolist() == [7 / 6, 5 / 6, 14 / 6]


def test_what_was_counted_before_fades_at_each_training():
    fading = ActivationCounts(decay=0.5)
    # unit 0: 3 in the first training, half of them in the second, which adds 0, a quarter in the third, which adds 3
    assert numbers(watched(fading, [ONE])) == [3, 1, 3]
    activity = watched(fading, [ONE, TWO, ONE])
    assert numbers(activity) == [0.75 + 3, 0.25 + 1 + 1, 0.75 + 3]
    assert activity.seen == 4 / 4 + 2 / 2 + 4
    assert numbers(watched(ActivationCounts(reset="level"), [ONE, TWO])) == [0, 2, 0]


def test_outputs_are_weighted_by_the_accuracy_that_was_recorded_last():
    seen = iter([None, 0.5, 0.75])  # asked in each pass
    found = watched(ActivationCounts(increment="accuracy-weighted"), [ONE, TWO], lambda name: next(seen))
    assert numbers(found) == [0.5 * 4, 0.75 * 2, 0.5 * 8]  # nothing was recorded before the first pass
    assert found.seen == 6


def test_without_a_recorded_accuracy_nothing_can_be_weighted():
    with pytest.raises(
        InvalidValue, match=r"weighted by 'train_accuracy', and none came after(.|\n)*two epochs(.|\n)*level.record"
    ):
        watched(ActivationCounts(increment="accuracy-weighted", accuracy="train_accuracy"), [ONE])


@pytest.mark.parametrize("dims", [(-1,), (-3,), (-3, -1), (-2,)])
def test_sums_of_units_wherever_they_lie(dims):
    output = torch.randn(2, 3, 5, 4)
    rest = [dim for dim in range(-4, 0) if dim not in dims]
    sums, seen = sum_units(output, dims)
    assert sums.tolist() == output.double().sum(rest).flatten().tolist()
    assert seen * sums.numel() == output.numel()


def test_what_is_seldom_asked_is_counted_seldom():
    assert numbers(watched(ActivationCounts(every=2), [ONE])) == [2, 1, 2]  # the first batch alone: 1, 2, -3


# --- the polarity -------------------------------------------------------------------------------------------------


def kept(criterion, granularity=bb.masks.Element()):
    """Which of three units keep their only weight, where one goes: 0 never fires, 1 now and then, 2 always."""
    model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[0.9], [0.9], [0.9]]))
        model[0].bias.copy_(torch.tensor([-5.0, 0.0, 5.0]))
    x, optimizer = rows(1.0, -1.0, 0.5, -0.5), torch.optim.SGD(model.parameters(), lr=1e-3)
    plan = bb.Plan(schedule=bb.schedules.OneShot(0.12), criterion=criterion, granularity=granularity, rewind_to=None)
    with bb.iterate(model, optimizer, plan) as levels:  # 0.12 of 9 weights: one
        for level in levels:
            for epoch in level.epochs(2):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 0, 1])).backward()
                optimizer.step()
                level.record(accuracy=0.5 + epoch / 10)
    assert levels.mask["2.weight"].all()  # the outputs' weights stay in any case
    return levels.mask["0.weight"].flatten().tolist()


GRANULARITIES = (bb.masks.Element(), bb.masks.Unit(budget="weights"))


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
@pytest.mark.parametrize("increment", ["count", "sum", "accuracy-weighted"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_unit_that_is_never_active_goes_first(weighted, increment, granularity):
    assert kept(ActivationCount(weighted=weighted, increment=increment), granularity) == [False, True, True]


@pytest.mark.parametrize("granularity", GRANULARITIES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
def test_by_the_inverted_event_the_most_active_goes_first(weighted, granularity):
    assert kept(ActivationCount(weighted=weighted, event="inactive"), granularity) == [True, True, False]


def test_equal_counts_go_from_the_last_index_on():
    model = network()
    counts = watched(ActivationCounts(), [ONE, TWO])  # 3 each
    evidence = Evidence({Weights(): {"0.weight": model[0].weight.detach()}, ActivationCounts(): {"0.weight": counts}})
    mask = select(ActivationCount()(evidence), 2)
    assert mask["0.weight"].flatten().tolist() == [True, True, False]


# --- what is wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"event": "dead"}, UnknownName, "event is 'dead'"),
        ({"increment": "sums"}, UnknownName, "did you mean 'sum'"),
        ({"decay": 0.0}, InvalidValue, "decay is 0.0"),
        ({"decay": 1.5}, InvalidValue, "decay is 1.5"),
        ({"decay": True}, InvalidValue, "decay is True"),
        ({"decay": 0.5, "reset": "level"}, InvalidValue, "nothing is left to fade"),
        ({"increment": "sum", "threshold": 0.1}, InvalidValue, "outputs are added up as they are"),
        ({"increment": "sum", "event": "inactive"}, InvalidValue, "leave both out"),
    ],
)
@pytest.mark.parametrize("kind_of", [ActivationCounts, ActivationCount], ids=["observer", "criterion"])
def test_wrong_options_are_refused(kind_of, arguments, kind, words):
    with pytest.raises(kind, match=words):
        kind_of(**arguments)
