"""How much each batch counts: what the mean of its loss was taken over."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from budbreak.checks import check_function, check_not_negative, shown
from budbreak.errors import InvalidValue
from budbreak.evidence.losses import LossCall

Samples = Callable[[Any], float]
"""``samples(batch) -> number``: over how many terms the batch's mean loss was taken."""

_FIX = "give samples=lambda batch: number, over how many terms (labels, samples) its mean loss is taken"


class Weigher:
    """Weigh batches so that the mean of their mean losses is the mean loss of the whole set.

    What a loss returns as a loss of torch gave it, says over what it averages (see `LossCalls`): the labels that are
    not ignored, by class weight; the elements. Any other loss is taken to average over the samples, the leading
    dimension of the target's tensors (of the whole batch where the target holds none). From the second batch on
    that is refused where it may be wrong: targets hold ignored (negative) labels; or shapes differ from batch to
    batch, and leading dimensions disagree, or the further ones are not the same, so that a mean over samples and
    one over elements weigh differently; or a loss of torch is one part of the loss and averages over something else.

    Args:
        loss: what is averaged.
        samples: answers instead of all that.

    Attributes:
        is_told: whether the last batch's loss said over what it averages, or ``samples`` did.
    """

    def __init__(self, loss: object, samples: Samples | None) -> None:
        self.samples = samples
        self.of_torch = _name_in_torch(loss)
        self.batches = 0
        self.is_told = False
        self.doubt: tuple[str, str] | None = None
        self.first: tuple[list[torch.Size], list[float]] | None = None
        if samples is not None:
            check_function("samples", samples, "lambda batch: len(batch[1])")

    def check(self, target: Any) -> None:
        """Refuse what a loss of torch cannot take, before it is called.

        Raises:
            InvalidValue: with how to pick the target.
        """
        if self.of_torch and not isinstance(target, Tensor):
            picked = "for mappings write loss=lambda outputs, batch: ..., which picks it from the batch"
            raise InvalidValue(
                f"the targets are {shown(target)}",
                f"{self.of_torch} compares with a tensor",
                picked if isinstance(target, Mapping) else "give batches of (inputs, targets), both of them tensors",
            )

    def weigh(self, batch: Any, target: Any, value: Any = None, calls: Sequence[LossCall] = ()) -> float:
        """How much this batch counts, >= 0.

        Args:
            batch: as the loader gave it.
            target: what the loss compares with.
            value: what the loss returned, if it was called.
            calls: the losses of torch that were called on the way.

        Raises:
            InvalidValue: where it cannot be known and there is more than one batch, or ``samples`` gives no number;
                if the loss is a sum.
        """
        self.batches += 1
        telling = [call for call in calls if call.result is value]
        self.is_told = self.samples is not None or bool(telling)
        if self.samples is not None:
            return _number(self.samples(batch))
        if telling:
            return _mean_of(telling[0])
        return self._by_samples(batch, target, [call.terms for call in calls if call.terms is not None])

    def _by_samples(self, batch: Any, target: Any, parts: list[float]) -> float:
        tensors = _with_dimensions(target) or _with_dimensions(batch)
        shapes = [tensor.shape for tensor in tensors]
        self.first = (shapes, parts) if self.first is None else self.first
        self.doubt = self.doubt or _ignored(tensors) or _uncountable(self.first[0], shapes)
        count = _leading(shapes)
        self.doubt = self.doubt or _unlike((_leading(self.first[0]), self.first[1]), (count, parts))
        if self.doubt is not None and self.batches > 1:  # a single batch is the whole set, whatever it weighs
            raise InvalidValue(*self.doubt, _FIX)
        return count


def _name_in_torch(loss: object) -> str:
    """The name of a loss of torch itself, module or function; "" for any other."""
    if isinstance(loss, nn.Module):
        return type(loss).__name__ if type(loss).__module__ == nn.modules.loss.__name__ else ""
    name = getattr(loss, "__name__", "")
    return name if name and getattr(functional, name, None) is loss else ""


def _mean_of(call: LossCall) -> float:
    if call.terms is None:
        raise InvalidValue(
            "the loss has reduction 'sum'",
            "gradients are averaged over the batches by their sizes, so each loss is the mean over its batch",
            "write reduction='mean'",
        )
    return call.terms


def _unlike(first: tuple[float, list[float]], now: tuple[float, list[float]]) -> tuple[str, str] | None:
    """Why the parts of a loss weigh these two batches differently, or None."""
    (samples, parts), (count, others) = first, now
    like = len(parts) == len(others) and all(
        math.isclose(mine * count, theirs * samples) for mine, theirs in zip(parts, others, strict=True)
    )
    if like:
        return None
    return (
        f"batches of {samples:g} and {count:g} samples, in which parts of the loss are means over {parts} and {others}",
        "one weight for each batch is that of a loss whose parts all average over the same",
    )


def _ignored(tensors: Sequence[Tensor]) -> tuple[str, str] | None:
    for labels in tensors:
        whole = not (labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool)
        if whole and labels.numel() and int(labels.min()) < 0:
            return (
                f"the targets hold {int(labels.min())}",
                "labels that a loss ignores do not count, and this loss does not say",
            )
    return None


def _uncountable(first: Sequence[torch.Size], shapes: Sequence[torch.Size]) -> tuple[str, str] | None:
    """Why these batches cannot be weighed by their leading dimension, or None; batches of equal shapes always can."""
    if not shapes:
        return "a batch holds no tensor", "batches weigh by their samples, and these cannot be counted"
    if shapes == first:
        return None
    for sizes in (first, shapes):
        if not _agree(sizes):
            leading = sorted({shape[0] for shape in sizes})
            return f"a batch holds leading dimensions {leading}", "batches weigh by their samples: which are these?"
    mine, theirs = [shape[1:] for shape in first], [shape[1:] for shape in shapes]
    if mine == theirs:
        return None
    pairs = zip_longest(mine, theirs, fillvalue=torch.Size([]))
    before, now = next((before, now) for before, now in pairs if before != now)
    return (
        f"samples of shape {tuple(before)} in one batch and {tuple(now)} in another",
        "a mean over samples and one over elements weigh such batches differently, and this loss does not say",
    )


def _agree(shapes: Sequence[torch.Size]) -> bool:
    return len({shape[0] for shape in shapes}) == 1


def _leading(shapes: Sequence[torch.Size]) -> float:
    return float(shapes[0][0]) if _agree(shapes) else 1.0


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in cast(Mapping[Any, Any], value).values():
            yield from _tensors(item)
    elif isinstance(value, list | tuple):
        for item in cast(list[Any], value):
            yield from _tensors(item)


def _with_dimensions(value: Any) -> list[Tensor]:
    return [tensor for tensor in _tensors(value) if tensor.dim()]


def _number(value: Any) -> float:
    value = value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
    check_not_negative("samples(batch)", value, "return a count")
    return float(value)
