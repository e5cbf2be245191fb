"""Nested state from its JSON skeleton and its tensors; what `trees` could not have written is refused."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

Tree = Any
"""Nested dicts, lists and tuples of tensors, arrays, strings, numbers and None."""

DEEPEST = 100  # containers within containers; an optimizer's state has 4


class Malformed(Exception):
    """A skeleton that no tree was packed into."""


def unpack(tensors: Mapping[str, Tensor], skeleton: Any) -> Tree:
    """The tree of a skeleton and its tensors.

    Raises:
        Malformed, TypeError, ValueError: if `trees` could not have written it.
    """
    return _Unpacker(tensors).whole(skeleton)


class _Unpacker:
    """Builds a tree from its skeleton and tensors, each of which must be used exactly once."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.used: set[str] = set()

    def whole(self, node: Any) -> Tree:
        tree = self.node(node, 0)
        if self.used != set(self.tensors):
            raise Malformed("it holds tensors that belong nowhere")
        return tree

    def node(self, node: Any, depth: int) -> Tree:
        if depth > DEEPEST + 2:
            raise Malformed("it is nested too deeply")
        if not isinstance(node, list) or not node or node[0] not in _READERS:
            raise Malformed("a node is of no known kind")
        return _READERS[node[0]](self, depth + 1, *node[1:])

    def nodes(self, depth: int, nodes: Any) -> list[Tree]:
        return [self.node(node, depth) for node in nodes]

    def pairs(self, depth: int, pairs: Any) -> list[tuple[Any, Tree]]:
        entries = [(_key(key), self.node(value, depth)) for key, value in _pairs_of(pairs)]
        if len({key for key, _ in entries}) != len(entries):
            raise Malformed("a key comes twice")
        return entries

    def value(self, _: int, value: Any) -> Any:
        if value is not None and not isinstance(value, bool | int | float | str):
            raise Malformed("a value is a container")
        return value

    def tensor(self, _: int, name: Any) -> Tensor:
        if name not in self.tensors or name in self.used:
            raise Malformed(f"tensor {name!r} is not there, or is used twice")
        self.used.add(name)
        return _checked_bools(self.tensors[name], name)

    def array(self, depth: int, name: Any, dtype: Any, shape: Any) -> np.ndarray[Any, Any]:
        plain = self.tensor(depth, name)
        kind = _plain_dtype(dtype)
        sizes = [size for size in shape if isinstance(size, int) and not isinstance(size, bool) and size >= 0]
        fits = plain.dtype == torch.uint8 and plain.dim() == max(1, len(sizes)) and sizes == shape
        if not fits or math.prod(sizes) * kind.itemsize != plain.numel():
            raise Malformed(f"array {name!r} does not have the size that it should have")
        if kind == np.bool_:
            _checked_bools(plain.view(torch.bool), name)
        return plain.numpy().reshape(-1).view(kind).reshape(sizes)


_READERS: Mapping[Any, Callable[..., Tree]] = {
    "tensor": _Unpacker.tensor,
    "array": _Unpacker.array,
    "dict": lambda self, depth, pairs: dict(self.pairs(depth, pairs)),
    "counter": lambda self, depth, pairs: Counter(dict(self.pairs(depth, pairs))),  # MultiStepLR's milestones
    "list": _Unpacker.nodes,
    "tuple": lambda self, depth, nodes: tuple(self.nodes(depth, nodes)),
    "value": _Unpacker.value,
}  # outside the instances: one that held its own methods would hold the tensors until a garbage collection


def _checked_bools(tensor: Tensor, name: str) -> Tensor:
    if tensor.dtype == torch.bool and tensor.numel() and int(tensor.view(torch.uint8).max()) > 1:
        raise Malformed(f"{name!r} holds a bool that is neither 0 nor 1")
    return tensor


def _pairs_of(pairs: Any) -> list[Any]:
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise Malformed("a dict is no list of pairs")
    return pairs


def _key(key: Any) -> int | str:
    kinds: dict[Any, type] = {"int": int, "str": str}
    if not isinstance(key, list) or len(key) != 2 or type(key[1]) is not kinds.get(key[0]):
        raise Malformed("a key is neither a whole number nor a text")
    return key[1]


def _plain_dtype(text: Any) -> np.dtype[Any]:
    try:
        kind = np.dtype(text) if isinstance(text, str) else None
    except (TypeError, ValueError, SyntaxError):
        kind = None
    if kind is None or kind.hasobject or kind.names or kind.subdtype or not kind.itemsize:
        raise Malformed(f"{text!r} is no type of numbers")
    return kind
