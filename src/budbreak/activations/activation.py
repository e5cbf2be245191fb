"""What an activation is: a frozen value, and the modules that it builds, with scalars of their own."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from budbreak.activations.evaluating import Scalar, evaluate
from budbreak.checks import shown
from budbreak.errors import InvalidValue

Per = Literal["site", "unit"]


@dataclass(frozen=True)
class Facts:
    """What is known of an operator whose scalars are at their defaults.

    Args:
        zero: its value at 0: 0 where it preserves zeros.
        flat: the intervals on which its slope is 0, both ends finite or infinite.
        zeros: whether it is exactly 0 on one of them, as ReLU is: units can be dead.
        homogeneous: whether g(c * x) = c * g(x) for every c > 0, whatever its scalars; then alpha and beta are one.
        smooth: whether its slope is continuous.
    """

    zero: float = 0.0
    flat: tuple[tuple[float, float], ...] = ()
    zeros: bool = False
    homogeneous: bool = False
    smooth: bool = True


@dataclass(frozen=True)
class Activation(abc.ABC):
    """An operator, each value for itself, with scalars: subclasses have a float field for each, and a formula.

    Args:
        trainable: whether modules hold the scalars as parameters, which start at the fields; otherwise they are
            constants, and modules hold nothing.
        per: one of each scalar for the whole "site", or one for each "unit": a channel, or a neuron.
    """

    trainable: bool = field(default=False, kw_only=True)
    per: Per = field(default="site", kw_only=True)
    facts: ClassVar[Facts] = Facts()
    constants: ClassVar[tuple[str, ...]] = ()
    """The float fields that are no scalars: never trained."""
    widened: ClassVar[bool] = True
    """Whether float16 and bfloat16 are computed in float32, and rounded at the end; else call by call."""

    def __post_init__(self) -> None:
        for name, value in self._numbers().items():
            if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):  # pyright: ignore[reportUnnecessaryIsInstance]
                fix = f"write {type(self).__name__}({name}=1.0)"
                raise InvalidValue(f"{name} is {shown(value)}", "it must be a finite number", fix)
        if not isinstance(self.trainable, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(f"trainable is {shown(self.trainable)}", "it must be a bool", "write trainable=True")
        if self.per not in ("site", "unit"):
            raise InvalidValue(f"per is {shown(self.per)}", "it is one of 'site', 'unit'", 'write per="site"')

    @property
    def scalars(self) -> Mapping[str, float]:
        """Name -> where it starts, in the order in which `formula` takes them."""
        return {name: value for name, value in self._numbers().items() if name not in self.constants}

    @abc.abstractmethod
    def formula(self, x: Tensor, *scalars: Scalar) -> Tensor:
        """The operator, as it is written down: made of functions of torch that can be exported; no slope is NaN.

        Args:
            x: float, of any shape.
            scalars: numbers, or tensors that broadcast with x.
        """

    def slopes(self, x: Tensor, *scalars: Scalar) -> Iterator[Tensor]:
        """The derivative by x, then by each scalar, in closed form, each in the shape of x.

        Where a subclass has none, autograd differentiates the formula.
        """
        return iter(())

    @property
    def is_closed(self) -> bool:
        """Whether it has slopes in closed form."""
        return type(self).slopes is not Activation.slopes

    def shortcut(self, x: Tensor) -> Tensor | None:
        """What one function of torch gives as fast as anything, where the scalars are constants; else None."""
        return None

    def module(self, shape: Sequence[int] = ()) -> ActivationModule:
        """A fresh module with scalars of its own.

        Args:
            shape: for ``per="unit"``: the shape in which one scalar for each unit broadcasts with what comes in:
                (C, 1, 1) after a Conv2d of C channels, (C,) after a Linear.

        Raises:
            InvalidValue: if the shape is missing there, is none, or is given for ``per="site"``.
        """
        _check_shape(self, shape)
        return ActivationModule(self, tuple(shape))

    def fixed(self, scalars: Mapping[str, float]) -> Activation:
        """The same operator with other numbers for its scalars, as constants.

        Args:
            scalars: name -> number; others stay.
        """
        return dataclasses.replace(self, trainable=False, per="site", **scalars)

    def __call__(self, x: Tensor) -> Tensor:
        """The operator with its scalars where they start; differentiable in x."""
        return evaluate(self, x, ())

    def _numbers(self) -> dict[str, float]:
        named = [entry.name for entry in dataclasses.fields(self) if entry.name not in ("trainable", "per")]
        return {name: value for name in named if not isinstance(value := getattr(self, name), tuple)}


class ActivationModule(nn.Module):
    """An activation in a network. Made by `Activation.module`.

    Its parameters are the scalars, if these are trainable: each a single number, or a vector of one for each unit; so
    none is a weight that a mask covers. Without trainable scalars it adds nothing to the state_dict.

    Args:
        activation: the operator.
        shape: in which its scalars broadcast with what comes in; () for one of each.
    """

    def __init__(self, activation: Activation, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.activation, self.shape = activation, shape
        self.exact_zeros = activation.facts.zeros  # the graph asks for it
        self.scalars = tuple(activation.scalars) if activation.trainable else ()
        size = (math.prod(shape),) if shape else ()
        for name in self.scalars:
            self.register_parameter(name, nn.Parameter(torch.full(size, float(activation.scalars[name]))))

    def forward(self, x: Tensor) -> Tensor:
        """Float [...] -> the same shape and dtype."""
        scalars = [getattr(self, name) for name in self.scalars]
        return evaluate(self.activation, x, [scalar.view(self.shape) for scalar in scalars] if self.shape else scalars)

    def extra_repr(self) -> str:
        """The operator."""
        return f"{self.activation!r}{f', shape={self.shape}' if self.shape else ''}"


def _check_shape(activation: Activation, shape: Sequence[int]) -> None:
    if isinstance(shape, int) or not all(isinstance(size, int) and size > 0 for size in shape):  # pyright: ignore[reportUnnecessaryIsInstance]
        fix = "write (64, 1, 1) after a Conv2d of 64 channels, (64,) after a Linear"
        raise InvalidValue(f"shape is {shown(shape)}", "it holds whole numbers > 0", fix)
    if activation.per == "site" and shape:
        rule = "only scalars of units have a shape: one for the whole site is a number"
        raise InvalidValue(f"shape is {shown(shape)}, for {activation!r}", rule, 'write per="unit", or module()')
    if activation.per == "unit" and activation.trainable and not shape:
        fix = "write module((64, 1, 1)) after a Conv2d of 64 channels, module((64,)) after a Linear"
        raise InvalidValue(f"{activation!r} without a shape", "per unit, it must be told how many units there are", fix)
