"""How much each batch counts: what the mean of its loss was taken over."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from budbreak.checks import check_function, shown
from budbreak.errors import InvalidValue

Samples = Callable[[Any], float]
"""``samples(batch) -> number``: over how many terms the batch's mean loss was taken."""

_BY_CLASS = (nn.CrossEntropyLoss, nn.NLLLoss)
_BY_ELEMENT = (
    nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss, nn.PoissonNLLLoss,
    nn.SoftMarginLoss, nn.KLDivLoss,
)  # fmt: skip
_FUNCTIONS: Mapping[object, type[nn.Module]] = {
    functional.cross_entropy: nn.CrossEntropyLoss, functional.nll_loss: nn.NLLLoss,
    functional.mse_loss: nn.MSELoss, functional.l1_loss: nn.L1Loss, functional.smooth_l1_loss: nn.SmoothL1Loss,
    functional.huber_loss: nn.HuberLoss, functional.binary_cross_entropy: nn.BCELoss,
    functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    functional.poisson_nll_loss: nn.PoissonNLLLoss, functional.soft_margin_loss: nn.SoftMarginLoss,
    functional.kl_div: nn.KLDivLoss,
}  # fmt: skip
_FIX = "give samples=lambda batch: number, over how many terms (labels, samples) its mean loss is taken"


class Weigher:
    """Weigh batches so that the mean of their mean losses is the mean loss of the whole set.

    A loss of torch (function, module or partial) says over what it averages: cross entropy over the labels that are
    not ignored, by their class weights; elementwise losses over all elements of the target. Any other loss is
    taken to average over the samples, the leading dimension of the target's tensors (of the whole batch where
    the target holds none). From the second batch on that is refused where it may be wrong: targets hold ignored
    (negative) labels; or shapes differ from batch to batch, and leading dimensions disagree, or the further ones
    are not the same, so that a mean over samples and one over elements weigh differently.

    Args:
        loss: what is averaged.
        samples: answers instead of all that.
    """

    def __init__(self, loss: object, samples: Samples | None) -> None:
        self.samples = samples
        self.kind, self.options = _recognised(loss)
        self.batches = 0
        self.doubt: tuple[str, str] | None = None
        self.first: list[torch.Size] | None = None
        if samples is not None:
            check_function("samples", samples, "lambda batch: len(batch[1])")
        if samples is None and self.options.get("reduction", "mean") == "sum":
            raise InvalidValue(
                "the loss has reduction 'sum'",
                "gradients are averaged over the batches by their sizes, so each loss is the mean over its batch",
                "write reduction='mean'",
            )

    def weigh(self, batch: Any, target: Any) -> float:
        """How much this batch counts, >= 0.

        Args:
            batch: as the loader gave it.
            target: what the loss compares with.

        Raises:
            InvalidValue: where it cannot be known and there is more than one batch, or ``samples`` gives no number.
        """
        self.batches += 1
        if self.samples is not None:
            return _number(self.samples(batch))
        if self.kind is not None and not isinstance(target, Tensor):
            raise InvalidValue(
                f"the targets are {shown(target)}",
                f"{self.kind.__name__} compares with a tensor",
                "for mappings write loss=lambda outputs, batch: ..., which picks it from the batch",
            )
        if self.kind in _BY_CLASS:
            return _counted_labels(target, self.options)
        if self.kind in _BY_ELEMENT and self.options.get("reduction") != "batchmean":
            return float(target.numel())
        tensors = [one for one in _tensors(target) if one.dim()] or [one for one in _tensors(batch) if one.dim()]
        shapes = [one.shape for one in tensors]
        self.first = shapes if self.first is None else self.first
        self.doubt = self.doubt or _ignored(tensors) or _uncountable(self.first, shapes)
        if self.doubt is not None and self.batches > 1:  # a single batch is the whole set, whatever it weighs
            raise InvalidValue(*self.doubt, _FIX)
        return float(shapes[0][0]) if _agree(shapes) else 1.0


def _ignored(tensors: Sequence[Tensor]) -> tuple[str, str] | None:
    for one in tensors:
        whole = not (one.is_floating_point() or one.is_complex() or one.dtype == torch.bool)
        if whole and one.numel() and int(one.min()) < 0:
            return (
                f"the targets hold {int(one.min())}",
                "labels that a loss ignores do not count, and this loss does not say",
            )
    return None


def _uncountable(first: Sequence[torch.Size], shapes: Sequence[torch.Size]) -> tuple[str, str] | None:
    """Why these batches cannot be weighed by their leading dimension, or None; batches of equal shapes always can."""
    if not shapes:
        return "a batch holds no tensor", "batches weigh by their samples, and these cannot be counted"
    if shapes == first:
        return None
    for one in (first, shapes):
        if not _agree(one):
            leading = sorted({shape[0] for shape in one})
            return f"a batch holds leading dimensions {leading}", "batches weigh by their samples: which are these?"
    mine, other = [shape[1:] for shape in first], [shape[1:] for shape in shapes]
    if mine == other:
        return None
    a, b = next((a, b) for a, b in zip_longest(mine, other, fillvalue=torch.Size([])) if a != b)
    return (
        f"samples of shape {tuple(a)} in one batch and {tuple(b)} in another",
        "a mean over samples and one over elements weigh such batches differently, and this loss does not say",
    )


def _agree(shapes: Sequence[torch.Size]) -> bool:
    return len({shape[0] for shape in shapes}) == 1


def _recognised(loss: object) -> tuple[type[nn.Module] | None, Mapping[str, Any]]:
    """The torch module class that a loss is, and its options; None for any other."""
    if type(loss) in _BY_CLASS + _BY_ELEMENT:
        return type(cast(nn.Module, loss)), {**vars(loss), **dict(cast(nn.Module, loss).named_buffers())}
    partial = isinstance(loss, functools.partial) and not loss.args
    function: object = loss.func if partial else loss  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
    options = cast(Mapping[str, Any], loss.keywords if partial else {})  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]
    return next((kind for known, kind in _FUNCTIONS.items() if known is function), None), options


def _counted_labels(target: Tensor, options: Mapping[str, Any]) -> float:
    """Over what cross entropy averages: its labels, by class weight, without the ignored; or rows of probabilities."""
    if target.is_floating_point():
        classes = target.shape[1] if target.dim() > 1 else len(target)
        return target.numel() / max(classes, 1)
    counted = target[target != options.get("ignore_index", -100)]
    weight = cast(Tensor | None, options.get("weight"))
    return float(counted.numel()) if weight is None else float(weight.to(target.device, torch.float64)[counted].sum())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for one in cast(Mapping[Any, Any], value).values():
            yield from _tensors(one)
    elif isinstance(value, list | tuple):
        for one in cast(list[Any], value):
            yield from _tensors(one)


def _number(value: Any) -> float:
    value = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise InvalidValue(f"samples(batch) is {shown(value)}", "it must be a finite number >= 0", "return a count")
    return float(value)
