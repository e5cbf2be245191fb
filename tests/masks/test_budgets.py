"""A budget of weights: the most whole units, or blocks, of the highest scores that fit; and what was reached."""

import contextlib
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue, TooManySpared
from budbreak.masks import Global, Layer, Mask, Scores, select
from budbreak.testing import mlp

UNITS = bb.Unit(dim=0, budget="weights")
SHAPES = [(4, 3), (3, 5), (5, 2, 3), (2, 8), (1, 1)]


@st.composite
def networks(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = draw(st.lists(st.sampled_from(SHAPES), min_size=1, max_size=3))
    tensors = {f"w{i}": torch.tensor(rng.integers(-2, 3, shape).astype(np.float32)) for i, shape in enumerate(shapes)}
    share = draw(st.sampled_from([None, 0.3, 0.8]))
    alive = {n: torch.tensor(rng.random(t.shape) < (1 if share is None else share)) for n, t in tensors.items()}
    return tensors, Mask(alive), share is None


def ranked_units(tensors, alive):
    """(name, unit, its living weights) from the highest mean on, those without life left out."""
    units = []
    for order, name in enumerate(tensors):
        for unit in range(tensors[name].shape[0]):
            living = tensors[name][unit][alive[name][unit]]
            if len(living):
                units.append((-float(living.sum() / len(living)), order, unit, name, len(living)))
    return [(name, unit, size) for _, _, unit, name, size in sorted(units)]


@given(networks(), st.data())
def test_the_highest_units_stay_as_long_as_they_fit(network, data):
    tensors, alive, dense = network
    budget = data.draw(st.integers(0, alive.kept))
    mask = select(Scores.of(tensors), budget, granularity=UNITS, within=None if dense else alive)
    kept = {name: torch.zeros(tensor.shape, dtype=torch.bool) for name, tensor in tensors.items()}
    for name, unit, size in ranked_units(tensors, alive):
        if sum(int(entry.sum()) for entry in kept.values()) + size > budget:
            break
        kept[name][unit] = alive[name][unit]
    assert mask == Mask(kept)
    assert mask.kept <= budget


def possible_choices(scores, total, **options):
    """Of each number of units that can be kept, what is kept."""
    for count in range(total + 1):
        with contextlib.suppress(InvalidValue):  # too few for floors, or for scores of +inf
            yield select(scores, count, granularity=bb.Unit(dim=0), **options)


@given(networks(), st.sampled_from([Global(), Layer()]), st.sampled_from([0, 1, 2]), st.data())
def test_it_is_the_choice_of_so_many_units_and_one_more_would_not_fit(network, scope, floor, data):
    tensors, alive, _ = network
    whole = data.draw(st.sampled_from([None, *tensors]))
    tensors = {name: torch.full_like(t, math.inf) if name == whole else t for name, t in tensors.items()}
    scores, budget = Scores.of(tensors), data.draw(st.integers(0, alive.kept))
    options = {"scope": scope, "floor": floor, "within": alive}
    total = sum(int(entry.flatten(1).any(1).sum()) for entry in alive.values())
    choices = list(possible_choices(scores, total, **options))
    if choices[0].kept > budget:
        with pytest.raises(InvalidValue, match="stay by the floor"):
            select(scores, budget, granularity=UNITS, **options)
        return
    mask = select(scores, budget, granularity=UNITS, **options)
    place = max(i for i, choice in enumerate(choices) if choice == mask)
    assert mask.kept <= budget
    assert place == len(choices) - 1 or choices[place + 1].kept > budget


def test_what_never_goes_and_the_floors_of_other_layers_stay_together():
    weights = {"a": torch.arange(1.0, 11), "free": torch.full((6,), math.inf), "b": torch.arange(1.0, 7)}
    scores = Scores.of({name: values[:, None].repeat(1, 2) for name, values in weights.items()})
    for budget, kept in [(20, [4, 12, 4]), (22, [6, 12, 4])]:
        mask = select(scores, budget, granularity=UNITS, floor=2)
        assert [mask.kept_in(name) for name in scores] == kept
    with pytest.raises(TooManySpared, match="the budget is 19 weights, and 20 stay by the floor or by scores"):
        select(scores, 19, granularity=UNITS, floor=2)
    with pytest.raises(TooManySpared, match="keep is 9, but 10 stay by the floor or by scores of") as told:
        select(scores, 9, granularity=bb.Unit(dim=0), floor=2)
    assert told.value.fix == "keep at least 10, lower the floor, or score fewer with +inf"


def test_a_budget_by_hand():
    scores = Scores.of({"a": torch.tensor([[9.0] * 4, [8.0] * 4, [1.0] * 4]), "b": torch.tensor([[7.0], [6.0]])})
    for budget, kept in [(3, (0, 0)), (4, (4, 0)), (7, (4, 0)), (8, (8, 0)), (9, (8, 1)), (13, (8, 2)), (14, (12, 2))]:
        mask = select(scores, budget, granularity=UNITS)  # 9, 8, 7, 6, 1: of 4, 4, 1, 1 and 4 weights
        assert (mask.kept_in("a"), mask.kept_in("b")) == kept, budget


def test_blocks_have_a_budget_too():
    weight = torch.tensor([[9.0, 9.0, 5.0], [9.0, 9.0, 5.0], [1.0, 1.0, 7.0]])  # blocks of 4, 2, 2 and 1 weights
    scores, blocks = Scores.of({"w": weight}), bb.Block(2, 2, budget="weights")
    kept = [select(scores, budget, granularity=blocks).kept for budget in range(10)]
    assert kept == [0, 0, 0, 0, 4, 5, 5, 7, 7, 9]  # 9: 4, 7: 1, 5: 2, 1: 2


def test_scores_that_never_go_stay_whatever_the_count_they_need():
    weight = torch.ones(8, 2)
    weight[2:7] = math.inf
    mask = select(Scores.of({"w": weight}), 12, granularity=UNITS)
    assert mask["w"].any(1).tolist() == [True, False, True, True, True, True, True, False]
    with pytest.raises(InvalidValue, match=r"the budget is 9 weights, and 10 stay by the floor or by scores of \+inf"):
        select(Scores.of({"w": weight}), 9, granularity=UNITS)


def test_the_classifier_is_part_of_the_budget():
    model = mlp()  # 16 x 8, 16 x 16 and 3 x 16: 432
    mask = bb.prune(model, sparsity=0.5, granularity=bb.Unit(budget="weights"))
    assert 216 - 16 < mask.kept <= 216
    assert mask["4.weight"].all()
    assert mask.sparsity >= 0.5
    with pytest.raises(InvalidValue, match=r"^sparsity is 0.9: 43 stay\n48 weights of 4.weight stay in any case"):
        bb.prune(mlp(), sparsity=0.9, granularity=bb.Unit(budget="weights"))
    asked = bb.prune(mlp(), sparsity=0.9, granularity=bb.Unit(budget="weights", outputs=()), allow_collapse=True)
    assert 43 - 16 < asked.kept <= 43


@pytest.mark.parametrize(("floor", "least"), [(2, 48 + 2 * 8 + 2 * 16), (0.2, 48 + 4 * 8 + 4 * 16)])
def test_floors_that_hold_more_than_the_budget_are_refused_before_anything_is_trained(floor, least):
    def plan(keep):
        schedule = bb.schedules.OneShot(sparsity=1 - keep / 432)
        return bb.Plan(schedule=schedule, granularity=bb.Unit(budget="weights"), floor=floor)

    assert plan(least).preview(mlp()).rows[1].keep == least
    assert bb.prune(mlp(), sparsity=1 - least / 432, granularity=bb.Unit(budget="weights"), floor=floor).kept == least
    asked = (
        rf": {least - 1} stay\n{least} weights stay at least: .*, by the floor of {floor}, .*\nkeep at least {least}, "
    )
    with pytest.raises(InvalidValue, match=asked):
        plan(least - 1).preview(mlp())


def test_records_say_what_was_reached_and_what_was_allowed():
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    granularity = bb.Unit(budget="weights")
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.3, levels=3), granularity=granularity)
    preview = plan.preview(model, example=torch.zeros(1, 8))
    budgets = [432, 302, 212, 148]
    assert [row.keep for row in preview.rows] == budgets
    assert [row.macs for row in preview.rows] == budgets  # a MAC a weight
    assert "lambda and counts are of weights at most" in str(preview)
    with bb.iterate(model, optimizer, plan) as levels:
        for _ in levels:
            model(torch.rand(4, 8)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    history = levels.history
    assert [record.counted_kept for record in history] == budgets
    assert {(record.counted, record.counted_total, record.spared) for record in history} == {
        ("weights at most", 432, ("4.weight",))
    }
    assert all(budget - 16 < record.kept <= budget for record, budget in zip(history, budgets, strict=True))
    assert history[0].invariants["within budget"]
    removed = [record.host_removed for record in history]
    assert removed == [0, *(a.kept - b.kept for a, b in pairwise(history))]


def test_a_budget_that_is_above_what_is_left_removes_nothing():
    """Level 1 may keep 13 and keeps 8, as the next unit has 8; level 2 may keep 10."""
    model = nn.Sequential(nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    plan = bb.Plan(
        schedule=bb.schedules.Geometric(rate=0.2, levels=2), granularity=bb.Unit(budget="weights", outputs=())
    )
    with bb.iterate(model, optimizer, plan) as levels:
        for _ in levels:
            model(torch.rand(4, 8)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert [record.kept for record in levels.history] == [16, 8, 8]
    assert [record.counted_kept for record in levels.history] == [16, 13, 8]


@pytest.mark.parametrize("make", [bb.Unit, lambda budget: bb.Block(1, 4, budget=budget)])
def test_what_is_no_budget_is_refused(make):
    with pytest.raises(InvalidValue, match=r"budget is 'macs'\nit is one of '(units|blocks)', 'weights'"):
        make(budget="macs")
