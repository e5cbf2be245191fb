"""Whether two models give the same for an example."""

from __future__ import annotations

import math
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


def too_far(given: list[Tensor], other: list[Tensor], tolerance: float | None) -> str:
    """By how much an output differs that differs by more than is accepted, in words; "" if none does.

    Args:
        given: outputs.
        other: those that should be the same.
        tolerance: the largest difference; unless given what rounding may make of each output: the root of its
            precision times its largest value. Small outputs are held to it as large ones are.

    Raises:
        InvariantBroken: if the shapes are others.
    """
    _check_shapes(given, other)
    for one, two in zip(given, other, strict=True):
        apart = _apart(one, two) if one.numel() else 0.0
        limit = _rounding(one) if tolerance is None else tolerance
        if not (math.isfinite(apart) and apart <= limit):
            return f"an output differs by {apart:.3g}, over {limit:.3g}"
    return ""


def _rounding(given: Tensor) -> float:
    """The difference that rounding may make of an output; of whole numbers none."""
    if not (given.is_floating_point() or given.is_complex()) or not given.numel():
        return 0.0
    return float(given.abs().max()) * torch.finfo(given.dtype).eps ** 0.5


def largest_difference(given: list[Tensor], other: list[Tensor]) -> float:
    """The largest difference.

    Raises:
        InvariantBroken: if the shapes are others.
    """
    _check_shapes(given, other)
    pairs = [(one, two) for one, two in zip(given, other, strict=True) if one.numel()]
    return max((_apart(one, two) for one, two in pairs), default=0.0)


def _check_shapes(given: list[Tensor], other: list[Tensor]) -> None:
    shapes = [[tuple(tensor.shape) for tensor in tensors] for tensors in (given, other)]
    if shapes[0] != shapes[1]:
        raise InvariantBroken(f"the outputs have shapes {shapes[1]}, and had {shapes[0]}", "they are the same")


def _apart(one: Tensor, two: Tensor) -> float:
    kind = torch.complex128 if one.is_complex() else torch.float64
    found = float((one.to(kind) - two.to(kind)).abs().max())
    return found if found == found else float("inf")
