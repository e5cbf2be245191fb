import pytest
from drawing import Drawing

from budbreak.graph import Kind


def outline(group):
    """(size, {(weight, dim): slices of the first unit}, why it is fixed)."""
    return group.size, {(member.weight, member.dim): member.indices[0] for member in group.members}, group.fixed


@pytest.mark.parametrize(
    ("fixes", "why"),
    [
        (lambda net, hidden: net.sum(hidden, net.add(Kind.CONSTANT, "", (), (1, 5, 4))), "meets the constant"),
        (lambda net, hidden: net.sum(hidden, net.input(2, 5, 4)), "meets an input of the model"),
        (lambda net, hidden: net.sum(hidden, net.linear(hidden, "one", 1)), "is broadcast over units in add"),
        (lambda net, hidden: net.like(Kind.NORM, "group_norm", hidden, owner="gn"), "enters group_norm in gn"),
        (
            lambda net, hidden: net.like(Kind.ATTENTION, "softmax", hidden, where="net.py:3"),
            "enters softmax (net.py:3)",
        ),
        (lambda net, hidden: net.linear(net.move(hidden, "transpose", (2, 4, 5), 1, 2), "mix", 6), "enters mix along"),
    ],
)
def test_what_fixes_a_group_is_said(fixes, why):
    net = Drawing()
    last = fixes(net, net.linear(net.input(2, 5, 3), "fc1", 4))
    net.linear(net.relu(last), "fc2", 2)
    (group,) = [group for group in net.graph().groups() if group.members[0].weight == "fc1"]
    assert why in group.fixed


def test_a_constant_that_is_the_same_for_all_units_fixes_nothing():
    net = Drawing()
    hidden = net.linear(net.input(2, 5, 3), "fc1", 4)
    net.linear(net.sum(hidden, net.add(Kind.CONSTANT, "", (), (5, 1))), "fc2", 2)
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
    assert [(member.weight, member.dim, member.makes) for member in tied.members] == [
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
