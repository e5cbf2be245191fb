"""A floor: so many stay in each layer, whatever their scores, and of the others the highest."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sorting import STREAMS, brute_force, cases, streaming
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue, LayerCollapsed
from budbreak.evidence import Weights
from budbreak.masks import ERK, Global, Layer, Mask, Scores, Uniform, competing, select
from budbreak.masks.allocations import allocate
from budbreak.testing import mlp

WHOLE = st.lists(st.integers(-3, 3).map(float), min_size=1)
FLOORS = st.one_of(st.integers(0, 8), st.floats(0, 0.6))


def least(floor, tensor, entry):
    """How many at least stay in a layer."""
    alive = tensor.numel() if entry is None else int(entry.sum())
    return min(floor if isinstance(floor, int) else math.ceil(round(floor * tensor.numel(), 9)), alive)


def guaranteed(tensors, floor, within):
    """The highest of each layer, up to the floor."""
    entries = {}
    for name, tensor in tensors.items():
        alone = None if within is None else Mask({name: within[name]})
        lowest = least(floor, tensor, None if within is None else within[name])
        entries[name] = brute_force({name: tensor}, lowest, alone)[name]
    return Mask(entries)


def sorted_with_floor(tensors, keep, floor, within):
    """What each layer has for sure, and of all the others the highest."""
    sure = guaranteed(tensors, floor, within)
    alive = Mask({name: torch.ones(tensor.shape) for name, tensor in tensors.items()}) if within is None else within
    others = Mask({name: alive[name] & ~sure[name] for name in tensors})
    return sure | brute_force(tensors, keep - sure.kept, others)


@pytest.mark.parametrize("stream", STREAMS)
@given(case=cases(values=WHOLE), floor=FLOORS)
def test_a_global_floor_is_the_sort_of_what_is_not_guaranteed(stream, case, floor):
    tensors, keep, within = case
    floor = round(floor, 2) if isinstance(floor, float) else floor
    with streaming(*stream):
        if guaranteed(tensors, floor, within).kept > keep:
            with pytest.raises(InvalidValue, match="floor is"):
                select(Scores.of(tensors), keep, floor=floor, within=within)
            return
        mask = select(Scores.of(tensors), keep, floor=floor, within=within)
    assert mask == sorted_with_floor(tensors, keep, floor, within)
    assert mask.kept == keep


def test_a_floor_by_hand():
    tensors = {"a": torch.tensor([9.0, 8.0, 7.0, 6.0]), "b": torch.tensor([1.0, 3.0, 2.0]), "c": torch.tensor([0.5])}
    kept = {
        name: entry.tolist() for name, entry in select(Scores.of(tensors), 5, floor=1).items()
    }  # c 0.5 and b 3 for sure; then a's three highest
    assert kept == {"a": [True, True, True, False], "b": [False, True, False], "c": [True]}
    third = select(Scores.of(tensors), 6, floor=0.34)  # 2 of 4 (1.36 up), 2 of 3 (1.02 up), 1 of 1; and 7
    assert [third.kept_in(name) for name in third] == [3, 2, 1]
    assert select(Scores.of(tensors), 5, floor=0) == select(Scores.of(tensors), 5)


def test_a_layer_that_was_not_short_may_become_so():
    """Alone, the six highest are a's 4 and b's 2; c takes two for its floor, and then b would have none."""
    tensors = {"a": torch.tensor([9.0, 8.9, 8.8, 8.7]), "b": torch.tensor([8.0, 7.0]), "c": torch.tensor([1.0, 1.0])}
    mask = select(Scores.of(tensors), 6, floor=2)
    assert [mask.kept_in(name) for name in mask] == [2, 2, 2]
    with pytest.raises(InvalidValue, match=r"keep is 5; floor is 2: at least 6 stay in the 3 layers together"):
        select(Scores.of(tensors), 5, floor=2)


@pytest.mark.parametrize("allocation", [Uniform(), ERK()])
@given(
    sizes=st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=5),
    data=st.data(),
)
def test_shares_with_a_floor_are_exact_and_raise_only_what_is_short(allocation, sizes, data):
    shapes = {f"w{i}": torch.Size(size) for i, size in enumerate(sizes)}
    room = {name: data.draw(st.integers(0, shape.numel())) for name, shape in shapes.items()}
    floors = {name: data.draw(st.integers(0, capacity)) for name, capacity in room.items()}
    keep = data.draw(st.integers(sum(floors.values()), sum(room.values())))
    shares, plain = allocate(allocation, shapes, room, keep, floors), allocation(shapes, room, keep)
    assert sum(shares.values()) == keep
    assert all(floors[name] <= shares[name] <= room[name] for name in shapes)
    assert all(shares[name] <= max(plain[name] + 1, floors[name]) for name in shapes)  # 1: a remainder moves
    if all(plain[name] >= floors[name] for name in shapes):
        assert shares == plain


def test_shares_with_a_floor_by_hand():
    shapes = {"a": torch.Size([100]), "b": torch.Size([50]), "c": torch.Size([10])}
    sizes = {"a": 100, "b": 50, "c": 10}
    # a tenth of 160 is 10, 5, 1; c is raised to 4, and 12 are divided as 2 : 1
    assert allocate(Uniform(), shapes, sizes, 16, {"a": 4, "b": 4, "c": 4}) == {"a": 8, "b": 4, "c": 4}
    # and if that is too few for b, it is raised in the second round
    assert allocate(Uniform(), shapes, sizes, 16, {"a": 5, "b": 5, "c": 5}) == {"a": 6, "b": 5, "c": 5}


def test_what_may_still_go_above_the_floor():
    scores = Scores.of({"a": torch.tensor([1.0, 2.0, math.inf]), "b": torch.tensor([1.0, 2.0, 3.0])})
    assert competing(scores) == 5
    assert competing(scores, floor=2) == 2  # one of each
    assert competing(scores, floor=0.9) == 0
    assert competing(scores, Mask({"a": torch.ones(3), "b": torch.tensor([1, 0, 0])}), floor=1) == 2


@pytest.mark.parametrize(
    ("floor", "words"),
    [
        (-1, r"floor is -1\nit must be a whole number >= 0\nwrite 0"),
        (True, "floor is True"),
        (1.0, r"floor is 1.0\nit must be a number in \[0, 1\)"),
        (2.5, "floor is 2.5"),
        ("1", "floor is '1'"),
        (float("nan"), "floor is nan"),
        (None, "floor is None"),
    ],
)
def test_a_floor_is_a_count_or_a_share(floor, words):
    for call in (
        lambda: select(Scores.of({"w": torch.rand(4)}), 2, floor=floor),
        lambda: bb.prune(mlp(), sparsity=0.5, floor=floor),
        lambda: bb.Plan(schedule=bb.schedules.OneShot(0.5), floor=floor),
    ):
        with pytest.raises(InvalidValue, match=words):
            call()


def narrow():
    model = nn.Sequential(nn.Linear(8, 3), nn.ReLU(), nn.Linear(3, 2))
    nn.init.constant_(model[0].weight, 1.0)
    nn.init.constant_(model[2].weight, 0.1)
    return model


@pytest.mark.parametrize("scope", [Global(), Layer()])
def test_a_floor_keeps_a_layer_from_collapsing(scope):
    with pytest.raises(LayerCollapsed, match=r"'2\.weight' would lose all.*\n.*\n.*floor=1"):
        bb.prune(narrow(), sparsity=0.8)
    mask = bb.prune(narrow(), sparsity=0.8, scope=scope, floor=3)
    assert (mask.kept, mask.kept_in("2.weight")) == (6, 3)


def test_units_have_a_floor_of_units():
    model = mlp()  # 16 and 16 hidden units
    with torch.no_grad():
        model[2].weight.mul_(1e-3)
    mask = bb.prune(model, sparsity=0.5, granularity=bb.Unit(), floor=0.25)
    assert [int(mask[name].any(1).sum()) for name in mask] == [12, 4, 3]


def test_what_no_level_can_keep_is_refused_before_anything_is_trained():
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.5, levels=3), floor=20)
    model = mlp()
    words = r"^level 3 of Geometric\(rate=0.5, levels=3\): 54 stay; floor is 20: at least 60 stay in the 3 layers"
    with pytest.raises(InvalidValue, match=words):
        plan.preview(model)
    with pytest.raises(InvalidValue, match=words):
        bb.iterate(model, torch.optim.SGD(model.parameters(), lr=0.1), plan)
    with pytest.raises(InvalidValue, match=r"^sparsity is 0.9: 43 stay; floor is 0.5: at least 216"):
        bb.prune(model, sparsity=0.9, floor=0.5)


def test_follow_ups_leave_the_floor_alone():
    """All negative weights lie in the last layer: AP would take every one of them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5))
    with torch.no_grad():
        model[0].weight.abs_().add_(0.1)
        model[2].weight.abs_().neg_()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    plan = bb.Plan(schedule=bb.schedules.Geometric(rate=0.4, levels=2), then=[bb.ActivateWhilePruning(q=0.3)], floor=9)
    with bb.iterate(model, optimizer, plan) as levels:
        for _ in levels:
            model(torch.rand(4, 8)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    kept = [round(0.6**level * 78) for level in range(3)]
    assert [record.kept for record in levels.history] == kept
    assert levels.mask.kept_in("2.weight") == 9
    assert levels.history[1].shortfall + levels.history[2].shortfall > 0


@dataclass(frozen=True)
class LastFirst:
    """The weights of later layers go first."""

    needs = (Weights(),)

    def __call__(self, evidence):
        weights = evidence[Weights()]
        return Scores.of({name: torch.full(w.shape, -float(place)) for place, (name, w) in enumerate(weights.items())})


def test_a_removal_goes_on_elsewhere_where_the_floor_ends_it():
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5))  # 48 and 30
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    plan = bb.Plan(schedule=bb.schedules.OneShot(0.4), then=[bb.Remove(LastFirst(), q=0.35)], floor=9)
    with bb.iterate(model, optimizer, plan) as levels:
        for _ in levels:
            model(torch.rand(4, 8)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    record = levels.history[1]
    assert (record.kept, record.follow_ups_removed, record.shortfall) == (47, (27,), 0)
    assert [levels.mask.kept_in(name) for name in levels.mask] == [38, 9]


def test_a_floor_is_for_what_is_left_in_the_end():
    plan = bb.Plan(schedule=bb.schedules.OneShot(0.4), then=[bb.Remove(LastFirst(), q=0.35)], floor=25)
    with pytest.raises(InvalidValue, match=r"47 stay; floor is 25: at least 50"):  # the host leaves 74
        plan.preview(nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 5)))
