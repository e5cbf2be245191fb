import torch
from torch import nn
from zoo import make

from budbreak.graph import trace


def outline(group):
    """(size, {(weight, dim): slices of the first unit}, why it is fixed)."""
    return group.size, {(member.name, member.dim): member.indices[0] for member in group.members}, group.fixed


def named(prefix, *names, index=0):
    """{(name, 0): (index,)} of what a layer or a norm holds for a unit."""
    return {(f"{prefix}.{name}", 0): (index,) for name in names}


LAYER, NORM = ("weight", "bias"), ("running_mean", "running_var", "weight", "bias")


def groups_of(name):
    return [outline(group) for group in trace(*make(name)).groups()]


def test_hidden_layers_of_an_mlp():
    assert groups_of("mlp") == [
        (6, {**named("fc1", *LAYER), ("fc2.weight", 1): (0,)}, ""),
        (5, {**named("fc2", *LAYER), ("fc3.weight", 1): (0,)}, ""),
        (3, named("fc3", *LAYER), "is an output of the model"),
    ]


def test_flattening_multiplies_columns():
    (group,) = [group for group in trace(*make("lenet-5")).groups() if group.members[0].name == "conv2.weight"]
    assert outline(group)[1] == {**named("conv2", *LAYER), ("fc1.weight", 1): (0,)}
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Flatten(), nn.Linear(12, 2))
    first = trace(wide, torch.randn(2, 1, 2, 2)).groups()[0]
    assert [member.indices for member in first.members] == [
        ((0,), (1,), (2,)),
        ((0,), (1,), (2,)),
        ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)),
    ]
    assert [(member.makes, member.reads) for member in first.members] == [(True, False), (False, False), (False, True)]


def test_residual_sums_tie_all_that_is_added():
    groups = groups_of("resnet-20")
    assert [group[0] for group in groups] == [16] * 4 + [32] * 4 + [64] * 4 + [10]
    _, members, fixed = groups[0]
    made = [weight for weight, dim in members if dim == 0 and "conv" in weight]
    read = [weight for weight, dim in members if dim == 1]
    assert made == ["conv.weight", *(f"stage1.{block}.conv2.weight" for block in range(3))]
    assert read == [
        *(f"stage1.{block}.conv1.weight" for block in range(3)),
        "stage2.0.conv1.weight",
        "stage2.0.shortcut.conv.weight",
    ]
    assert {weight for weight, dim in members if "bn" in weight} == {
        f"{norm}.{name}" for norm in ("bn", *(f"stage1.{block}.bn2" for block in range(3))) for name in NORM
    }
    assert fixed == ""
    assert [group[2] for group in groups] == [""] * 12 + ["is an output of the model"]


def test_concatenation_shifts_columns():
    assert groups_of("densenet") == [
        (
            4,
            {
                **named("stem", *LAYER),
                **named("norms.0", *NORM),
                ("layers.0.weight", 1): (0,),
                **named("norms.1", *NORM),
                ("layers.1.weight", 1): (0,),
                **named("norms.2", *NORM),
                ("fc.weight", 1): (0,),
            },
            "",
        ),
        (
            3,
            {
                **named("layers.0", *LAYER),
                **named("norms.1", *NORM, index=4),
                ("layers.1.weight", 1): (4,),
                **named("norms.2", *NORM, index=4),
                ("fc.weight", 1): (4,),
            },
            "",
        ),
        (3, {**named("layers.1", *LAYER), **named("norms.2", *NORM, index=7), ("fc.weight", 1): (7,)}, ""),
        (5, named("fc", *LAYER), "is an output of the model"),
    ]


def test_depthwise_convolutions_tie_outputs_to_inputs_and_grouped_ones_whole_groups():
    assert groups_of("separable") == [
        (
            4,
            {
                **named("stem", *LAYER),
                **dict.fromkeys([*named("depthwise", *LAYER), *named("norm", *NORM)], (0, 1)),
                ("pointwise.weight", 1): (0, 1),
            },
            "",
        ),
        (
            2,
            dict.fromkeys([*named("pointwise", *LAYER), *named("grouped", *LAYER), ("up.weight", 0)], (0, 1, 2)),
            "",
        ),
        (4, {("up.weight", 1): (0,), ("up.bias", 0): (0,), ("fc.weight", 1): (0,)}, ""),
        (3, named("fc", *LAYER), "is an output of the model"),
    ]


def test_the_residual_stream_of_a_transformer_is_fixed_and_its_heads_and_hidden_units_are_free():
    attention, stream, hidden = groups_of("transformer")
    rows = (*range(4), *range(8, 12), *range(16, 20))  # of queries, keys and values of the first head
    assert attention == (
        2,
        {
            ("self_attn.in_proj_weight", 0): rows,
            ("self_attn.in_proj_bias", 0): rows,
            ("self_attn.out_proj.weight", 1): (0, 1, 2, 3),
        },
        "",
    )
    assert stream[2] == "is an output of the model; meets an input of the model"
    assert set(stream[1]) == {
        *(slot for layer in ("self_attn.out_proj", "norm1", "linear2", "norm2") for slot in named(layer, *LAYER)),
        ("linear1.weight", 1),
    }
    assert hidden == (6, {**named("linear1", *LAYER), ("linear2.weight", 1): (0,)}, "")


def test_what_enters_a_gru_is_fixed_and_so_is_what_is_inside():
    entering, leaving, inside = groups_of("recurrent")
    assert entering == (4, named("enter", *LAYER), "enters gru in gru")
    assert leaving == (2, named("leave", *LAYER), "is an output of the model")
    weights = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    assert inside == (1, dict.fromkeys(named("gru", *weights), tuple(range(15))), "is inside gru in gru")


def test_tied_weights_tie_units_of_both_uses():
    stream, classes = groups_of("tied")
    assert stream[:2] == (
        4,
        {("last.weight", 1): (0,), **named("twice", *LAYER), ("twice.weight", 1): (0,)},
    )
    assert stream[2] == ""
    assert classes == (7, {("last.weight", 0): (0,)}, "is an output of the model")
