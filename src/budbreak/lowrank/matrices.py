"""The weights of a model as matrices: what ranks, penalties and factors look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from budbreak.errors import InvalidValue, MaskMismatch
from budbreak.masks import (
    Mask,
    Prunable,
    Unfolding,
    check_mask,
    parameters_with_layers,
    prunable_parameters,
    unfolding_of,
    unwrap,
)


@dataclass(frozen=True)
class Unfolded:
    """One weight.

    Args:
        name: its state_dict name; ``layer``: the first that uses it.
        kept: True where the mask keeps it, on the weight's device; None where there is no mask.
    """

    name: str
    layer: nn.Module
    parameter: nn.Parameter
    unfolding: Unfolding
    kept: Tensor | None = None

    def weight(self) -> Tensor:
        """What the layer uses: pruned weights are 0, whatever they hold; differentiable."""
        weight = self.parameter.to_dense()
        return weight if self.kept is None else torch.where(self.kept, weight, 0)

    def matrices(self) -> Tensor:
        """The same as [groups, rows, columns]."""
        return self.unfolding.matrices(self.weight())

    @torch.no_grad()
    def assign(self, matrices: Tensor) -> None:
        """Write what `matrices` became into the weight, in place; 0 where it is pruned.

        Raises:
            InvalidValue: for a weight in a sparse layout.
        """
        if self.parameter.layout != torch.strided:
            value, rule = f"{self.name!r} is {self.parameter.layout}", "a matrix of low rank has no zeros to leave out"
            raise InvalidValue(value, rule, "make it dense first: weight.to_dense()")
        weight = self.unfolding.weight(matrices, self.parameter.shape).to(self.parameter.dtype)
        self.parameter.copy_(weight if self.kept is None else torch.where(self.kept, weight, 0))


def unfolded(model: nn.Module, mask: Mask | None, prunable: Prunable) -> tuple[Unfolded, ...]:
    """The weights that ``prunable`` covers, in state_dict order; those that the mask does not cover are whole.

    Raises:
        NothingToPrune, UnknownName, InvalidValue: see `budbreak.masks.prunable_parameters`.
        UnknownName, MaskMismatch: if the mask does not fit the model, or covers what is not looked at.
    """
    parameters = prunable_parameters(model, prunable)
    layers = {name: layer for name, layer, _ in parameters_with_layers(unwrap(model))}
    if mask is not None:
        check_mask(mask)
        mask.parameters(model)
        _check_covered(mask, parameters)
    return tuple(
        Unfolded(
            name,
            layers[name],
            parameter,
            unfolding_of(layers[name], parameter),
            mask[name].to(parameter.device) if mask is not None and name in mask else None,
        )
        for name, parameter in parameters.items()
    )


def _check_covered(mask: Mask, names: Iterable[str]) -> None:
    odd = [name for name in mask if name not in set(names)]
    if odd:
        raise MaskMismatch(
            f"the mask covers {odd[0]!r}, which is not looked at",
            "what a mask covers must be among the prunable weights",
            "give the prunable= that the mask was made with",
        )
