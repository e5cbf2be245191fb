import itertools

import numpy as np
import pytest
import torch
from drawing import Drawing
from torch import nn

import budbreak as bb
from budbreak.errors import InvalidValue, MaskMismatch, UnknownName
from budbreak.graph import Kind
from budbreak.masks import Mask, UnitLayout, every_weight


def mask_of(seed=0, density=0.3, **shapes):
    generator = torch.Generator().manual_seed(seed)
    return Mask({name: torch.rand(shape, generator=generator) < density for name, shape in shapes.items()})


class Paths:
    """Search paths one by one: ways of (from, to, the element of which weight), channels being any hashables."""

    def __init__(self):
        self.ways = []

    def layer(self, mask, name, sources, units, *, groups=1):
        """A dense or grouped layer: sources[j] is the channel of input j (or several, in a list)."""
        entry = mask[name].numpy()
        for index in np.argwhere(entry):
            unit, column = index[:2]
            inputs = column + unit // (len(entry) // groups) * entry.shape[1]
            for source in sources[inputs] if isinstance(sources[inputs], list) else [sources[inputs]]:
                self.ways.append((source, units[unit], (name, *index)))

    def pass_on(self, sources, targets):
        self.ways += [(source, target, None) for source, target in zip(sources, targets, strict=True)]

    def search(self, start, ends):
        """(which ends are reached, the elements that lie on a path), by going forth and back step by step."""

        def spread(known, forward):
            while True:
                new = {way[forward] for way in self.ways if way[1 - forward] in known} - known
                if not new:
                    return known
                known |= new

        reached, wanted = spread(set(start), 1), spread(set(ends), 0)
        used = {way[2] for way in self.ways if way[2] and way[0] in reached and way[1] in wanted}
        return [end in reached for end in ends], used


def units(name, count):
    return [(name, unit) for unit in range(count)]


def agrees(graph, mask, paths, ends, start=("x",)):
    found = graph.reachable(mask)
    classes, used = paths.search(start, ends)
    assert found.classes[0].tolist() == classes
    mine = {(name, *index) for name in mask for index in map(tuple, np.argwhere(found.connected[name].numpy()))}
    assert mine == used
    assert {name: found.connected.kept_in(name) for name in mask} == {
        name: sum(element[0] == name for element in used) for name in mask
    }
    return classes


@pytest.mark.parametrize("seed", range(8))
def test_an_mlp_as_by_searching_all_paths(seed):
    net = Drawing()
    hidden = net.relu(net.linear(net.input(1, 6), "fc1", 5))
    net.output(net.linear(net.relu(net.linear(hidden, "fc2", 5)), "fc3", 4))
    mask = mask_of(seed, 0.25, fc1=(5, 6), fc2=(5, 5), fc3=(4, 5))
    paths = Paths()
    paths.layer(mask, "fc1", ["x"] * 6, units("1", 5))
    paths.layer(mask, "fc2", units("1", 5), units("2", 5))
    paths.layer(mask, "fc3", units("2", 5), units("3", 4))
    agrees(net.graph(), mask, paths, units("3", 4))


def test_the_seeds_above_hold_classes_of_both_sorts():
    net = Drawing()
    hidden = net.linear(net.input(1, 6), "fc1", 5)
    net.output(net.linear(net.linear(hidden, "fc2", 5), "fc3", 4))
    found = [
        net.graph().reachable(mask_of(seed, 0.25, fc1=(5, 6), fc2=(5, 5), fc3=(4, 5))).classes[0] for seed in range(8)
    ]
    assert {True, False} == {value for classes in found for value in classes.tolist()}


@pytest.mark.parametrize("seed", range(6))
def test_a_flattened_network_with_groups_a_skip_and_concatenation(seed):
    net = Drawing()
    stem = net.relu(net.batch_norm(net.conv(net.input(1, 2, 2, 2), "stem", 4), "bn"))
    grouped = net.conv(stem, "grouped", 4, groups=2)
    both = net.cat(net.sum(grouped, stem), net.conv(stem, "side", 3))
    net.output(net.linear(net.move(both, "flatten", (1, 28), 1), "fc", 3))
    shapes = {"stem": (4, 2, 3, 3), "grouped": (4, 2, 3, 3), "side": (3, 4, 1, 1), "fc": (3, 28)}
    mask = mask_of(seed, 0.08, **shapes)
    paths = Paths()
    paths.layer(mask, "stem", ["x"] * 2, units("stem", 4))
    paths.layer(mask, "grouped", units("stem", 4), units("grouped", 4), groups=2)
    paths.layer(mask, "side", units("stem", 4), units("side", 3))
    paths.pass_on(units("grouped", 4), units("sum", 4))
    paths.pass_on(units("stem", 4), units("sum", 4))
    flat = [channel for channel in units("sum", 4) + units("side", 3) for _ in range(4)]
    paths.layer(mask, "fc", flat, units("fc", 3))
    agrees(net.graph(), mask, paths, units("fc", 3))


@pytest.mark.parametrize("seed", range(4))
def test_a_weight_called_twice_counts_in_whichever_call_it_is_connected(seed):
    net = Drawing()
    first = net.linear(net.input(1, 4), "tied", 4)
    net.output(net.linear(first, "tied", 4))
    mask = mask_of(seed, 0.3, tied=(4, 4))
    paths = Paths()
    paths.layer(mask, "tied", ["x"] * 4, units("1", 4))
    paths.layer(mask, "tied", units("1", 4), units("2", 4))
    agrees(net.graph(), mask, paths, units("2", 4))


def test_transposed_convolutions_by_group_and_turned_products():
    net = Drawing()
    image = net.conv(net.input(1, 1, 2, 2), "conv", 4)
    net.nodes[image]
    up = net.add(
        Kind.LAYER, "conv_transpose2d", (image,), (1, 6, 4, 4), weights=("up",), units=UnitLayout(1, 2), groups=2
    )
    pooled = net.add(Kind.POOL, "mean", (up,), (1, 6), arguments=((2, 3),))
    turned = net.add(Kind.LAYER, "matmul", (pooled,), (1, 2), weights=("turned",), units=UnitLayout(1), unit_dims=(-1,))
    net.output(turned)
    mask = mask_of(3, 0.15, conv=(4, 1, 1, 1), up=(4, 3, 2, 2), turned=(6, 2))
    mask = mask | Mask(
        {name: torch.zeros_like(entry) if name != "conv" else entry | True for name, entry in mask.items()}
    )
    paths = Paths()
    paths.layer(mask, "conv", ["x"], units("conv", 4))
    for row, column, *kernel in np.argwhere(mask["up"].numpy()):
        unit = row // 2 * 3 + column  # two rows a group, three units a group
        paths.ways.append((("conv", row), ("up", unit), ("up", row, column, *kernel)))
    for row, column in np.argwhere(mask["turned"].numpy()):
        paths.ways.append((("up", row), ("out", column), ("turned", row, column)))
    agrees(net.graph(), mask, paths, units("out", 2))


def test_what_feeds_constants_only_is_not_reached_and_what_no_mask_covers_is_kept():
    net = Drawing()
    hidden = net.linear(net.input(1, 3), "fc1", 2)
    bias = net.add(Kind.CONSTANT, "", (), (2,), weights=("shift",))
    net.output(net.linear(net.sum(hidden, bias), "fc2", 2))
    found = net.graph().reachable(Mask({"fc1": torch.zeros(2, 3, dtype=torch.bool)}))
    assert found.classes[0].tolist() == [False, False]
    assert net.graph().reachable(Mask({"fc2": torch.eye(2) > 0})).classes[0].tolist() == [True, True]


def opaque(kind):
    net = Drawing()
    hidden = net.linear(net.input(1, 5, 3), "fc1", 4)
    state = net.like(kind, "gru", hidden, owner="gru", weights=("gru.weight_ih_l0",))
    net.output(net.linear(state, "fc2", 2))
    return net.graph()


def test_anything_reaches_anything_through_what_is_opaque():
    fc1, fc2 = torch.zeros(4, 3), torch.zeros(2, 4)
    fc1[1, 2] = fc2[0, 3] = 1
    gru = torch.eye(12, 4)
    found = opaque(Kind.RECURRENT).reachable(Mask({"fc1": fc1, "gru.weight_ih_l0": gru, "fc2": fc2}))
    assert found.classes[0].tolist() == [True, False]
    assert [found.connected.kept_in(name) for name in found.connected] == [1, 4, 1]
    nothing = opaque(Kind.RECURRENT).reachable(Mask({"fc1": fc1, "gru.weight_ih_l0": gru * 0, "fc2": fc2}))
    assert nothing.classes[0].tolist() == [False, False]
    assert nothing.connected.kept == 0


def test_a_norm_over_units_lets_each_reach_every_other():
    def reached(call):
        net = Drawing()
        hidden = net.linear(net.input(1, 3), "fc1", 4)
        net.output(net.linear(net.like(Kind.NORM, call, hidden, owner="norm", weights=("norm.weight",)), "fc2", 4))
        mask = Mask({"fc1": torch.eye(4, 3)[[1, 3, 3, 3]], "fc2": torch.eye(4)})
        return net.graph().reachable(mask)

    assert reached("batch_norm").classes[0].tolist() == [True, False, False, False]
    assert reached("batch_norm").connected.kept_in("fc1") == 1
    assert reached("layer_norm").classes[0].tolist() == [True] * 4


def test_an_embedding_is_reached_by_its_indices():
    net = Drawing()
    table = net.add(
        Kind.LAYER, "embedding", (net.input(1, 7),), (1, 7, 3), weights=("table",), units=UnitLayout(1), unit_dims=(-1,)
    )
    net.output(net.linear(table, "fc", 2))
    mask = Mask({"table": torch.tensor([[1, 0, 0], [1, 1, 0]]), "fc": torch.tensor([[0, 1, 0], [0, 0, 1]])})
    found = net.graph().reachable(mask)
    assert found.classes[0].tolist() == [True, False]
    assert [found.connected.kept_in(name) for name in mask] == [1, 1]


def test_a_softmax_at_the_end_leaves_classes_apart_and_one_inside_does_not():
    def classes(*, ends):
        net = Drawing()
        scores = net.like(Kind.ATTENTION, "softmax", net.linear(net.input(1, 2), "fc", 2))
        net.output(scores if ends else net.relu(scores))
        return net.graph().reachable(Mask({"fc": torch.tensor([[1, 0], [0, 0]])})).classes[0].tolist()

    assert classes(ends=True) == [True, False]
    assert classes(ends=False) == [True, True]


def test_wrong_masks_are_refused():
    graph = opaque(Kind.OPAQUE)
    with pytest.raises(InvalidValue, match="it must be a Mask"):
        graph.reachable({"fc1": torch.ones(4, 3)})
    with pytest.raises(MaskMismatch, match=r"'fc1' has shape \(4, 2\)"):
        graph.reachable(Mask({"fc1": torch.ones(4, 2)}))


def test_a_dense_mask_connects_everything():
    for first, second in itertools.product([1, 4], repeat=2):
        net = Drawing()
        net.output(net.linear(net.linear(net.input(1, 3), "fc1", first), "fc2", second))
        mask = Mask({"fc1": torch.ones(first, 3), "fc2": torch.ones(second, first)})
        found = net.graph().reachable(mask)
        assert found.classes[0].tolist() == [True] * second
        assert found.connected == mask


class TwiceTied(nn.Module):
    """An embedding whose table is the weight of the last layer, and a layer that is not called."""

    def __init__(self):
        super().__init__()
        self.table, self.hidden, self.idle = nn.Embedding(7, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.last = nn.Linear(4, 7, bias=False)
        self.last.weight = self.table.weight

    def forward(self, tokens):
        return self.last(self.hidden(self.table(tokens)))


def test_names_and_shapes_of_a_mask_are_those_of_the_traced_model():
    graph = bb.trace(TwiceTied(), torch.zeros(1, 2).long())
    with pytest.raises(UnknownName, match=r"covers 'hiden.weight', which the graph lacks\n.*\n.*'hidden.weight'"):
        graph.reachable(Mask({"hiden.weight": torch.ones(4, 4)}))
    for name, shape in {"idle.weight": (4, 3), "hidden.bias": (4, 1), "table.weight": (4, 7)}.items():
        with pytest.raises(MaskMismatch, match=rf"'{name}' has shape \(4, \d\), its weight \("):
            graph.reachable(Mask({name: torch.ones(shape)}))
    with pytest.raises(InvalidValue, match=r"'table\.weight' and 'last\.weight', which are one tied parameter"):
        graph.reachable(Mask({name: torch.ones(7, 4) for name in ("table.weight", "last.weight")}))


@pytest.mark.parametrize("name", ["table.weight", "last.weight"])
def test_a_tied_weight_may_have_either_name(name):
    graph = bb.trace(TwiceTied(), torch.zeros(1, 2).long())
    entry = torch.zeros(7, 4)
    entry[3] = 1
    found = graph.reachable(Mask({name: entry, "idle.weight": torch.ones(4, 4)}))
    assert found.classes[0].tolist() == [index == 3 for index in range(7)]
    assert found.connected == Mask({name: entry, "idle.weight": torch.zeros(4, 4)})
    renamed = graph.renamed({"last.weight": "table.weight"})
    assert [node.weights for node in renamed.nodes if node.weights] == [
        ("table.weight",), ("hidden.weight",), ("table.weight",)
    ]  # fmt: skip
    again = renamed.reachable(Mask({name: entry}))
    assert again.connected == Mask({name: entry})


def run_on_numbers(call):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, x):
            return call(self.a(x), self.b(x))

    return bb.trace(Net(), torch.randn(2, 3))


@pytest.mark.parametrize(
    ("call", "classes"),
    [
        (lambda a, b: a.mean(), [False]),
        (lambda a, b: a.mean() + b.sum(), [True]),
        (lambda a, b: torch.stack([a.mean(), b.amax()]), [False, True]),
        (lambda a, b: a[0], [False] * 4),
        (lambda a, b: a[0] @ b[0], [True]),
        (lambda a, b: a * b.norm(), [True] * 4),
    ],
    ids=["mean", "sum", "stack", "row", "product", "norm"],
)
def test_single_numbers_and_rows_may_be_returned(call, classes):
    graph = run_on_numbers(call)
    assert graph.reachable(Mask({"a.weight": torch.zeros(4, 3)})).classes[0].tolist() == classes
    assert graph.groups()[0].fixed


class Returned(nn.Module):
    """What a recurrent layer returns, without its state."""

    def forward(self, given):
        return given[0]


NORMED = {
    "batch": nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)),
    "conv": nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(36, 2)),
    "layer": nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2)),
    "group": nn.Sequential(nn.Conv1d(3, 4, 1), nn.GroupNorm(2, 4), nn.Conv1d(4, 2, 1)),
    "behind a recurrent layer": nn.Sequential(nn.LSTM(3, 4), Returned(), nn.LayerNorm(4), nn.Linear(4, 2)),
    "attention": nn.Sequential(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Linear(4, 2)),
}
INPUTS = {"conv": (5, 3, 3, 3), "group": (5, 3, 6), "attention": (5, 3, 4)}


@pytest.mark.parametrize("kind", NORMED)
def test_gains_lie_on_the_paths_that_they_scale(kind):
    model, example = NORMED[kind], torch.randn(INPUTS.get(kind, (5, 3)))
    mask = Mask.dense(model, every_weight)
    assert bb.trace(model, example).reachable(mask).connected == mask


@pytest.mark.parametrize("kind", ["batch", "conv"])
def test_a_pruned_gain_cuts_its_channel_off(kind):
    model = NORMED[kind]
    mask = {name: entry.clone() for name, entry in Mask.dense(model, every_weight).items()}
    mask["1.weight"][1:] = False
    found = bb.trace(model, torch.randn(INPUTS.get(kind, (5, 3)))).reachable(Mask(mask))
    assert found.classes[0].all()
    alive = {name: entry.flatten(1).any(1).tolist() for name, entry in found.connected.items() if entry.dim() > 1}
    assert alive["0.weight"] == [True, False, False, False]
    assert found.connected["1.weight"].tolist() == [True, False, False, False]
    width = found.connected[list(mask)[-1]].shape[1] // 4
    assert found.connected[list(mask)[-1]].any(0).tolist() == [True] * width + [False] * 3 * width
    mask["1.weight"][0] = False
    assert not bb.trace(model, torch.randn(INPUTS.get(kind, (5, 3)))).reachable(Mask(mask)).classes[0].any()


def test_a_row_that_is_cut_off_cuts_its_gain_off():
    model = NORMED["batch"]
    mask = {name: entry.clone() for name, entry in Mask.dense(model, every_weight).items()}
    mask["0.weight"][2] = False
    found = bb.trace(model, torch.randn(5, 3)).reachable(Mask(mask)).connected
    assert found["1.weight"].tolist() == [True, True, False, True]


class Placed(nn.Module):
    """Layers that work on what the code, and not the input, gives."""

    def __init__(self, beside_image, beside_hidden):
        super().__init__()
        self.image, self.hidden, self.places = nn.Conv2d(2, 4, 1), nn.Conv2d(5, 4, 1), nn.Linear(1, 4)
        self.table, self.last = nn.Embedding(3, 4), nn.Linear(4, 2)
        self.register_buffer("coordinates", torch.linspace(-1, 1, 9).reshape(1, 1, 3, 3))
        self.beside_image, self.beside_hidden = beside_image, beside_hidden

    def forward(self, x):
        image = torch.relu(self.image(torch.cat([x, self.beside_image(self)], 1)))
        hidden = self.hidden(torch.cat([image, self.beside_hidden(self)], 1)).flatten(2).mT
        counted = self.places(torch.arange(9.0)[:, None]) + self.table(torch.arange(9) % 3)
        return self.last(torch.relu(hidden + counted)).mean(1)


BESIDE = {
    "coordinates": lambda model: model.coordinates,
    "counted": lambda model: torch.arange(9.0).reshape(1, 1, 3, 3),
    "ones": lambda model: torch.ones(1, 1, 3, 3),
    "zeros": lambda model: torch.zeros(1, 1, 3, 3),
}


@pytest.mark.parametrize(("image", "hidden"), [("coordinates", "counted"), ("ones", "zeros"), ("zeros", "ones")])
def test_what_layers_compute_of_positions_and_coordinates_is_connected(image, hidden):
    """All weights are but those that meet the zeros which the code makes: they get no gradient either."""
    model, x = Placed(BESIDE[image], BESIDE[hidden]), torch.randn(1, 1, 3, 3)
    (model(x) * torch.tensor([1.0, 2.0])).sum().backward()
    found = bb.trace(model, x).reachable(Mask.dense(model, every_weight)).connected
    expected = Mask.dense(model, every_weight)
    for layer, where in (model.image, image), (model.hidden, hidden):
        assert bool(layer.weight.grad[:, -1].any()) == (where != "zeros")
        expected[f"{'image' if layer is model.image else 'hidden'}.weight"][:, -1] = where != "zeros"
    assert found == expected


def test_positions_that_are_added_are_connected_where_that_leads_on():
    class Added(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.aside, self.last = nn.Linear(3, 4), nn.Linear(3, 4), nn.Linear(4, 2)
            self.positions, self.unseen = nn.Parameter(torch.ones(1, 5, 4)), nn.Parameter(torch.ones(1, 5, 4))

        def forward(self, x):
            (self.aside(x) + self.unseen).sum()
            return self.last(torch.relu(self.first(x) + self.positions))

    model = Added()
    graph = bb.trace(model, torch.randn(2, 5, 3))
    dense = Mask.dense(model, bb.including("*"))
    found = graph.reachable(dense).connected
    assert {name: bool(found[name].all()) for name in found} == {
        "positions": True, "unseen": False, "first.weight": True, "aside.weight": False, "last.weight": True,
    }  # fmt: skip
    closed = Mask({**dense, "last.weight": torch.zeros(2, 4)})
    assert graph.reachable(closed).connected.kept == 0
