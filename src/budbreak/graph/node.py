"""One step of a network: a call of a function, with what enters it and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from budbreak.graph.parts import Part
from budbreak.graph.site import Site
from budbreak.masks import UnitLayout


class Kind(StrEnum):
    """What a call does to units; a member equals its name in lower case."""

    INPUT = "input"
    """A tensor of the example."""
    CONSTANT = "constant"
    """What no input decides: a parameter that is added or joined, a buffer, a mask made from shapes."""
    LAYER = "layer"
    """A product with a weight: Linear, convolutions, embeddings, ``x @ W``."""
    NORM = "norm"
    """A normalisation; its gain, if it has one, is its weight. ``owner`` is the module."""
    SITE = "site"
    """A nonlinearity, each value for itself."""
    ADD = "add"
    """Sums and differences; with a single input: of a number."""
    MULTIPLY = "multiply"
    """Products and quotients, element by element, and selections by a mask; with a single input: by a number."""
    CONCAT = "concat"
    """Tensors side by side along one dimension (``cat``) or along a new one (``stack``)."""
    MOVE = "move"
    """Values moved about and left as they are: see `replay`."""
    POOL = "pool"
    """Positions made fewer or more, each unit for itself; or a reduction (mean, sum, amax) over dimensions."""
    IDENTITY = "identity"
    """Values and places stay: dropout in eval mode, contiguous, a cast."""
    MATMUL = "matmul"
    """A product of two tensors that both depend on inputs."""
    ATTENTION = "attention"
    """Attention in one call, or a softmax, by which values weigh each other."""
    RECURRENT = "recurrent"
    """GRU, LSTM, RNN: one call, with all their weights."""
    OPAQUE = "opaque"
    """Anything else; whatever goes in may decide whatever comes out."""
    OUTPUT = "output"
    """A tensor that the model returns."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One tensor of a forward pass, and the call that gave it.

    A call that gives several tensors (chunk, LSTM) is as many nodes, which differ in ``part``. What is computed
    from parameters alone (a normalised, masked or transposed weight) is no node: it is the weight of the layer
    that uses it.

    Args:
        index: its place among the nodes, which are in the order of the calls.
        kind: what the call does.
        call: the plain name of the function: "linear", "relu" (for relu_, too), "__getitem__"; of a module that is one
            node (a `SITE`, a `NORM`, an `OPAQUE` one) the name of its class; of what was written to through a view of
            it "in place"; of what no function of torch gave "outside torch"; "" of constants and outputs.
        owner: the path of the module that called it; "" for the model itself.
        inputs: the nodes whose tensors enter, in the order of the arguments; weights, biases and gains are not among
            them. One may stand twice (``x + x``).
        shape: of the tensor.
        weights: state_dict names of the weights by which it multiplies, prunable or not: one of a layer or a norm;
            all of a recurrent layer or an opaque module; of a constant, the parameters that it is or is made from.
        units: where the units of the result lie in the weight of a `LAYER`; None where it is unknown.
        groups: of a convolution or a group norm.
        unit_dims: the dimensions of the tensor that together count units, from the end, as in `Site`; None where
            nothing is known.
        site: of a `SITE`.
        arguments: of a `MOVE`, `POOL`, `CONCAT`, softmax or glu what was given after its tensors; ``options``: by
            keyword. Of einsum its equation. Of others: ().
        parts: the parameters and buffers that it uses beside its inputs, or that it is made from, each with where its
            slices lie: along which dimensions of the tensor, or of what a layer sums over.
        over: of a `NORM`, the dimensions, from the end, over which it takes means; () where it uses stored ones.
        zeros: of a `CONSTANT` that the code makes, whether it is all zeros, as padding and first states are.
        asked: whether its values were asked for as numbers: by `item`, `tolist`, numpy, or a decision.
        part: which of several results it is.
        where: "file:line" of the call; "" inside a layer of torch.
        within: the function of torch that called it, if that is one into which the trace looks.
    """

    index: int
    kind: Kind
    call: str
    owner: str
    inputs: tuple[int, ...]
    shape: tuple[int, ...]
    weights: tuple[str, ...] = ()
    units: UnitLayout | None = None
    groups: int = 1
    unit_dims: tuple[int, ...] | None = None
    site: Site | None = None
    arguments: tuple[Any, ...] = field(default=(), compare=False, repr=False)
    options: tuple[tuple[str, Any], ...] = field(default=(), compare=False, repr=False)
    parts: tuple[Part, ...] = field(default=(), repr=False)
    over: tuple[int, ...] = ()
    zeros: bool = False
    asked: bool = False
    part: int = 0
    where: str = ""
    within: str = ""

    @property
    def weight(self) -> str | None:
        """The one weight by which it multiplies; None if there is none, or several."""
        return self.weights[0] if len(self.weights) == 1 else None

    def renamed(self, names: Mapping[str, str]) -> Node:
        """The same node with other names for some parameters; see `ModelGraph.renamed`."""
        weights = tuple(names.get(name, name) for name in self.weights)
        parts = tuple(replace(part, name=names.get(part.name, part.name)) for part in self.parts)
        return replace(self, weights=weights, parts=parts, site=None if self.site is None else self.site.renamed(names))


LIKE = {"view_as": "reshape", "reshape_as": "reshape", "expand_as": "expand"}
"""Moves to the shape of another tensor, which is all that they take of it."""
_PROPERTIES = ("T", "mT", "H", "mH", "data")


def replay(node: Node, tensor: Tensor) -> Tensor:
    """Move another tensor as a `MOVE` moved the one that entered it.

    So where a channel went to is found with numbers in the place of values: give ``torch.arange`` of the channels,
    spread over the shape of the input. Where the move pads, the padding has the value of the call, mostly 0.

    Args:
        node: of kind `MOVE`.
        tensor: of the shape that the input had.

    Returns:
        What lies where the node's tensor does, of its shape.
    """
    if node.call in _PROPERTIES:
        return getattr(tensor, node.call)
    name = LIKE.get(node.call, node.call)
    owner = next(owner for owner in (Tensor, functional, torch) if hasattr(owner, name))
    run: Callable[..., Any] = getattr(owner, name)
    moved = run(tensor, *node.arguments, **dict(node.options))
    return moved[node.part] if isinstance(moved, list | tuple) else moved


def said(node: Node) -> str:
    """A node in words."""
    if node.kind == Kind.INPUT:
        return "an input of the model"
    if node.kind == Kind.CONSTANT:
        names = [part.name for part in node.parts if part.name]
        return f"the constant {' '.join(names)}" if names else "a constant that the code makes"
    place = " ".join(part for part in (node.owner and f"in {node.owner}", node.where and f"({node.where})") if part)
    return f"{node.call} {place}".strip()
