"""What torch's losses average over: read from the calls that a loss makes, whoever wraps them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_BY_CLASS = ("cross_entropy", "nll_loss", "linear_cross_entropy")
_BY_ELEMENT = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "poisson_nll_loss", "kl_div",
    "binary_cross_entropy_with_logits", "soft_margin_loss", "gaussian_nll_loss",
)  # fmt: skip
_KNOWN: Mapping[object, str] = {
    getattr(functional, name): name for name in (*_BY_CLASS, *_BY_ELEMENT) if hasattr(functional, name)
}


@dataclass(frozen=True)
class LossCall:
    """One call of a loss of torch.

    Args:
        result: what it gave, one number.
        terms: over how many terms (labels, weights of labels, elements) it is the mean; None for a sum.
    """

    result: Tensor
    terms: float | None


class LossCalls(TorchFunctionMode):
    """A mode under which model and loss run.

    Attributes:
        seen: the calls of torch's losses, of nested ones the outermost.
        doubts: `l1_loss` was called, to which torch 2.13 hands no ``weight`` under any mode: compare without.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[LossCall] = []
        self.doubts = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the function; note it if it is a loss."""
        result = func(*args, **(kwargs or {}))
        self.doubts |= func is functional.l1_loss
        if func in _KNOWN and isinstance(result, Tensor):
            given = inspect.signature(func).bind(*args, **(kwargs or {}))
            given.apply_defaults()
            reduction = _reduction(given.arguments)
            if reduction != "none":
                terms = None if reduction == "sum" else _terms(_KNOWN[func], given.arguments, reduction)
                self.seen.append(LossCall(result, terms))
        return result


def _reduction(given: Mapping[str, Any]) -> str:
    averaged, reduced = given.get("size_average"), given.get("reduce")
    if averaged is None and reduced is None:
        return cast(str, given["reduction"])
    return "none" if reduced is False else "sum" if averaged is False else "mean"


def _terms(name: str, given: Mapping[str, Any], reduction: str) -> float:
    target = cast(Tensor, given["target"])
    if name in _BY_CLASS:
        return _counted_labels(target, given)
    source = cast(Tensor, given["input"])
    if reduction == "batchmean":
        return float(source.shape[0])
    weight = cast(Tensor | None, given.get("weight"))
    if name == "mse_loss" and weight is not None:  # the others divide by the number of elements all the same
        return float(weight.double().sum())
    return float(torch.broadcast_shapes(source.shape, target.shape).numel())


def _counted_labels(target: Tensor, given: Mapping[str, Any]) -> float:
    """The labels that are not ignored, by class weight; rows, where the targets are probabilities."""
    if target.is_floating_point():
        classes = target.shape[1] if target.dim() > 1 else len(target)
        return target.numel() / max(classes, 1)
    ignored = given["ignore_index"]
    counted = target[target != (-100 if ignored is None else ignored)]
    weight = cast(Tensor | None, given.get("weight"))
    return float(counted.numel()) if weight is None else float(weight.double()[counted].sum())
