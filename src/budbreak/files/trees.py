"""Nested state in one safetensors file, exactly and without a pickle."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from budbreak.errors import BudbreakError, InvalidValue
from budbreak.files.storage import (
    RESTORE,
    cannot_read,
    canonical,
    check_marks,
    check_readable,
    corrupt,
    parse,
    write_bytes,
)

Tree = Any
"""Nested dicts, lists and tuples of tensors, arrays, strings, numbers and None."""

_DEEPEST = 100  # containers within containers; an optimizer's state has 4
_LONGEST = 32 << 20  # bytes of what is not tensors: some hundred thousand parameter tensors in an optimizer


def write_tree(path: Path, tree: Tree, kind: str, *, store: str | None = None) -> None:
    """Write nested state (optimizers, generators, weights) to one safetensors file, exactly.

    Args:
        path: where it goes.
        tree: the state.
        kind: what it is, with the number of its schema, e.g. "checkpoint 1".
        store: the identity of the store that it belongs to, if it belongs to one.

    Raises:
        InvalidValue: for an object that is neither a container, a tensor nor a plain value.
        CannotWrite: see `storage.atomic`.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    body = canonical({"kind": kind, "store": store, "tree": _pack(tree, "", tensors)})
    if len(body) > _LONGEST:
        raise InvalidValue(
            f"the state holds {len(body)} characters outside its tensors",
            f"a file holds at most {_LONGEST}",
            "keep long lists of numbers in tensors",
        )
    checksum = _tensors_digest(tensors, body)
    # one note: safetensors writes several in random order, and equal trees make equal files
    write_bytes(path, save(tensors, {"tree": f"{checksum} {body}"}))


def read_tree(path: Path, kind: str, *, stores: Collection[str | None] | None = None, remedy: str = RESTORE) -> Tree:
    """Read what `write_tree` wrote; tensors come back on the CPU with their dtype and bits.

    Args:
        path: the file.
        kind: what it must be.
        stores: the identities that it may have; any if None.
        remedy: what to do about a file that is refused.

    Raises:
        CorruptFile: if the file is truncated, was changed, or is of another kind or structure.
        StoreMismatch: if it belongs to another store.
        FileNotFoundError, CannotRead: see `storage.check_readable`.
    """
    body, tensors = _opened(path, remedy)
    checksum, _, text = body.partition(" ")
    if len(text) > _LONGEST or checksum != _tensors_digest(tensors, text):
        raise corrupt(path, "its content does not match its checksum", remedy)
    try:
        head = parse(text)
        if not isinstance(head, dict) or set(head) != {"kind", "store", "tree"}:
            raise _Malformed("it does not say what it is")
        check_marks(path, (kind, stores), (head["kind"], head["store"]), remedy)
        return _Unpacker(tensors).whole(head["tree"])
    except BudbreakError:
        raise
    except (_Malformed, TypeError, ValueError) as error:  # TypeError: a node with more or fewer parts
        raise corrupt(path, f"it is not one of our files ({error})", remedy) from None


def as_stored(tree: Tree) -> Tree:
    """Nested state as it would be read back: copied, on the CPU.

    Raises:
        InvalidValue: as `write_tree`.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _pack(tree, "", tensors)
    return _Unpacker(tensors).whole(skeleton)


def tree_digest(tree: Tree) -> str:
    """The SHA-256 of nested state.

    Raises:
        InvalidValue: as `write_tree`.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = canonical(_pack(tree, "", tensors))
    return _tensors_digest(tensors, skeleton)


def tensor_bytes(tensor: Tensor) -> np.ndarray[Any, Any]:
    """The values of a tensor in logical C order, as uint8 (a copy only where needed)."""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


def _opened(path: Path, remedy: str) -> tuple[str, dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    check_readable(path)
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
            return metadata.get("tree", ""), {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except PermissionError as error:
        raise cannot_read(path, error) from error
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError) as error:
        raise corrupt(path, f"it is not a whole safetensors file ({error})", remedy) from None


def _tensors_digest(tensors: Mapping[str, Tensor], skeleton: str) -> str:
    hasher = hashlib.sha256(skeleton.encode())
    for name in sorted(tensors):
        hasher.update(f"{name}:{tensors[name].dtype}:{tuple(tensors[name].shape)}".encode())
        hasher.update(tensor_bytes(tensors[name]).data)
    return hasher.hexdigest()


# --- to the file -------------------------------------------------------------------------------------------


def _pack(node: Tree, path: str, tensors: dict[str, Tensor], depth: int = 0) -> object:
    """The JSON skeleton of a tree: every node is [kind, content]."""
    if isinstance(node, Tensor):
        return ["tensor", _keep(_storable(node, path), path, tensors)]
    if isinstance(node, np.ndarray):
        return _pack_array(node, path, tensors)
    if isinstance(node, Mapping | list | tuple):
        if depth > _DEEPEST:
            raise InvalidValue(
                f"the state is nested deeper than {_DEEPEST} containers, at {path[:60]!r}",
                "a checkpoint ends somewhere: a container does not hold itself",
                "give a state_dict() without such circles",
            )
        return _pack_container(cast(Any, node), path, tensors, depth + 1)
    if isinstance(node, np.generic):
        node = node.item()
    if node is None or isinstance(node, bool | int | float | str):
        return ["value", _storable_value(node, path)]
    raise _unstorable(node, path)


def _pack_container(node: Any, path: str, tensors: dict[str, Tensor], depth: int) -> object:
    if isinstance(node, Mapping):
        kind = "counter" if isinstance(node, Counter) else "dict"
        items = cast(Mapping[object, Tree], node).items()
        return [kind, [[_pack_key(key, path), _pack(value, f"{path}/{key}", tensors, depth)] for key, value in items]]
    kind = "list" if isinstance(node, list) else "tuple"
    return [kind, [_pack(value, f"{path}/{index}", tensors, depth) for index, value in enumerate(node)]]


def _pack_array(node: np.ndarray[Any, Any], path: str, tensors: dict[str, Tensor]) -> object:
    if node.dtype.hasobject or node.dtype.names or isinstance(node, np.ma.MaskedArray):
        raise _unstorable(node, path)
    plain = torch.from_numpy(np.ascontiguousarray(node).view(np.uint8).copy())
    return ["array", _keep(plain, path, tensors), str(node.dtype), list(node.shape)]


def _keep(tensor: Tensor, path: str, tensors: dict[str, Tensor]) -> str:
    name = f"{len(tensors)}{path}"  # numbered: the paths of {1: x, "1": y} are equal
    tensors[name] = tensor
    return name


def _storable(tensor: Tensor, path: str) -> Tensor:
    unheard_of = tensor.dtype == torch.complex128 or tensor.is_quantized  # by the safetensors format
    if tensor.layout != torch.strided or tensor.is_meta or unheard_of:
        raise _unstorable(tensor, path)
    return tensor.detach().cpu().contiguous().clone()  # clone: safetensors refuses tensors that share storage


def _storable_value(value: Any, path: str) -> Any:
    """As it is, unless the file could not be read again: a text that is no Unicode, a number of 4,300 digits."""
    try:
        canonical(value).encode()
    except ValueError:
        raise _unstorable(value, path) from None
    return value


def _pack_key(key: object, path: str) -> list[object]:
    if isinstance(key, bool) or not isinstance(key, int | str):
        raise _unstorable(key, path)
    return ["int" if isinstance(key, int) else "str", _storable_value(key, path)]


def _unstorable(node: object, path: str) -> InvalidValue:
    return InvalidValue(
        f"cannot store {type(node).__name__} at {path or '/'!r}",
        "a checkpoint holds dense tensors, plain arrays, numbers, strings, None and containers of them",
        "give it a state_dict() made of these",
    )


# --- from the file -----------------------------------------------------------------------------------------


class _Malformed(Exception):
    """A skeleton that `_pack` did not make."""


class _Unpacker:
    """Builds a tree from its skeleton and tensors; whatever `_pack` could not have written is refused."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.used: set[str] = set()

    def whole(self, node: Any) -> Tree:
        tree = self.node(node, 0)
        if self.used != set(self.tensors):
            raise _Malformed("it holds tensors that belong nowhere")
        return tree

    def node(self, node: Any, depth: int) -> Tree:
        if depth > _DEEPEST + 2:
            raise _Malformed("it is nested too deeply")
        if not isinstance(node, list) or not node or node[0] not in _READERS:
            raise _Malformed("a node is of no known kind")
        return _READERS[node[0]](self, depth + 1, *node[1:])

    def nodes(self, depth: int, nodes: Any) -> list[Tree]:
        return [self.node(node, depth) for node in nodes]

    def pairs(self, depth: int, pairs: Any) -> list[tuple[Any, Tree]]:
        entries = [(_key(key), self.node(value, depth)) for key, value in _pairs_of(pairs)]
        if len({key for key, _ in entries}) != len(entries):
            raise _Malformed("a key comes twice")
        return entries

    def value(self, _: int, value: Any) -> Any:
        if value is not None and not isinstance(value, bool | int | float | str):
            raise _Malformed("a value is a container")
        return value

    def tensor(self, _: int, name: Any) -> Tensor:
        if name not in self.tensors or name in self.used:
            raise _Malformed(f"tensor {name!r} is not there, or is used twice")
        self.used.add(name)
        return _checked_bools(self.tensors[name], name)

    def array(self, depth: int, name: Any, dtype: Any, shape: Any) -> np.ndarray[Any, Any]:
        plain = self.tensor(depth, name)
        kind = _plain_dtype(dtype)
        sizes = [size for size in shape if isinstance(size, int) and not isinstance(size, bool) and size >= 0]
        fits = plain.dtype == torch.uint8 and plain.dim() == max(1, len(sizes)) and sizes == shape
        if not fits or math.prod(sizes) * kind.itemsize != plain.numel():
            raise _Malformed(f"array {name!r} does not have the size that it should have")
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
        raise _Malformed(f"{name!r} holds a bool that is neither 0 nor 1")
    return tensor


def _pairs_of(pairs: Any) -> list[Any]:
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise _Malformed("a dict is no list of pairs")
    return pairs


def _key(key: Any) -> int | str:
    kinds: dict[Any, type] = {"int": int, "str": str}
    if not isinstance(key, list) or len(key) != 2 or type(key[1]) is not kinds.get(key[0]):
        raise _Malformed("a key is neither a whole number nor a text")
    return key[1]


def _plain_dtype(text: Any) -> np.dtype[Any]:
    try:
        kind = np.dtype(text) if isinstance(text, str) else None
    except (TypeError, ValueError, SyntaxError):
        kind = None
    if kind is None or kind.hasobject or kind.names or kind.subdtype or not kind.itemsize:
        raise _Malformed(f"{text!r} is no type of numbers")
    return kind
