"""Cut tensors of a model, and tell its modules their new sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd  # pyright: ignore[reportPrivateUsage]

from budbreak.activations import ActivationModule
from budbreak.compaction.heads import take_plain_paths, with_fewer_heads


@dataclass(frozen=True)
class Kept:
    """What stays of a parameter or buffer.

    Args:
        name: in the state_dict.
        dim: its dimension.
        indices: along it, ascending.
    """

    name: str
    dim: int
    indices: tuple[int, ...] = field(repr=False)

    def fits(self, size: int) -> bool:
        """Whether these are indices of a dimension of this size."""
        ascending = all(one < other for one, other in zip(self.indices, self.indices[1:], strict=False))
        return bool(self.indices) and ascending and self.dim >= 0 and self.indices[0] >= 0 and self.indices[-1] < size


@dataclass(frozen=True)
class Setting:
    """An attribute of a module that counts units.

    Args:
        module: its path; "" is the model itself.
        attribute: its name.
        value: what it becomes.
    """

    module: str
    attribute: str
    value: int | tuple[int, ...]


def cut(tensor: Tensor, kept: Iterable[Kept]) -> Tensor:
    """What stays of a tensor."""
    for one in kept:
        tensor = tensor.index_select(one.dim, torch.tensor(one.indices, device=tensor.device))
    return tensor


@torch.no_grad()
def cut_tensors(model: nn.Module, kept: Sequence[Kept]) -> None:
    """Replace parameters and buffers of a model by what stays of them, wherever they are held."""
    by_name: dict[str, list[Kept]] = {}
    for one in kept:
        by_name.setdefault(one.name, []).append(one)
    held = {name: tensor_of(model, name) for name in by_name}
    smaller = {id(tensor): _like(tensor, cut(tensor.detach(), by_name[name])) for name, tensor in held.items()}
    for module in model.modules():
        for own in (module._parameters, module._buffers):  # pyright: ignore[reportPrivateUsage]
            table = cast("dict[str, Tensor | None]", own)
            if changed := {key: smaller[id(tensor)] for key, tensor in table.items() if id(tensor) in smaller}:
                table.update(changed)  # scripted modules, of which nothing is cut, cannot be updated


def tensor_of(model: nn.Module, name: str) -> Tensor:
    """A parameter or buffer by its state_dict name."""
    path, _, attribute = name.rpartition(".")
    module = model.get_submodule(path)
    held = {**module._parameters, **module._buffers}  # pyright: ignore[reportPrivateUsage]
    return cast(Tensor, held[attribute])


def add_biases(model: nn.Module, names: Iterable[str]) -> None:
    """Give layers of torch, which say how many units they have, biases of zero."""
    for name in names:
        layer = model.get_submodule(name.rpartition(".")[0])
        count = layer.out_features if isinstance(layer, nn.Linear) else cast(_ConvNd, layer).out_channels
        weight = cast(Tensor, layer.weight)
        zeros = torch.zeros(count, dtype=weight.dtype, device=weight.device)
        layer.register_parameter("bias", nn.Parameter(zeros, requires_grad=weight.requires_grad))


def settings_of(model: nn.Module, kept: Sequence[Kept], before: Mapping[str, Sequence[int]]) -> list[Setting]:
    """The attributes that no longer say the sizes of a model whose tensors were cut, and what they should be.

    Args:
        model: with cut tensors.
        kept: what was cut.
        before: the shapes of its parameters and buffers before.
    """
    paths = dict.fromkeys(layer_path(one.name) for one in kept)
    return [setting for path in paths for setting in _own_settings(model.get_submodule(path), path, kept, before)]


def _own_settings(
    module: nn.Module, path: str, kept: Sequence[Kept], before: Mapping[str, Sequence[int]]
) -> list[Setting]:
    sizes = next((sizes for kind, sizes in _SIZES if isinstance(module, kind)), _of_others)
    rows = [one for one in kept if one.dim == 0 and layer_path(one.name) == path]
    share = (len(rows[0].indices), before[rows[0].name][0]) if rows else (1, 1)
    told = sizes(module, share).items()
    return [Setting(path, key, value) for key, value in told if getattr(module, key) != value]


def put_settings(model: nn.Module, settings: Iterable[Setting]) -> None:
    """Set attributes; attention with fewer heads becomes a module of ours, with the same parameters."""
    for one in settings:
        module = model.get_submodule(one.module)
        if isinstance(module, nn.MultiheadAttention) and one.attribute == "num_heads":
            with_fewer_heads(module, cast(int, one.value))
        else:
            setattr(module, one.attribute, one.value)
    take_plain_paths(model)


def layer_path(name: str) -> str:
    """The path of the layer that uses a parameter, also behind a parametrization."""
    parts = name.split(".")[:-1]
    return ".".join(parts[: parts.index("parametrizations")] if "parametrizations" in parts else parts)


def _like(tensor: Tensor, smaller: Tensor) -> Tensor:
    return nn.Parameter(smaller, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else smaller


_Share = tuple[int, int]
"""How many rows stay, of how many."""


def _of_linear(layer: nn.Linear, _: _Share) -> dict[str, int]:
    return {"out_features": layer.weight.shape[0], "in_features": layer.weight.shape[1]}


def _of_convolution(layer: _ConvNd, share: _Share) -> dict[str, int]:
    rows, columns = layer.weight.shape[:2]
    groups = layer.groups * share[0] // share[1] if layer.groups > 1 else 1
    turned = isinstance(layer, _ConvTransposeNd)
    outputs, inputs = (columns * groups, rows) if turned else (rows, columns * groups)
    return {"out_channels": outputs, "in_channels": inputs, "groups": groups}


def _of_norm(norm: _NormBase, _: _Share) -> dict[str, int]:
    told = norm.weight if norm.weight is not None else norm.running_mean  # pyright: ignore[reportUnnecessaryComparison]
    return {} if told is None else {"num_features": len(told)}


def _of_group_norm(norm: nn.GroupNorm, share: _Share) -> dict[str, int]:
    return {"num_channels": len(norm.weight), "num_groups": max(1, norm.num_groups * share[0] // share[1])}


def _of_shape(norm: nn.LayerNorm | nn.RMSNorm, _: _Share) -> dict[str, tuple[int, ...]]:
    return {"normalized_shape": tuple(norm.weight.shape)}


def _of_activation(module: ActivationModule, _: _Share) -> dict[str, tuple[int, ...]]:
    """One of each scalar for a unit: the shape in which these broadcast."""
    told = [getattr(module, name) for name in module.scalars] if module.shape else []
    return {"shape": (len(told[0]), *module.shape[1:])} if told else {}


def _of_others(layer: nn.Module, _: _Share) -> dict[str, int]:
    """The layer of GPT-2 in transformers, called Conv1D there, which is a transposed Linear; nothing of any other."""
    weight = getattr(layer, "weight", None)
    if not isinstance(weight, Tensor) or weight.dim() != 2 or not {"nf", "nx"} <= vars(layer).keys():
        return {}
    return {"nx": weight.shape[0], "nf": weight.shape[1]}


_SIZES: tuple[tuple[type[nn.Module], Callable[..., Mapping[str, int | tuple[int, ...]]]], ...] = (
    (nn.Linear, _of_linear),
    (_ConvNd, _of_convolution),
    (_NormBase, _of_norm),
    (nn.GroupNorm, _of_group_norm),
    (nn.LayerNorm, _of_shape),
    (nn.RMSNorm, _of_shape),
    (ActivationModule, _of_activation),
    (nn.PReLU, lambda layer, _: {"num_parameters": len(layer.weight)}),
)
"""What modules of torch, and ours, keep of their sizes beside their tensors."""
