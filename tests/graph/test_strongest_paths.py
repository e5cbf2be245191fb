"""Paths to classes: against all paths of a small network, listed one by one; and where there is no room for them."""

import itertools
import math

import numpy as np
import pytest
import torch
from drawing import Drawing

from budbreak.errors import InvalidValue, NotFinite, Unreached
from budbreak.graph import Kind
from budbreak.masks import Global, Layer, Mask, Quotas, Rows, UnitLayout


def uniform(generator, shape):
    return torch.rand(shape, generator=generator) - 0.5


def drawn(seed, density, shapes):
    """(weights, mask): a mask in which every ninth weight is kept, and others at random."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: uniform(generator, shape) for name, shape in shapes.items()}
    mask = {name: torch.rand(shape, generator=generator) < density for name, shape in shapes.items()}
    for entry in mask.values():
        entry.view(-1)[::9] = True
    return weights, Mask(mask)


def everything(mask):
    return Mask({name: torch.ones_like(entry) for name, entry in mask.items()})


def find(graph, mask, weights, *, scope=None, within=None, floor=0, sure=None, stays=None):
    quotas = Quotas.of(stays or mask, scope or Layer(), floor)
    return graph.paths(mask, weights, quotas=quotas, within=within or everything(mask), sure=sure)


def elements(mask):
    return {(name, *index) for name in mask for index in np.argwhere(mask[name].numpy()).tolist()}


# --- a residual network with groups and a flattening, whose paths are listed --------------------------------

SHAPES = {"stem": (4, 2, 1, 1), "grouped": (4, 2, 1, 1), "side": (2, 4, 1, 1), "fc": (3, 24)}


def network():
    net = Drawing()
    stem = net.relu(net.batch_norm(net.conv(net.input(1, 2, 2, 2), "stem", 4), "bn"))
    grouped = net.conv(stem, "grouped", 4, groups=2)
    both = net.cat(net.sum(grouped, stem), net.conv(stem, "side", 2))
    net.output(net.linear(net.move(both, "flatten", (1, 24), 1), "fc", 3))
    return net.graph()


def listed(place):
    """All paths to a class, each as its elements."""
    for column, unit, image in itertools.product(range(24), range(4), range(2)):
        start, channel = ("stem", unit, image, 0, 0), column // 4
        end = ("fc", place, column)
        if channel < 4:
            if channel == unit:
                yield (start, end)
            if channel // 2 == unit // 2:
                yield (start, ("grouped", channel, unit % 2, 0, 0), end)
        else:
            yield (start, ("side", channel - 4, unit, 0, 0), end)


def strength(path, weights):
    return math.prod(abs(float(weights[name][tuple(index)])) for name, *index in path)


def by_listing(weights, mask, counts):
    """The paths that `ModelGraph.paths` promises, in scope Layer, where each class finds one at once."""
    kept, alive, taken = elements(mask), elements(everything(mask)), set()
    paths = {place: list(listed(place)) for place in range(3)}
    reached = [place for place in paths if any(set(path) <= kept for path in paths[place])]
    for place in [*reached, *(place for place in paths if place not in reached)]:
        full = {name for name in counts if sum(one[0] == name for one in taken) >= counts[name]}
        able = {one for one in (kept if place in reached else alive) if one in taken or one[0] not in full}
        best = max((path for path in paths[place] if set(path) <= able), key=lambda path: strength(path, weights))
        taken |= set(best)
    return taken


@pytest.mark.parametrize("seed", range(12))
def test_paths_are_the_strongest_of_all(seed):
    weights, mask = drawn(seed, 0.12, SHAPES)
    counts = {name: mask.kept_in(name) for name in mask}
    found = find(network(), mask, weights)
    assert elements(found) == by_listing(weights, mask, counts)
    assert all(found.kept_in(name) <= counts[name] for name in mask)


def test_the_cases_above_have_classes_of_both_sorts_and_layers_that_fill_up():
    torn = full = 0
    for seed in range(12):
        weights, mask = drawn(seed, 0.12, SHAPES)
        found = find(network(), mask, weights)
        torn += int((~network().reachable(mask).classes[0]).sum())
        full += sum(found.kept_in(name) == mask.kept_in(name) for name in mask)
    assert torn >= 4
    assert full >= 4


# --- single parts --------------------------------------------------------------------------------------------


def chain(*widths):
    net = Drawing()
    here = net.input(1, widths[0])
    for place, width in enumerate(widths[1:], start=1):
        here = net.linear(here, f"fc{place}", width)
    net.output(here)
    return net.graph()


def test_of_equal_paths_the_first_is_taken_from_the_output():
    weights = {"fc1": torch.ones(3, 2), "fc2": torch.ones(2, 3)}
    mask = Mask({"fc1": torch.tensor([[0, 0], [0, 0], [1, 1]]), "fc2": torch.tensor([[0, 0, 1], [0, 1, 0]])})
    found = find(chain(2, 3, 2), mask, weights)
    assert elements(found) == {("fc1", 2, 0), ("fc2", 0, 2), ("fc2", 1, 0), ("fc1", 0, 0)}


def test_the_strongest_elements_of_kernels_and_of_a_transposed_grouped_convolution():
    net = Drawing()
    image = net.conv(net.input(1, 1, 2, 2), "conv", 4)
    up = net.add(
        Kind.LAYER, "conv_transpose2d", (image,), (1, 6, 4, 4), weights=("up",), units=UnitLayout(1, 2), groups=2
    )
    net.output(net.add(Kind.POOL, "mean", (up,), (1, 6), arguments=((2, 3),)))
    weights, mask = drawn(0, 0.0, {"conv": (4, 1, 3, 3), "up": (4, 3, 2, 2)})
    nothing = Mask({name: torch.zeros_like(entry) for name, entry in mask.items()})
    expected = set()
    for unit in range(6):  # two rows a group, three units a group
        group, column = divmod(unit, 3)
        first = {row: int(weights["conv"][row].abs().argmax()) for row in (2 * group, 2 * group + 1)}
        second = {row: int(weights["up"][row, column].abs().argmax()) for row in first}
        products = {row: weights["conv"][row].abs().max() * weights["up"][row, column].abs().max() for row in first}
        row = max(products, key=products.get)
        expected |= {("conv", row, 0, *divmod(first[row], 3)), ("up", row, column, *divmod(second[row], 2))}
    found = find(net.graph(), nothing, weights, scope=Global(), stays=everything(mask))
    assert elements(found) == expected


def test_an_embedding_and_a_recurrent_layer_by_their_strongest_elements_and_a_norm_over_units():
    net = Drawing()
    tokens = net.input(1, 7)
    table = net.add(
        Kind.LAYER, "embedding", (tokens,), (1, 7, 3), weights=("table",), units=UnitLayout(1), unit_dims=(-1,)
    )
    state = net.like(Kind.RECURRENT, "gru", table, owner="gru", weights=("gru", "gru.2"))
    net.output(net.linear(net.layer_norm(net.linear(state, "mid", 3), "norm"), "fc", 2))
    shapes = {"table": (5, 3), "gru": (9, 3), "gru.2": (9, 3), "mid": (3, 3), "norm.weight": (3,), "fc": (2, 3)}
    weights, mask = drawn(1, 0.0, shapes)
    nothing = Mask({name: torch.zeros_like(entry) for name, entry in mask.items()})
    found = elements(find(net.graph(), nothing, weights, scope=Global(), stays=everything(mask)))
    units = [int((weights["norm.weight"] * row).abs().argmax()) for row in weights["fc"]]
    ends = [step for place, unit in enumerate(units) for step in (("fc", place, unit), ("norm.weight", unit))]
    for name in ("table", max(("gru", "gru.2"), key=lambda name: float(weights[name].abs().max())), "mid"):
        ends.append((name, *np.unravel_index(int(weights[name].abs().argmax()), shapes[name])))
    assert found == set(ends)


def test_weights_that_no_mask_covers_count_as_one_and_are_open():
    weights = {"fc2": torch.tensor([[0.1, 0.4], [0.3, 0.2]])}
    mask = Mask({"fc2": torch.tensor([[1, 0], [1, 0]])})
    assert elements(find(chain(3, 2, 2), mask, weights)) == {("fc2", 0, 0), ("fc2", 1, 0)}
    nothing = Mask({"fc2": torch.tensor([[1, 1], [0, 0]])})
    assert elements(find(chain(3, 2, 2), nothing, weights)) == {("fc2", 0, 1), ("fc2", 1, 0)}


def test_a_weight_of_zero_is_the_weakest_and_still_one():
    weights = {"fc1": torch.zeros(2, 2), "fc2": torch.tensor([[0.0, 1.0]])}
    mask = Mask({"fc1": torch.tensor([[1, 0], [0, 0]]), "fc2": torch.tensor([[0, 1]])})
    found = find(chain(2, 2, 1), mask, weights)
    assert elements(found) == {("fc1", 1, 0), ("fc2", 0, 1)}


# --- room ----------------------------------------------------------------------------------------------------


def test_few_new_weights_where_the_strongest_paths_do_not_fit():
    """Alone, each of ten classes would go its own way, by 20 weights; together they have 11."""
    generator = torch.Generator().manual_seed(0)
    weights = {"fc1": uniform(generator, (20, 5)), "fc2": uniform(generator, (10, 20))}
    mask = Mask({"fc1": torch.zeros(20, 5), "fc2": torch.arange(200).reshape(10, 20) < 11})
    found = find(chain(5, 20, 10), mask, weights, scope=Global())
    assert (found.kept_in("fc1"), found.kept_in("fc2")) == (1, 10)
    fewer = Mask({"fc1": torch.zeros(20, 5), "fc2": torch.arange(200).reshape(10, 20) < 10})
    with pytest.raises(
        InvalidValue, match=r"no path to class \d fits in .*: 0 of 'fc1', 10 of 'fc2' stay\n.*\nprune less$"
    ):
        find(chain(5, 20, 10), fewer, weights, scope=Global())


def test_a_class_that_finds_no_path_is_connected_first():
    """Both classes can be fed by the second unit, one of them only; the first unit is kept, and stronger."""
    weights = {"fc1": torch.tensor([[0.9], [0.1]]), "fc2": torch.tensor([[0.9, 0.1], [0.5, 0.5]])}
    mask = Mask({"fc1": torch.tensor([[1], [0]]), "fc2": torch.tensor([[1, 0], [0, 1]])})
    alive = Mask({"fc1": torch.ones(2, 1), "fc2": torch.tensor([[1, 1], [0, 1]])})
    found = find(chain(1, 2, 2), mask, weights, within=alive)
    assert elements(found) == {("fc1", 1, 0), ("fc2", 0, 1), ("fc2", 1, 1)}


def test_classes_that_are_reached_keep_their_paths_before_others_get_one():
    """The first class would go by the second unit, where its path is stronger, and leave no room for the first unit."""
    weights = {"fc1": torch.tensor([[0.5], [0.9]]), "fc2": torch.tensor([[0.5, 0.9], [0.5, 0.1]])}
    mask = Mask({"fc1": torch.tensor([[1], [0]]), "fc2": torch.tensor([[0, 0], [1, 0]])})
    found = find(chain(1, 2, 2), mask, weights, stays=mask | Mask({"fc1": mask["fc1"], "fc2": torch.ones(2, 2)}))
    assert elements(found) == {("fc1", 0, 0), ("fc2", 0, 0), ("fc2", 1, 0)}


def test_a_layer_with_fewer_weights_than_classes_is_named():
    weights, _ = drawn(0, 0.5, {"fc1": (4, 4), "fc2": (3, 4)})
    mask = Mask({"fc1": torch.ones(4, 4), "fc2": torch.arange(12).reshape(3, 4) < 2})
    with pytest.raises(InvalidValue, match=r"no path to class 2 fits in beside .*: 2 of 'fc2' stay\n.*\n.*floor=3"):
        find(chain(4, 4, 3), mask, weights)
    with pytest.raises(InvalidValue, match=r"no path to class 1 fits in beside those to others: 2 of 'fc2' stay"):
        find(chain(4, 4, 3), mask, weights, scope=Rows())


def test_floors_are_reserved():
    """8 weights stay, 4 of them in fc1 and 2 in fc2 by a floor: fc2 can have 4 paths, and fc1 a single one."""
    weights, _ = drawn(3, 0.5, {"fc1": (4, 4), "fc2": (4, 4)})
    mask = Mask({"fc1": torch.arange(16).reshape(4, 4) < 6, "fc2": torch.arange(16).reshape(4, 4) < 2})
    found = find(chain(4, 4, 4), mask, weights, scope=Global(), floor=2)
    assert found.kept_in("fc2") == 4
    assert found.kept_in("fc1") <= 4
    with pytest.raises(InvalidValue, match="no path to class"):
        find(chain(4, 4, 4), mask, weights, scope=Global(), sure=Mask({"fc1": mask["fc1"], "fc2": torch.zeros(4, 4)}))


def test_what_is_sure_takes_room_whether_on_a_path_or_not():
    weights, _ = drawn(3, 0.5, {"fc1": (4, 4), "fc2": (2, 4)})
    mask = Mask({"fc1": torch.arange(16).reshape(4, 4) < 1, "fc2": torch.tensor([[0, 0, 0, 1], [0, 0, 1, 0]])})
    found = find(chain(4, 4, 2), mask, weights, sure=Mask({"fc1": mask["fc1"], "fc2": torch.zeros(2, 4)}))
    assert elements(found) == {("fc1", 0, 0), ("fc2", 0, 0), ("fc2", 1, 0)}


def test_only_what_is_alive_comes_in():
    weights, _ = drawn(3, 0.5, {"fc1": (2, 2), "fc2": (2, 2)})
    mask = Mask({"fc1": torch.eye(2), "fc2": torch.tensor([[1, 1], [0, 0]])})
    alive = Mask({"fc1": torch.ones(2, 2), "fc2": torch.tensor([[1, 1], [0, 1]])})
    assert ("fc2", 1, 1) in elements(find(chain(2, 2, 2), mask, weights, within=alive))
    with pytest.raises(Unreached, match="no path leads to class 1, through whatever is alive"):
        find(chain(2, 2, 2), mask, weights, within=mask)


def test_weights_that_are_no_numbers_are_refused():
    weights = {"fc1": torch.tensor([[math.nan, 1.0]]), "fc2": torch.ones(1, 1)}
    with pytest.raises(NotFinite, match="'fc1' holds NaN or infinite numbers"):
        find(chain(2, 1, 1), everything(Mask(weights)), weights)
