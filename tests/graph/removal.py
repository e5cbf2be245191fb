"""Remove one unit of a group from a live model, physically, and by zeroing what reads it."""

import copy

import torch
from torch import nn


def holders(model, name):
    """[(module, attribute)] of all that hold this parameter or buffer."""
    path, _, attribute = name.rpartition(".")
    tensor = getattr(model.get_submodule(path), attribute)
    return tensor, [
        (module, own)
        for module in model.modules()
        for own, held in [*module._parameters.items(), *module._buffers.items()]
        if held is tensor
    ]


def without(model, group, unit):
    """A copy of the model without this unit: its slices are cut out of every member."""
    model = copy.deepcopy(model)
    for member in group.members:
        tensor, places = holders(model, member.name)
        gone = set(member.indices[unit])
        rest = torch.tensor([index for index in range(tensor.shape[member.dim]) if index not in gone])
        left = tensor.detach().index_select(member.dim, rest)
        left = nn.Parameter(left) if isinstance(tensor, nn.Parameter) else left
        for module, own in places:
            resize(module, own, tensor.shape, left.shape)
            setattr(module, own, left)
    return model


def resize(module, own, before, after):
    """What a module of torch keeps of its sizes beside its weights."""
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        module.normalized_shape = tuple(after)
    if isinstance(module, nn.GroupNorm) and own == "weight":
        module.num_groups = max(1, module.num_groups * after[0] // before[0])
    if hasattr(module, "num_features"):
        module.num_features = after[0]
    if getattr(module, "groups", 1) > 1 and own == "weight":
        module.groups = module.groups * after[0] // before[0]


def unread(model, group, unit):
    """A copy of the model in which nothing reads this unit: its columns are zero everywhere."""
    model = copy.deepcopy(model)
    read = {member.name for member in group.members if member.reads}
    for member in group.members:
        if member.reads and member.name.replace("weight_v", "weight_g") not in read - {member.name}:  # 0 / 0
            tensor, _ = holders(model, member.name)
            tensor.data.index_fill_(member.dim, torch.tensor(member.indices[unit]), 0)
    return model
