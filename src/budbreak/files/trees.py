"""Nested state in one safetensors file, exactly and without a pickle."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
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
from budbreak.files.unpacking import DEEPEST, Malformed, Tree, unpack

_LONGEST = 32 << 20  # bytes of what is not tensors: some hundred thousand parameter tensors in an optimizer
_PLAIN = 1 << 64  # numbers up to here need no closer look


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
            raise Malformed("it does not say what it is")
        check_marks(path, (kind, stores), (head["kind"], head["store"]), remedy)
        return unpack(tensors, head["tree"])
    except BudbreakError:
        raise
    except (Malformed, TypeError, ValueError) as error:  # TypeError: a node with more or fewer parts
        raise corrupt(path, f"it is not one of our files ({error})", remedy) from None


def as_stored(tree: Tree) -> Tree:
    """Nested state as it would be read back: copied, on the CPU.

    Raises:
        InvalidValue: as `write_tree`.
    """
    tensors: dict[str, Tensor] = {}
    skeleton = _pack(tree, "", tensors)
    return unpack(tensors, skeleton)


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
    flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if flat.stride(0) != 1:  # of a single element any stride is contiguous to torch, which makes no view of it
        flat = flat.clone(memory_format=torch.contiguous_format)
    if not flat.numel():  # one that came from numpy has stride 0, of which torch makes no view
        return np.empty(0, np.uint8)
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


def _pack(node: Tree, path: str, tensors: dict[str, Tensor], depth: int = 0) -> object:
    """The JSON skeleton of a tree: every node is [kind, content]."""
    if type(node) is int and -_PLAIN < node < _PLAIN:  # first, and at once: a generator's state holds 625 of them
        return ["value", node]
    if isinstance(node, Tensor):
        return ["tensor", _keep(_storable(node, path), path, tensors)]
    if isinstance(node, np.ndarray):
        return _pack_array(node, path, tensors)
    if isinstance(node, Mapping | list | tuple):
        if depth > DEEPEST:
            raise InvalidValue(
                f"the state is nested deeper than {DEEPEST} containers, at {path[:60]!r}",
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
    if value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < _PLAIN):
        return value
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
