"""A place where a nonlinearity sits, where its units lie, and the weight that alone feeds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from budbreak.masks import UnitLayout


@dataclass(frozen=True)
class Feed:
    """The weight that alone decides the units of a tensor.

    Args:
        weight: its state_dict name.
        units: where those units lie in the weight: rows of Linear and Conv, columns of ConvTranspose, by group.
    """

    weight: str
    units: UnitLayout


@dataclass(frozen=True)
class Site:
    """One place in the network where a nonlinearity sits.

    Args:
        name: of a module, its path; of a function, the path of the module that calls it and the function:
            "block1.relu", or "relu" in the model itself. "#k" is appended for the (k+1)-th of the same name.
        feed: the prunable weight whose output, through nothing but norm, dropout, pooling or moving values about,
            enters here; None after a residual sum and wherever else that is not the whole story.
        unit_dims: the dimensions of the output that together count units, from the end: (-1,) after Linear, (-3,)
            after Conv2d; () for a single unit without a dimension of its own.
        order: the position in the forward pass, from 0.
        exact_zeros: whether this nonlinearity gives exact zeros (ReLU does, GELU and Sigmoid do not).
        assumed: whether ``unit_dims`` is a rule's choice, because the way to here could not be followed.
        where: "file:line" where a function is called; "" for a module.
    """

    name: str
    feed: Feed | None
    unit_dims: tuple[int, ...]
    order: int
    exact_zeros: bool = True
    assumed: bool = False
    where: str = ""

    def renamed(self, names: Mapping[str, str]) -> Site:
        """The same site with another name for the weight that feeds it, if there is one for it."""
        feed = self.feed
        return self if feed is None else replace(self, feed=Feed(names.get(feed.weight, feed.weight), feed.units))


@dataclass(frozen=True)
class Layout:
    """How a tensor holds units.

    Args:
        dims: the dimensions that together count them, from the end, ascending: (-3,) for an image of channels,
            (-3, -1) for heads x size in [N, heads, T, size]; none for a single unit without a dimension.
        feed: the weight that alone decides each unit, or None.
    """

    dims: tuple[int, ...]
    feed: Feed | None = None
