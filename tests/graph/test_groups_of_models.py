import copy

import pytest
import torch
from torch import nn
from zoo import ZOO, make

from budbreak.graph import trace


def outline(group):
    """(size, {(weight, dim): slices of the first unit}, why it is fixed)."""
    return group.size, {(member.weight, member.dim): member.indices[0] for member in group.members}, group.fixed


def groups_of(name):
    return [outline(group) for group in trace(*make(name)).groups()]


def test_hidden_layers_of_an_mlp():
    assert groups_of("mlp") == [
        (6, {("fc1.weight", 0): (0,), ("fc2.weight", 1): (0,)}, ""),
        (5, {("fc2.weight", 0): (0,), ("fc3.weight", 1): (0,)}, ""),
        (3, {("fc3.weight", 0): (0,)}, "is an output of the model"),
    ]


def test_flattening_multiplies_columns():
    (group,) = [group for group in trace(*make("lenet-5")).groups() if group.members[0].weight == "conv2.weight"]
    assert outline(group)[1] == {("conv2.weight", 0): (0,), ("fc1.weight", 1): (0,)}
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Flatten(), nn.Linear(12, 2))
    first = trace(wide, torch.randn(2, 1, 2, 2)).groups()[0]
    assert [member.indices for member in first.members] == [
        ((0,), (1,), (2,)),
        ((0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)),
    ]
    assert [member.makes for member in first.members] == [True, False]


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
        "bn.weight",
        *(f"stage1.{block}.bn2.weight" for block in range(3)),
    }
    assert fixed == ""
    assert [group[2] for group in groups] == [""] * 12 + ["is an output of the model"]


def test_concatenation_shifts_columns():
    assert groups_of("densenet") == [
        (
            4,
            {
                ("stem.weight", 0): (0,),
                ("norms.0.weight", 0): (0,),
                ("layers.0.weight", 1): (0,),
                ("norms.1.weight", 0): (0,),
                ("layers.1.weight", 1): (0,),
                ("norms.2.weight", 0): (0,),
                ("fc.weight", 1): (0,),
            },
            "",
        ),
        (
            3,
            {
                ("layers.0.weight", 0): (0,),
                ("norms.1.weight", 0): (4,),
                ("layers.1.weight", 1): (4,),
                ("norms.2.weight", 0): (4,),
                ("fc.weight", 1): (4,),
            },
            "",
        ),
        (3, {("layers.1.weight", 0): (0,), ("norms.2.weight", 0): (7,), ("fc.weight", 1): (7,)}, ""),
        (5, {("fc.weight", 0): (0,)}, "is an output of the model"),
    ]


def test_depthwise_convolutions_tie_outputs_to_inputs_and_grouped_ones_whole_groups():
    assert groups_of("separable") == [
        (
            4,
            {
                ("stem.weight", 0): (0,),
                ("depthwise.weight", 0): (0, 1),
                ("norm.weight", 0): (0, 1),
                ("pointwise.weight", 1): (0, 1),
            },
            "",
        ),
        (2, {("pointwise.weight", 0): (0, 1, 2), ("grouped.weight", 0): (0, 1, 2), ("up.weight", 0): (0, 1, 2)}, ""),
        (4, {("up.weight", 1): (0,), ("fc.weight", 1): (0,)}, ""),
        (3, {("fc.weight", 0): (0,)}, "is an output of the model"),
    ]


def test_the_residual_stream_of_a_transformer_is_fixed_and_its_hidden_units_are_free():
    attention, stream, hidden = groups_of("transformer")
    assert attention[:2] == (24, {("self_attn.in_proj_weight", 0): (0,)})
    assert "scaled_dot_product_attention in self_attn" in attention[2]
    assert stream[2] == "meets an input of the model; is an output of the model"
    assert {weight for weight, _ in stream[1]} == {
        "self_attn.out_proj.weight",
        "norm1.weight",
        "linear1.weight",
        "linear2.weight",
        "norm2.weight",
    }
    assert hidden == (6, {("linear1.weight", 0): (0,), ("linear2.weight", 1): (0,)}, "")


def test_what_enters_a_gru_is_fixed():
    entering, leaving = groups_of("recurrent")
    assert entering[:2] == (4, {("enter.weight", 0): (0,)})
    assert entering[2].startswith("enters gru in gru")
    assert leaving == (2, {("leave.weight", 0): (0,)}, "is an output of the model")


def test_tied_weights_tie_units_of_both_uses():
    stream, classes = groups_of("tied")
    assert stream[:2] == (4, {("last.weight", 1): (0,), ("twice.weight", 0): (0,), ("twice.weight", 1): (0,)})
    assert stream[2] == ""
    assert classes == (7, {("last.weight", 0): (0,)}, "is an output of the model")


def cut(model, group, unit):
    """Cut one unit out of all members, biases and buffers as well."""
    for member in group.members:
        path, _, name = member.weight.rpartition(".")
        module = model.get_submodule(path)
        size = getattr(module, name).shape[member.dim]
        rest = torch.tensor([index for index in range(size) if index not in member.indices[unit]])
        own = [(name, member.dim)]
        if member.makes or isinstance(module, nn.BatchNorm2d):
            own += [(other, 0) for other in ("bias", "running_mean", "running_var")]
        for tensor, dim in own:
            if isinstance(value := getattr(module, tensor, None), torch.Tensor):
                delattr(module, tensor)
                setattr(module, tensor, nn.Parameter(value.detach().index_select(dim, rest)))
        if getattr(module, "groups", 1) > 1:
            module.groups = module.groups * len(rest) // size


def silence(model, group, unit):
    """Make the unit 0 wherever it is made or scaled."""
    for member in group.members:
        path, _, name = member.weight.rpartition(".")
        module = model.get_submodule(path)
        index = torch.tensor(member.indices[unit])
        if member.makes or isinstance(module, nn.BatchNorm2d):
            getattr(module, name).data.index_fill_(member.dim, index, 0)
            if getattr(module, "bias", None) is not None:
                module.bias.data.index_fill_(0, index, 0)


@pytest.mark.parametrize("name", [name for name in ZOO if name != "tied"])
def test_a_unit_that_is_cut_out_everywhere_leaves_what_silence_leaves(name):
    model, example = make(name)
    free = [group for group in trace(model, example).groups() if not group.fixed]
    assert free or name == "recurrent"
    for group in free[:6]:
        cut_model, silent = copy.deepcopy(model), copy.deepcopy(model)
        with torch.no_grad():
            cut(cut_model, group, group.size - 1)
            silence(silent, group, group.size - 1)
            before, after = silent(example), cut_model(example)
        assert torch.allclose(before, after, atol=1e-5)  # sums in another order
