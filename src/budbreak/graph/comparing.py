"""Whether two models give the same for an example."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from budbreak.errors import InvariantBroken, NotFinite
from budbreak.graph.examples import call_example
from budbreak.graph.feeding import Forward, outputs_of, to_device
from budbreak.graph.tracking import tensors_of
from budbreak.graph.undisturbed import observing


def example_outputs(model: nn.Module, example: Any, forward: Forward | None = None) -> list[Tensor]:
    """The tensors that a model gives for an example, in eval mode.

    Raises:
        InvalidValue: if it does not take the example.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    batch = to_device(example, device)
    with observing(model, device, None), torch.no_grad():
        given = call_example(model, batch) if forward is None else outputs_of(forward, model, batch)
    return [tensor.detach().clone() for tensor in tensors_of(given)]


def check_finite_outputs(given: list[Tensor]) -> list[Tensor]:
    """The same outputs.

    Raises:
        NotFinite: if there are NaN or infinite ones.
    """
    for place, tensor in enumerate(given):
        odd = int((~torch.isfinite(tensor)).sum())
        if odd:
            raise NotFinite(
                f"output {place} of the model has {odd} values that are NaN or infinite, of {tensor.numel()}",
                "outputs are compared before and after, which takes finite ones",
                "give an example for which the model gives numbers",
            )
    return given


def rounding_of(given: list[Tensor]) -> float:
    """The difference that rounding may make: the root of the precision, times the largest output where that is > 1."""
    floats = [tensor for tensor in given if tensor.is_floating_point() and tensor.numel()]
    return max((max(1.0, float(one.abs().max())) * torch.finfo(one.dtype).eps ** 0.5 for one in floats), default=0.0)


def largest_difference(given: list[Tensor], other: list[Tensor]) -> float:
    """The largest difference.

    Raises:
        InvariantBroken: if the shapes are others.
    """
    shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in (given, other)]
    if shapes[0] != shapes[1]:
        raise InvariantBroken(f"the outputs have shapes {shapes[1]}, and had {shapes[0]}", "they are the same")
    pairs = [(one, two) for one, two in zip(given, other, strict=True) if one.numel()]
    return max((_apart(one, two) for one, two in pairs), default=0.0)


def _apart(one: Tensor, two: Tensor) -> float:
    kind = torch.complex128 if one.is_complex() else torch.float64
    found = float((one.to(kind) - two.to(kind)).abs().max())
    return found if found == found else float("inf")
