import pytest
from drawing import Drawing

from budbreak.graph import Kind


def outline(group):
    """(size, {(weight, dim): slices of the first unit}, why it is fixed)."""
    return group.size, {(member.name, member.dim): member.indices[0] for member in group.members}, group.fixed


@pytest.mark.parametrize(
    ("fixes", "why"),
    [
        (lambda net, hidden: net.sum(hidden, net.constant((1, 5, 4))), "meets a constant that the code makes"),
        (lambda net, hidden: net.sum(hidden, net.constant((1, 5, 4), "table", known=False)), "is made of all of table"),
        (lambda net, hidden: net.sum(hidden, net.input(2, 5, 4)), "meets an input of the model"),
        (
            lambda net, hidden: net.like(Kind.ATTENTION, "softmax", hidden, where="net.py:3"),
            "enters softmax (net.py:3)",
        ),
        (
            lambda net, hidden: net.cat(net.constant((2, 1, 4)), hidden, dim=1),
            "meets a constant that the code makes",
        ),
        (lambda net, hidden: net.linear(net.move(hidden, "transpose", (2, 4, 5), 1, 2), "mix", 6), "enters mix along"),
    ],
)
def test_what_fixes_a_group_is_said(fixes, why):
    net = Drawing()
    last = fixes(net, net.linear(net.input(2, 5, 3), "fc1", 4))
    net.linear(net.relu(last), "fc2", 2)
    (group,) = [group for group in net.graph().groups() if group.members[0].name == "fc1"]
    assert why in group.fixed


def test_one_value_for_several_units_stays_and_they_may_go():
    net = Drawing()
    hidden = net.linear(net.input(2, 5, 3), "fc1", 4)
    net.linear(net.relu(net.sum(hidden, net.linear(hidden, "one", 1))), "fc2", 2)
    groups = {group.members[0].name: group.fixed for group in net.graph().groups()}
    assert groups == {
        "fc1": "",
        "one": "is broadcast over units in add; is all of linear",
        "fc2": "",
    }


@pytest.mark.parametrize(("groups", "size", "inexact"), [(1, 4, "group_norm"), (2, 2, ""), (4, 4, "")])
def test_a_norm_of_groups_ties_the_channels_of_each(groups, size, inexact):
    net = Drawing()
    image = net.conv(net.input(2, 1, 3, 3), "conv", 4)
    over = (-3, -2, -1) if groups == 1 else (-2, -1)
    net.conv(net.like(Kind.NORM, "group_norm", image, owner="gn", groups=groups, over=over), "next", 3)
    first = net.graph().groups()[0]
    assert (first.size, first.fixed, first.exact) == (size, "", not inexact)
    assert first.inexact == (f"{inexact} in gn takes its mean over them" if inexact else "")
    assert first.members[0].indices[0] == tuple(range(4 // size))


def test_of_an_outer_product_the_first_is_followed():
    net = Drawing()
    hidden = net.input(2, 3)
    rows = net.move(net.linear(hidden, "rows", 4), "unsqueeze", (2, 4, 1), -1)
    columns = net.move(net.linear(hidden, "columns", 5), "unsqueeze", (2, 1, 5), 1)
    both = net.add(Kind.MULTIPLY, "mul", (rows, columns), (2, 4, 5))
    net.linear(net.add(Kind.POOL, "sum", (both,), (2, 4), arguments=(-1,)), "next", 2)
    outlines = [outline(group) for group in net.graph().groups()]
    assert outlines[0] == (4, {("rows", 0): (0,), ("next", 1): (0,)}, "")
    assert outlines[1][1:] == ({("columns", 0): (0,)}, "is broadcast over units in mul")


def test_a_learned_token_is_cut_with_the_channels_beside_it():
    net = Drawing()
    token = net.constant((2, 1, 4), "token", made_of=(1, 1, 4))
    both = net.cat(token, net.linear(net.input(2, 5, 3), "fc1", 4), dim=1)
    net.linear(net.layer_norm(both, "norm"), "fc2", 2)
    first = net.graph().groups()[0]
    assert outline(first)[1:] == (
        {("token", 2): (0,), ("fc1", 0): (0,), ("norm.weight", 0): (0,), ("fc2", 1): (0,)},
        "",
    )
    assert first.inexact == "layer_norm in norm takes its mean over them"


def test_a_view_that_splits_units_leaves_rows_that_only_a_head_fills():
    net = Drawing()
    hidden = net.move(net.linear(net.input(2, 3), "fc1", 6), "view", (2, 3, 2), 2, 3, 2)
    net.linear(net.move(net.relu(hidden), "flatten", (2, 6), 1), "fc2", 2)
    assert outline(net.graph().groups()[0]) == (
        6,
        {("fc1", 0): (0,), ("fc2", 1): (0,)},
        "is no whole row of view",
    )


def test_sizes_that_were_given_are_named_where_they_do_not_fit_any_more():
    net = Drawing()
    image = net.conv(net.input(2, 1, 2, 2), "conv", 3)
    net.linear(net.move(image, "view", (2, 12), 2, 12), "told", 2)
    net.linear(net.move(image, "view", (2, 12), 2, -1), "open", 2)
    first = net.graph().groups()[0]
    assert (first.fixed, first.sizes) == ("", ("view",))


def test_a_constant_that_is_the_same_for_all_units_fixes_nothing():
    net = Drawing()
    hidden = net.linear(net.input(2, 5, 3), "fc1", 4)
    net.linear(net.sum(hidden, net.constant((5, 1))), "fc2", 2)
    assert [group.fixed for group in net.graph().groups()] == ["", ""]


def test_gates_are_tied_to_what_they_scale():
    net = Drawing()
    both = net.linear(net.input(2, 3), "both", 8)
    halves = [net.add(Kind.MOVE, "chunk", (both,), (2, 4), arguments=(2, -1), part=part) for part in (0, 1)]
    net.linear(net.like(Kind.MULTIPLY, "mul", *halves), "next", 2)
    assert outline(net.graph().groups()[0]) == (4, {("both", 0): (0, 4), ("next", 1): (0,)}, "")


def test_a_weight_that_is_called_twice_ties_the_units_of_both_calls():
    net = Drawing()
    first = net.relu(net.linear(net.input(2, 3), "enter", 4))
    net.linear(net.relu(net.linear(net.linear(first, "tied", 4), "tied", 4)), "leave", 2)
    tied, _ = net.graph().groups()
    assert tied.size == 4
    assert [(member.name, member.dim, member.makes) for member in tied.members] == [
        ("enter", 0, True),
        ("tied", 0, True),
        ("tied", 1, False),
        ("leave", 1, False),
    ]


def test_a_norm_behind_flattened_channels_has_a_gain_for_each_position():
    net = Drawing()
    image = net.conv(net.input(2, 1, 1, 2), "conv", 2)
    flat = net.batch_norm(net.move(image, "flatten", (2, 4), 1), "bn")
    net.linear(flat, "fc", 3)
    assert outline(net.graph().groups()[0]) == (2, {("conv", 0): (0,), ("bn.weight", 0): (0, 1), ("fc", 1): (0, 1)}, "")


def test_a_constant_beside_other_channels_fixes_nothing():
    net = Drawing()
    hidden = net.linear(net.input(2, 3), "fc1", 4)
    net.linear(net.cat(net.constant((2, 3)), hidden, dim=-1), "fc2", 2)
    assert outline(net.graph().groups()[0]) == (4, {("fc1", 0): (0,), ("fc2", 1): (3,)}, "")


def test_a_token_in_front_leaves_the_channels_of_the_others_where_they_are():
    net = Drawing()
    hidden = net.linear(net.input(2, 5, 3), "fc1", 4)
    both = net.cat(net.linear(net.input(2, 1, 3), "token", 4), hidden, dim=1)
    normed = net.layer_norm(both, "norm")
    net.linear(net.relu(normed), "fc2", 2)
    assert outline(net.graph().groups()[0]) == (
        4,
        {("fc1", 0): (0,), ("token", 0): (0,), ("norm.weight", 0): (0,), ("fc2", 1): (0,)},
        "",
    )


def test_shuffled_pixels_cut_as_many_rows_as_a_column_needs():
    net = Drawing()
    image = net.conv(net.input(2, 1, 2, 2), "conv", 8)
    net.conv(net.move(image, "pixel_shuffle", (2, 2, 4, 4), 2), "next", 3)
    assert outline(net.graph().groups()[0]) == (2, {("conv", 0): (0, 1, 2, 3), ("next", 1): (0,)}, "")


def test_a_grouped_convolution_of_the_input_is_fixed_group_by_group():
    net = Drawing()
    net.conv(net.conv(net.input(2, 2, 3, 3), "first", 4, groups=2), "next", 3)
    assert outline(net.graph().groups()[0]) == (
        2,
        {("first", 0): (0, 1), ("next", 1): (0, 1)},
        "meets an input of the model",
    )


def test_a_token_that_cannot_be_followed_fixes_the_channels_behind_it_and_ties_none():
    net = Drawing()
    image = net.input(2, 5, 3)
    both = net.cat(net.input(2, 1, 4), net.linear(image, "fc1", 4), dim=1)
    normed = net.layer_norm(both, "norm")
    net.linear(normed, "fc2", 2)
    assert outline(net.graph().groups()[0]) == (
        4,
        {("fc1", 0): (0,), ("norm.weight", 0): (0,), ("fc2", 1): (0,)},
        "meets an input of the model",
    )
