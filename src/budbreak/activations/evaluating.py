"""Run an activation: by its formula, or with its slopes in closed form, a slice at a time.

Autograd keeps a tensor, and runs through memory, for each call of a formula. In closed form the input alone is kept;
and on a CPU slices that stay in its cache go through all calls at once, in half of the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from budbreak.graph import is_recorded, unseen_by_modes

Scalar = Tensor | float

_SLICE = 32768
"""Values of a slice: 128 KiB of float32. 16,384 and 65,536 take a tenth longer."""
_HALF = (torch.float16, torch.bfloat16)
_is_transformed = torch._C._functorch.is_functorch_wrapped_tensor  # pyright: ignore


class Formula(Protocol):
    """What is asked of an `Activation` here; see there."""

    widened: ClassVar[bool]

    @property
    def scalars(self) -> Mapping[str, float]:
        """Name -> where it starts."""
        ...

    @property
    def is_closed(self) -> bool:
        """Whether it has slopes in closed form."""
        ...

    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """The operator."""
        ...

    def slopes(self, x: Tensor, *scalars: Scalar) -> Iterator[Tensor]:
        """Its derivatives."""
        ...

    def shortcut(self, x: Tensor) -> Tensor | None:
        """One function of torch that gives the same."""
        ...


def evaluate(activation: Formula, x: Tensor, scalars: Sequence[Tensor]) -> Tensor:
    """What the activation gives, in the shape and dtype of x.

    Args:
        activation: the operator.
        x: float, of any shape.
        scalars: in its order, each broadcasting with x; none: its constants.
    """
    short = None if scalars else activation.shortcut(x)
    if short is not None:
        return short
    shows = bool(scalars) and is_recorded()  # the graph asks how scalars lie along the units
    if activation.is_closed and not shows and _is_plain(x) and (activation.widened or x.dtype not in _HALF):
        return _Closed.apply(activation, x, *scalars)  # pyright: ignore[reportReturnType]
    return _by_formula(activation, x, scalars)


def _is_plain(x: Tensor) -> bool:
    """Whether it is a tensor of numbers: what is compiled, exported or transformed sees the formula."""
    plain = type(x) in (Tensor, nn.Parameter) and not torch.compiler.is_compiling()
    return plain and x.is_floating_point() and not _is_transformed(x)


def _by_formula(activation: Formula, x: Tensor, scalars: Sequence[Tensor]) -> Tensor:
    wide = _widened(x) if activation.widened else x
    result = activation.formula(wide, *(scalars or activation.scalars.values()))
    return result if wide is x and not scalars else result.to(x.dtype)


def _widened(x: Tensor) -> Tensor:
    return x.float() if isinstance(x, Tensor) and x.dtype in _HALF else x  # pyright: ignore[reportUnnecessaryIsInstance]


class _Closed(torch.autograd.Function):
    """The formula forward, the slopes backward; differentiable twice, by autograd through the slopes."""

    @staticmethod
    def forward(ctx: Any, activation: Formula, x: Tensor, *scalars: Tensor) -> Tensor:
        ctx.activation = activation
        ctx.save_for_backward(x, *scalars)
        with unseen_by_modes():
            if _is_whole(x, scalars):
                return _by_formula(activation, x, scalars)
            dense = _dense(x)
            result, given = torch.empty_like(dense), scalars or tuple(activation.scalars.values())
            for part, into in zip(_slices(dense), _slices(result), strict=True):
                into.copy_(activation.formula(_widened(part), *given))
            return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,), (x, *scalars) = gradients, ctx.saved_tensors
        with unseen_by_modes():
            if torch.is_grad_enabled() or _is_whole(x, scalars):
                return None, *_whole_gradients(ctx.activation, x, scalars, gradient)
            return None, *_sliced_gradients(ctx.activation, x, scalars, gradient)


def _whole_gradients(activation: Formula, x: Tensor, scalars: Sequence[Tensor], gradient: Tensor) -> tuple[Tensor, ...]:
    wide = _widened(gradient)
    slopes = activation.slopes(_widened(x), *(scalars or activation.scalars.values()))
    by_x = (wide * next(slopes)).to(x.dtype)
    by_scalars = [
        (wide * slope).sum_to_size(scalar.shape).to(scalar.dtype)
        for scalar, slope in zip(scalars, slopes, strict=False)
    ]
    return by_x, *by_scalars


def _sliced_gradients(
    activation: Formula, x: Tensor, scalars: Sequence[Tensor], gradient: Tensor
) -> tuple[Tensor, ...]:
    dense = _dense(x)
    result, like = torch.empty_like(dense), gradient.expand_as(dense)
    aligned = like if like.stride() == dense.stride() else torch.empty_like(dense).copy_(like)
    sums, given = [0.0] * len(scalars), scalars or tuple(activation.scalars.values())
    for part, grad, into in zip(_slices(dense), _slices(aligned), _slices(result), strict=True):
        wide, slopes = _widened(grad), activation.slopes(_widened(part), *given)
        torch.mul(wide, next(slopes), out=into) if wide is grad else into.copy_(wide * next(slopes))
        for place, (_, slope) in enumerate(zip(scalars, slopes, strict=False)):
            sums[place] += float(torch.dot(wide, slope))
    by_scalars = [scalar.new_tensor(total) for scalar, total in zip(scalars, sums, strict=True)]
    return result, *by_scalars


def _is_whole(x: Tensor, scalars: Sequence[Tensor]) -> bool:
    """Whether nothing is gained by slices: few values, another device, scalars that differ by units."""
    return x.numel() <= _SLICE or x.device.type != "cpu" or any(scalar.dim() for scalar in scalars)


def _dense(x: Tensor) -> Tensor:
    """The tensor, its values side by side in memory: itself, if they are in one of the two usual orders."""
    return x if _is_channels_last(x) else x.contiguous()


def _is_channels_last(x: Tensor) -> bool:
    return x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)


def _slices(dense: Tensor) -> tuple[Tensor, ...]:
    """Views of one dimension on all values, in the order of memory."""
    ordered = dense if dense.is_contiguous() else dense.permute(0, 2, 3, 1)
    return ordered.view(-1).split(_SLICE)
