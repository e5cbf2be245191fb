"""Weights that a layer computes from other parameters: weight_norm, spectral_norm, torch.nn.utils.prune, any other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.parametrize import ParametrizationList
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from budbreak.errors import InvalidValue

_WEIGHT_NORM = parametrizations._WeightNorm  # pyright: ignore[reportPrivateUsage]
_SPECTRAL_NORM = parametrizations._SpectralNorm  # pyright: ignore[reportPrivateUsage]
_NAMES: dict[type[nn.Module], str] = {_WEIGHT_NORM: "weight_norm", _SPECTRAL_NORM: "spectral_norm"}


@dataclass(frozen=True)
class Wrapping:
    """What stands between a parameter and the weight that a layer uses.

    Args:
        kind: ``"weight_norm"``, ``"spectral_norm"``, ``"torch.nn.utils.prune"``, or the parametrization's class.
        keeps_zeros: whether a zero of the parameter is a zero of the weight, and stays one.
        fold: the call that makes the weight a plain parameter again.
        is_gain: the parameter is weight_norm's length, not its direction.
        norm_dim: weight_norm divides each slice along this dimension by its norm (-1: all as one); None elsewhere.
    """

    kind: str
    keeps_zeros: bool
    fold: str
    is_gain: bool = False
    norm_dim: int | None = None


def parameters_with_layers(model: nn.Module) -> Iterator[tuple[str, nn.Module, nn.Parameter]]:
    """(state_dict name, layer, parameter) of every parameter, in state_dict order; tied ones appear again.

    The layer is the module that uses it: for a parametrization's original that is the parametrized layer.
    """
    for prefix, module in model.named_modules():
        layer = model.get_submodule(_layer_name(prefix)) if isinstance(module, ParametrizationList) else module
        for own_name, parameter in module.named_parameters(recurse=False):
            yield (f"{prefix}.{own_name}" if prefix else own_name), layer, parameter


def wrapping(name: str, layer: nn.Module) -> Wrapping | None:
    """What stands between this parameter and the weight of its layer; None if it is the weight itself."""
    parts = name.split(".")
    if len(parts) >= 3 and parts[-3] == "parametrizations":
        return _of_parametrizations(parts[-2], parts[-1], layer)
    for hook in layer._forward_pre_hooks.values():  # pyright: ignore[reportPrivateUsage]
        wrapper = _of_hook(hook, parts[-1])
        if wrapper is not None:
            return wrapper
    return None


def check_directions(name: str, layer: nn.Module, entry: Tensor) -> None:
    """Refuse a mask that leaves nothing of a slice that weight_norm divides by its norm.

    Raises:
        InvalidValue: with the first such slice.
    """
    wrapper = wrapping(name, layer)
    if wrapper is None or wrapper.norm_dim is None:
        return
    slices = entry.reshape(1, -1) if wrapper.norm_dim == -1 else entry.movedim(wrapper.norm_dim, 0).flatten(1)
    empty = (~slices.any(1)).nonzero()
    if len(empty):
        raise InvalidValue(
            f"{len(empty)} of {len(slices)} slices of {name!r} would lose all weights, the first is {int(empty[0])}",
            "weight_norm divides each slice by its norm, and 0 / 0 is NaN",
            f"fold it first: {wrapper.fold}; or prune less",
        )


def check_whole_units(name: str, layer: nn.Module) -> None:
    """Refuse to prune whole units of what weight_norm divides by its norm: the first would be NaN.

    Raises:
        InvalidValue: with the call that folds it.
    """
    wrapper = wrapping(name, layer)
    if wrapper is not None and wrapper.norm_dim is not None:
        rule = "whole units cannot go: weight_norm divides each by its norm, and 0 / 0 is NaN"
        raise InvalidValue(f"{name!r} is the direction of weight_norm", rule, f"fold it first: {wrapper.fold}")


def _of_parametrizations(tensor: str, own_name: str, layer: nn.Module) -> Wrapping:
    steps = list(cast(ParametrizationList, getattr(layer, "parametrizations")[tensor]))  # noqa: B009
    kind = " and ".join(_NAMES.get(type(step), type(step).__name__.lstrip("_")) for step in steps)
    return Wrapping(
        kind=kind,
        keeps_zeros=all(isinstance(step, _WEIGHT_NORM | _SPECTRAL_NORM) for step in steps),
        fold=f"torch.nn.utils.parametrize.remove_parametrizations(layer, {tensor!r})",
        is_gain=own_name == "original0" and isinstance(steps[0], _WEIGHT_NORM),
        norm_dim=steps[0].dim if own_name == "original1" and isinstance(steps[0], _WEIGHT_NORM) else None,
    )


def _of_hook(hook: object, own_name: str) -> Wrapping | None:
    if isinstance(hook, WeightNorm) and own_name in (f"{hook.name}_g", f"{hook.name}_v"):
        gain, fold = own_name.endswith("_g"), f"torch.nn.utils.remove_weight_norm(layer, {hook.name!r})"
        return Wrapping("weight_norm", keeps_zeros=True, fold=fold, is_gain=gain, norm_dim=None if gain else hook.dim)
    if isinstance(hook, SpectralNorm) and own_name == f"{hook.name}_orig":
        fold = f"torch.nn.utils.remove_spectral_norm(layer, {hook.name!r})"
        return Wrapping("spectral_norm", keeps_zeros=True, fold=fold)
    tensor = getattr(hook, "_tensor_name", "")
    if isinstance(hook, prune.BasePruningMethod) and own_name == f"{tensor}_orig":
        fold = f"torch.nn.utils.prune.remove(layer, {tensor!r})"
        return Wrapping("torch.nn.utils.prune", keeps_zeros=True, fold=fold)
    return None


def _layer_name(prefix: str) -> str:
    """The name of the parametrized layer: of "fc.parametrizations.weight" it is "fc"."""
    return ".".join(prefix.split(".")[:-2])
