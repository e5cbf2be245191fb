"""What enters each layer of one pass, place by place, and what its units make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from budbreak.graph.call import Call
from budbreak.graph.channels import groups_of, is_table, units_dim
from budbreak.graph.layouts import CONVOLVING
from budbreak.graph.node import Kind, Node

PRODUCTS = ("mul", "multiply", "__mul__", "__rmul__", "__imul__")
"""Where one factor of 0 is enough."""


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a layer, seen while it ran. Places count along the dimension over which it sums.

    Args:
        low, high, mean: float64 [places], of all values that entered at each.
        weight: what it multiplied with, as it was passed, after any parametrization; None where a call is of a form
            in which units and places are not told apart.
        response: float64 [units, places], what each unit gives for a 1 at all positions of a place; None as above.
        used: bool [units, places]: where the weight is not zero; None as above.
        bias: what it adds, as it was passed; None if nothing, or as above.
        uniform: whether that is so at every position: zero padding makes borders differ, and a transposed convolution
            its phases.
    """

    low: Tensor
    high: Tensor
    mean: Tensor
    weight: Tensor | None = None
    response: Tensor | None = None
    used: Tensor | None = None
    bias: Tensor | None = None
    uniform: bool = True


def layer_call(node: Node, call: Call, entered: Tensor) -> LayerCall | None:
    """What is seen of a call; None of embeddings, of layers of several groups, and of what cannot be followed.

    Args:
        node: of the call.
        call: it.
        entered: the tensor on which it works.
    """
    dim = units_dim(node)
    if dim is None or is_table(node) or groups_of(node) > 1 or entered.is_complex() or not entered.numel():
        return None
    others = [other for other in range(-entered.dim(), 0) if other != dim]
    given = entered.detach() if others else entered.detach()[None]
    low, high = given.amin(others or 0), given.amax(others or 0)
    mean = given.mean(others or 0, dtype=torch.float64)
    found = low.double().cpu(), high.double().cpu(), mean.cpu()
    form = _form(call, entered)
    if form is None:
        return LayerCall(*found)
    weight, turned, uniform, overlap = form
    flat = weight.detach().reshape(*weight.shape[:2], -1)
    response, used = flat.double().sum(-1).cpu() / overlap, (flat != 0).any(-1).cpu()
    response, used = (response.t(), used.t()) if turned else (response, used)
    return LayerCall(*found, weight.detach(), response, used, _bias(call), uniform)


def _form(call: Call, entered: Tensor) -> tuple[Tensor, bool, bool, float] | None:
    """(weight, whether its places come first, whether all positions are alike, positions that share a kernel)."""
    if call.name == "linear":
        return call.argument(1, "weight"), False, True, 1
    if call.name == "addmm" and not {"alpha", "beta"} & set(call.kwargs):
        return call.argument(2, "mat2"), True, True, 1
    if call.name in ("matmul", "mm", "__matmul__"):
        return _form_of_product(call, entered)
    if call.name not in CONVOLVING:
        return None
    weight: Tensor = call.argument(1, "weight")
    if "transpose" in call.name:
        strides = _numbers(call.argument(3, "stride"), 1, weight.dim() - 2)
        overlap = torch.tensor(strides).prod().item()
        return weight, True, weight[0, 0].numel() == 1 and overlap == 1 and not _pads(call, weight), overlap
    return weight, False, not _pads(call, weight), 1


def _bias(call: Call) -> Tensor | None:
    given = call.argument(0, "input") if call.name == "addmm" else call.argument(2, "bias")
    product = call.name in ("matmul", "mm", "__matmul__")
    return given.detach() if isinstance(given, Tensor) and not product else None


def _form_of_product(call: Call, entered: Tensor) -> tuple[Tensor, bool, bool, float] | None:
    factors = call.tensors
    if len(factors) != 2 or factors[0] is factors[1]:
        return None
    turned = factors[0] is entered
    weight = factors[1] if turned else factors[0]
    return (weight, turned, True, 1) if weight.dim() == 2 else None


def _pads(call: Call, weight: Tensor) -> bool:
    padding = call.argument(4, "padding")
    if isinstance(padding, str):
        return padding != "valid" and weight[0, 0].numel() > 1
    more = call.argument(5, "output_padding") if "transpose" in call.name else 0
    return any(_numbers(padding, 0, 1)) or any(_numbers(more, 0, 1))


def _numbers(given: Any, usual: int, count: int) -> list[int]:
    if given is None or isinstance(given, int):
        return [usual if given is None else given] * count
    return list(given) if len(given) > 1 else [*given] * count


@dataclass(frozen=True, eq=False)
class Entered:
    """What enters layers and products in one pass, by the index of their nodes.

    Args:
        layers: of each layer that can be followed.
        factors: of each product of tensors: the node of a factor -> bool, of the factor's shape: where it is zero.
    """

    layers: dict[int, LayerCall] = field(default_factory=dict[int, LayerCall])
    factors: dict[int, dict[int, Tensor]] = field(default_factory=dict[int, dict[int, Tensor]])

    def look(self, node: Node, call: Call, given: Sequence[tuple[Tensor, int | None]]) -> None:
        """Note what entered a node.

        Args:
            node: it.
            call: that gave it.
            given: the tensors, and the node of each; None where no input decides it.
        """
        if node.kind == Kind.LAYER:
            entered = next((tensor for tensor, source in given if source is not None), call.first)
            seen = layer_call(node, call, entered)
            if seen is not None:
                self.layers[node.index] = seen
            return
        for index in [index for index in self.factors if index >= node.index]:
            del self.factors[index]  # a call inside of a module that turned out to be one node
        if node.call in PRODUCTS and len(node.inputs) > 1 and call.overwritten is None:
            self.factors[node.index] = {source: (tensor == 0).cpu() for tensor, source in given if source is not None}

    def end(self, nodes: Sequence[Node]) -> None:
        """Forget what was noted of calls that are no nodes in the end."""
        for index in [index for index in self.factors if index >= len(nodes) or nodes[index].call not in PRODUCTS]:
            del self.factors[index]
