"""What a loss gives: over what it averages, read from the calls of torch's losses; whether gradients reach weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FunctionType
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from budbreak.errors import InvalidValue
from budbreak.evidence.behind import nodes_behind

_BY_CLASS = ("cross_entropy", "nll_loss", "linear_cross_entropy")
_BY_ELEMENT = (
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "poisson_nll_loss", "kl_div",
    "binary_cross_entropy_with_logits", "soft_margin_loss", "gaussian_nll_loss",
)  # fmt: skip
_KNOWN: Mapping[object, tuple[str, inspect.Signature]] = {
    loss: (name, inspect.signature(loss))
    for name in (*_BY_CLASS, *_BY_ELEMENT)
    if (loss := getattr(functional, name, None)) is not None
}
_is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor  # pyright: ignore


@dataclass(frozen=True)
class LossCall:
    """One call of a loss of torch.

    Args:
        result: what it gave, one number.
        terms: over how many terms (labels, weights of labels, elements) it is the mean; None for a sum.
    """

    result: Tensor
    terms: float | None


def tells_by_itself(loss: object) -> bool:
    """Whether a loss is a function of torch that says over what it averages, whatever the model calls."""
    return isinstance(loss, FunctionType) and loss in _KNOWN and loss is not functional.l1_loss


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
        if func in _KNOWN and isinstance(result, Tensor) and not _is_wrapped(result):  # not inside torch.vmap
            name, signature = _KNOWN[func]
            given = signature.bind(*args, **(kwargs or {}))
            given.apply_defaults()
            self._note(name, given.arguments, result)
        return result

    def _note(self, name: str, given: Mapping[str, Any], result: Tensor) -> None:
        reduction = _reduction(given)
        if reduction != "none":
            self.seen.append(LossCall(result, None if reduction == "sum" else _terms(name, given, reduction)))


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
    counts = target != (-100 if ignored is None else ignored)
    weight = cast(Tensor | None, given.get("weight"))
    return float(counts.count_nonzero()) if weight is None else float(weight.double()[target[counts]].sum())


def check_reachable(value: Tensor) -> None:
    """Refuse a graph that ends at a checkpoint of the old kind, behind which weights would look unused.

    Raises:
        InvalidValue: with what to write.
    """
    if "CheckpointFunctionBackward" in _steps(value):
        raise InvalidValue(
            "the model calls torch.utils.checkpoint with use_reentrant=True",
            "it hides the weights inside from torch.autograd.grad: their gradients would be 0",
            "write use_reentrant=False, or checkpoint only while model.training",
        )


def check_twice(value: Tensor) -> None:
    """Refuse a number made of gradients behind which a kernel of somebody's can be differentiated no more.

    Autograd itself leaves out, without a word, what leads through its backward pass.

    Raises:
        InvalidValue: with what to write.
    """
    if "Error" in _steps(value):
        raise InvalidValue(
            "the model calls an autograd.Function whose backward is marked once_differentiable",
            "the Hessian needs second derivatives, and those that lead through it would be 0",
            "let its backward be made of functions of torch, without that mark; or choose another criterion",
        )


def _steps(value: Tensor) -> set[str]:
    """The plain names of all steps of autograd back from a number."""
    return {node.name().rpartition("::")[2] for node in nodes_behind(value.grad_fn)}


def check_scalar(value: Any) -> Tensor:
    """The loss, if it is one number with a graph.

    Raises:
        InvalidValue: if it is anything else.
    """
    if isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad:
        return value
    shown = type(value).__name__
    if isinstance(value, Tensor):
        shown = f"a tensor of shape {tuple(value.shape)}, {'with' if value.requires_grad else 'without'} a graph"
    raise InvalidValue(
        f"the loss is {shown}",
        "it must be one number that autograd can follow back to the weights",
        "return the mean over the batch, and neither detach() nor item()",
    )
