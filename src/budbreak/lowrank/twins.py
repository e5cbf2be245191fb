"""Two networks that must give the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from budbreak.errors import BudbreakError, InvalidValue, InvariantBroken
from budbreak.graph import call_example, undisturbed


def check_same(reference: nn.Module, other: nn.Module, example: Any) -> None:
    """Refuse a network whose outputs on an example are not those of the reference, both in eval mode.

    The difference of an output may be sqrt(epsilon of the dtype) times its largest value.

    Raises:
        InvalidValue: if one of them does not take the example.
        InvariantBroken: if they differ by more.
    """
    wanted = _outputs(reference, example)
    try:
        found = _outputs(other, example)
    except BudbreakError as error:
        rule = "a layer that is replaced must be called, and nothing of it be read"
        raise InvalidValue(f"with layers replaced, {error.value}", rule, "leave that layer out") from error
    if len(found) != len(wanted):
        raise InvariantBroken(f"{len(found)} outputs, not {len(wanted)}", "replaced layers give what they gave")
    for one, two in zip(wanted, found, strict=True):
        _check_near(one, two)


def _check_near(wanted: Tensor, found: Tensor) -> None:
    bound = torch.finfo(wanted.dtype).eps ** 0.5 * float(wanted.abs().max())
    far = float((wanted - found).abs().max()) if found.shape == wanted.shape else float("inf")
    if not far <= bound:
        raise InvariantBroken(
            f"the outputs differ by {far:.3g}, with layers replaced",
            f"rounding explains up to {bound:.3g}",
            "leave out the layer that is used in another way than by calling it",
        )


@torch.no_grad()
def _outputs(model: nn.Module, example: Any) -> list[Tensor]:
    with undisturbed(model):
        model.eval()
        return [one for one in _tensors(call_example(model, example)) if one.is_floating_point() and one.numel()]


def _tensors(output: Any) -> list[Tensor]:
    """The tensors of an output, nested or not."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = list(cast("Mapping[str, Any]", output).values())
    return [one for part in output for one in _tensors(part)] if isinstance(output, list | tuple) else []
