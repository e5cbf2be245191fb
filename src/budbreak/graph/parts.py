"""Which parameters and buffers a tensor is made from, and where the slices of each lie in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Axis:
    """Which slices of a parameter lie where along one dimension.

    Args:
        of: that dimension, from the end: of the tensor that the parameter is or is made into; of a node the dimension
            of its tensor, or None for that of its input over which a layer sums.
        dim: the dimension of the parameter, from the front; ``size``: how many slices it has.
        places: for each pair the index along ``of``.
        indices: for each pair the index along ``dim``.
        mixed: "mean" where others change without one of these slices, because a mean is taken over them, or something
            else that counts them; "norm" where they do unless it is zero; "" where they do not.
    """

    of: int | None
    dim: int
    size: int
    places: Sequence[int] = field(repr=False)
    indices: Sequence[int] = field(repr=False)
    mixed: str = ""


@dataclass(frozen=True)
class Part:
    """A parameter or buffer that a tensor is, or is made from.

    Args:
        name: its state_dict name; "" of what the code makes by itself, which cannot be cut.
        axes: the dimensions along which its slices can be told apart.
        known: whether that is all there is to say. What is computed from a whole matrix (its largest singular value,
            a product with another) is made from it in a way that nobody knows.
    """

    name: str
    axes: tuple[Axis, ...] = ()
    known: bool = True

    def along(self, of: int | None) -> tuple[Axis, ...]:
        """Its axes along a dimension."""
        return tuple(axis for axis in self.axes if axis.of == of)


def whole(name: str, shape: Sequence[int]) -> Part:
    """A parameter as it is."""
    sizes = enumerate(shape)
    return Part(name, tuple(Axis(dim - len(shape), dim, size, range(size), range(size)) for dim, size in sizes))


def aimed(part: Part, dims: Mapping[int, int | None]) -> Part:
    """The same part seen from another tensor.

    Args:
        part: of a tensor.
        dims: a dimension of that tensor -> the one of the other with which it goes; others go with none.
    """
    axes = tuple(replace(axis, of=dims[axis.of]) for axis in part.axes if axis.of is not None and axis.of in dims)
    return replace(part, axes=axes)


def as_range(numbers: Sequence[int]) -> Sequence[int]:
    """The same numbers, as a range if they are consecutive."""
    steps = range(numbers[0], numbers[0] + len(numbers)) if numbers else range(0)
    return steps if list(numbers) == list(steps) else tuple(numbers)
