from drawing import Drawing

from budbreak.graph import Kind
from budbreak.masks import UnitLayout


def ends(graph):
    """(source, target, skip) of each link."""
    return [(link.source, link.target, link.skip) for link in graph.links]


def pairs(graph, source, target, *, skip=False):
    """(unit, column) of the one link between two weights."""
    (link,) = [one for one in graph.links if (one.source, one.target, one.skip) == (source, target, skip)]
    return list(zip(link.units, link.columns, strict=True))


def test_a_chain_feeds_from_layer_to_layer():
    net = Drawing()
    hidden = net.relu(net.linear(net.input(5, 3), "fc1", 4))
    net.output(net.linear(hidden, "fc2", 2))
    graph = net.graph()
    assert ends(graph) == [(None, "fc1", False), ("fc1", "fc2", False), ("fc2", None, False)]
    assert pairs(graph, "fc1", "fc2") == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert graph.links[0].start.kind == Kind.INPUT
    assert graph.links[0].columns == (0, 1, 2)
    assert graph.links[2].end.kind == Kind.OUTPUT


def test_flattened_channels_feed_a_column_for_each_position():
    net = Drawing()
    image = net.conv(net.input(2, 1, 2, 3), "conv", 2)
    net.linear(net.move(image, "flatten", (2, 12), 1), "fc", 3)
    assert pairs(net.graph(), "conv", "fc") == [(column // 6, column) for column in range(12)]


def test_channels_that_come_last_are_flattened_otherwise():
    net = Drawing()
    image = net.conv(net.input(2, 1, 2, 3), "conv", 2)
    last = net.move(image, "permute", (2, 2, 3, 2), 0, 2, 3, 1)
    net.linear(net.move(last, "view", (2, 12), 2, 12), "fc", 3)
    assert pairs(net.graph(), "conv", "fc") == [(column % 2, column) for column in range(12)]


def test_concatenation_puts_the_second_behind_the_first():
    net = Drawing()
    image = net.input(2, 1, 4, 4)
    both = net.cat(net.conv(image, "left", 2), net.conv(image, "right", 3))
    net.conv(both, "joint", 1)
    assert pairs(net.graph(), "left", "joint") == [(0, 0), (1, 1)]
    assert pairs(net.graph(), "right", "joint") == [(0, 2), (1, 3), (2, 4)]


def test_chunks_and_padding_take_channels_along():
    net = Drawing()
    image = net.conv(net.input(2, 1, 4, 4), "wide", 4)
    second = net.add(Kind.MOVE, "chunk", (image,), (2, 2, 4, 4), arguments=(2, 1), part=1)
    padded = net.move(second, "pad", (2, 4, 4, 4), (0, 0, 0, 0, 1, 1), "constant", 7.0)
    net.conv(padded, "next", 1)
    assert pairs(net.graph(), "wide", "next") == [(2, 1), (3, 2)]


def test_norms_on_the_way_are_named_with_the_place_of_each_gain():
    net = Drawing()
    image = net.batch_norm(net.conv(net.input(2, 1, 1, 2), "conv", 2), "bn1")
    flat = net.batch_norm(net.move(image, "flatten", (2, 4), 1), "bn2")
    net.linear(flat, "fc", 3)
    (link,) = [one for one in net.graph().links if one.source == "conv"]
    assert [(norm.owner, norm.weight, norm.channels) for norm in link.norms] == [
        ("bn1", "bn1.weight", (0, 0, 1, 1)),
        ("bn2", "bn2.weight", (0, 1, 2, 3)),
    ]


def residual():
    net = Drawing()
    stem = net.relu(net.batch_norm(net.conv(net.input(2, 3, 4, 4), "stem", 2), "bn0"))
    branch = net.conv(net.relu(net.conv(stem, "conv1", 5)), "conv2", 2)
    stream = net.relu(net.sum(net.batch_norm(branch, "bn2"), stem))
    net.conv(stream, "next", 1)
    return net


def test_a_residual_sum_is_fed_by_its_branch_and_by_an_identity_path():
    graph = residual().graph()
    assert ends(graph) == [
        (None, "stem", False),
        ("stem", "conv1", False),
        ("conv1", "conv2", False),
        ("stem", "next", True),
        ("conv2", "next", False),
    ]
    assert pairs(graph, "stem", "next", skip=True) == [(0, 0), (1, 1)]
    assert [norm.owner for norm in graph.links[4].norms] == ["bn2"]
    assert [norm.owner for norm in graph.links[3].norms] == ["bn0"]


def test_of_an_identity_path_the_norms_before_it_begins_are_named():
    net = Drawing()
    stem = net.batch_norm(net.linear(net.input(2, 3), "stem", 4), "before")
    stream = net.sum(stem, net.linear(stem, "branch", 4))
    net.linear(net.batch_norm(stream, "behind"), "next", 2)
    by_skip = {link.skip: [norm.owner for norm in link.norms] for link in net.graph().links if link.target == "next"}
    assert by_skip == {True: ["before"], False: ["behind"]}


def test_a_shortcut_with_a_weight_is_no_skip():
    net = Drawing()
    stem = net.relu(net.conv(net.input(2, 3, 4, 4), "stem", 2))
    stream = net.sum(net.conv(stem, "branch", 4), net.conv(stem, "shortcut", 4))
    net.conv(stream, "next", 1)
    assert [end for end in ends(net.graph()) if end[1] == "next"] == [
        ("branch", "next", False),
        ("shortcut", "next", False),
    ]


def test_a_shortcut_that_is_sliced_and_padded_is_a_skip():
    net = Drawing()
    stem = net.conv(net.input(2, 3, 4, 4), "stem", 2)
    branch = net.conv(stem, "branch", 4)
    short = net.move(stem, "pad", (2, 4, 4, 4), (0, 0, 0, 0, 1, 1))
    net.conv(net.sum(branch, short), "next", 1)
    assert pairs(net.graph(), "stem", "next", skip=True) == [(0, 1), (1, 2)]
    assert pairs(net.graph(), "branch", "next") == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_what_cannot_be_followed_is_said_so():
    net = Drawing()
    hidden = net.linear(net.input(2, 7, 3), "fc1", 4)
    state = net.like(Kind.RECURRENT, "gru", hidden, owner="gru", weights=("gru.weight_ih_l0", "gru.weight_hh_l0"))
    net.linear(state, "fc2", 2)
    graph = net.graph()
    assert ends(graph) == [(None, "fc1", False), ("fc1", None, False), (None, "fc2", False)]
    assert graph.links[1].end.kind == graph.links[2].start.kind == Kind.RECURRENT
    assert graph.links[1].columns == (-1,) * 4
    assert graph.links[2].units == (-1,) * 4


def test_a_layer_whose_units_are_unknown_is_not_followed():
    net = Drawing()
    hidden = net.linear(net.input(2, 3), "fc1", 4)
    net.add(Kind.LAYER, "bilinear", (hidden, hidden), (2, 5), weights=("both",), units=UnitLayout(0))
    assert ends(net.graph()) == [(None, "fc1", False), ("fc1", None, False)]


def test_a_weight_called_twice_has_links_of_both_calls():
    net = Drawing()
    first = net.relu(net.linear(net.input(2, 4), "tied", 4))
    net.linear(net.relu(net.linear(first, "tied", 4)), "fc", 2)
    assert ends(net.graph())[:3] == [(None, "tied", False), ("tied", "tied", False), ("tied", "fc", False)]
    assert net.graph().links[1].start.index < net.graph().links[1].end.index


def test_a_mean_over_positions_keeps_channels_and_one_over_channels_does_not():
    net = Drawing()
    image = net.conv(net.input(2, 1, 4, 4), "conv", 3)
    pooled = net.add(Kind.POOL, "mean", (image,), (2, 3), arguments=((2, 3),))
    net.linear(pooled, "kept", 2)
    mixed = net.add(Kind.POOL, "mean", (image,), (2, 1, 4, 4), arguments=(1,), options=(("keepdim", True),))
    net.conv(mixed, "lost", 2)
    assert pairs(net.graph(), "conv", "kept") == [(0, 0), (1, 1), (2, 2)]
    assert (None, "lost", False) in ends(net.graph())
    assert ("conv", "lost", False) not in ends(net.graph())


def test_a_product_is_fed_by_both_of_its_factors():
    net = Drawing()
    image = net.input(2, 3)
    gated = net.like(Kind.MULTIPLY, "mul", net.linear(image, "value", 4), net.linear(image, "gate", 4))
    net.linear(gated, "next", 2)
    assert [end[0] for end in ends(net.graph()) if end[1] == "next"] == ["value", "gate"]


def test_constants_feed_nothing():
    net = Drawing()
    hidden = net.linear(net.input(2, 3), "fc1", 4)
    shift = net.add(Kind.CONSTANT, "", (), (4,), weights=("shift",))
    net.linear(net.sum(hidden, shift), "fc2", 2)
    assert [end[0] for end in ends(net.graph()) if end[1] == "fc2"] == ["fc1"]
