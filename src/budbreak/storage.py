"""Files that are whole or absent: atomic writes, checksums, safetensors and JSON, no pickle."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from budbreak.errors import CannotWrite, CorruptFile, InvalidValue

Tree = Any
"""Nested dicts, lists and tuples of tensors, arrays, strings, numbers and None."""


@contextlib.contextmanager
def atomic(path: Path) -> Generator[IO[bytes], None, None]:
    """Open a file that takes its name only when it is complete and on disk.

    Raises:
        CannotWrite: on a full disk or a forbidden folder; an older file stays as it was.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise CannotWrite(
            f"cannot write {path}: {error.strerror or error}",
            "a result is kept only when its file is complete; the file from before is untouched",
            "free some space or choose another folder, then run the same command again",
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` atomically."""
    with atomic(path) as stream:
        stream.write(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def canonical(value: object) -> str:
    """One text for one value: sorted keys, no spaces, floats by their shortest exact form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: object) -> str:
    """The SHA-256 of a JSON value, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def write_json(path: Path, payload: Mapping[str, object]) -> None:
    """Write a JSON object with its own checksum under ``"sha256"``."""
    if "sha256" in payload:
        raise InvalidValue("the payload has a key 'sha256'", "it is the name of the checksum", "name it otherwise")
    plain = json.loads(json.dumps(payload))  # keys become strings as they will be when read: the digest sorts them
    body = {**plain, "sha256": digest(plain)}
    write_text(path, json.dumps(body, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` wrote.

    Raises:
        CorruptFile: if the file is not JSON, or does not match its checksum.
    """
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        checksum = body.pop("sha256")
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise _corrupt(path, f"it is not one of our JSON files ({error})") from None
    if checksum != digest(body):
        raise _corrupt(path, "its content does not match its checksum")
    return body


def write_tree(path: Path, tree: Tree) -> None:
    """Write nested state (optimizers, generators, weights) to one safetensors file, exactly.

    Raises:
        InvalidValue: for an object that is neither a container, a tensor nor a plain value.
        CannotWrite: see `atomic`.
    """
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    skeleton = canonical(_pack(tree, "", tensors))
    checksum = _tensors_digest(tensors, skeleton)
    # one note: safetensors writes several in random order, and equal trees make equal files
    write_bytes(path, save(tensors, {"tree": f"{checksum} {skeleton}"}))


def read_tree(path: Path) -> Tree:
    """Read what `write_tree` wrote; tensors come back on the CPU with their dtype and bits.

    Raises:
        CorruptFile: if the file is truncated, was changed, or is of another kind.
        FileNotFoundError: if there is none.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as opened:
            notes = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise _corrupt(path, f"it is not a whole safetensors file ({error})") from None
    checksum, _, skeleton = notes.get("tree", "").partition(" ")
    if checksum != _tensors_digest(tensors, skeleton):
        raise _corrupt(path, "its content does not match its checksum")
    return _unpack(json.loads(skeleton), tensors)


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


def _tensors_digest(tensors: Mapping[str, Tensor], skeleton: str) -> str:
    hasher = hashlib.sha256(skeleton.encode())
    for name in sorted(tensors):
        hasher.update(f"{name}:{tensors[name].dtype}:{tuple(tensors[name].shape)}".encode())
        hasher.update(tensor_bytes(tensors[name]).data)
    return hasher.hexdigest()


def _pack(node: Tree, path: str, tensors: dict[str, Tensor]) -> object:
    """The JSON skeleton of a tree: every node is [kind, content]."""
    if isinstance(node, Tensor):
        return ["tensor", _keep(_storable(node, path), path, tensors)]
    if isinstance(node, np.ndarray):
        if node.dtype.hasobject or node.dtype.names or isinstance(node, np.ma.MaskedArray):
            raise _unstorable(node, path)
        plain = torch.from_numpy(np.ascontiguousarray(node).view(np.uint8).copy())
        return ["array", _keep(plain, path, tensors), str(node.dtype), list(node.shape)]
    if isinstance(node, Mapping):
        pairs = [[_pack_key(key, path), _pack(value, f"{path}/{key}", tensors)] for key, value in node.items()]
        return ["counter" if isinstance(node, Counter) else "dict", pairs]
    if isinstance(node, list | tuple):
        kind = "list" if isinstance(node, list) else "tuple"
        return [kind, [_pack(value, f"{path}/{index}", tensors) for index, value in enumerate(node)]]
    if isinstance(node, np.generic):
        node = node.item()
    if node is None or isinstance(node, bool | int | float | str):
        return ["value", node]
    raise _unstorable(node, path)


def _keep(tensor: Tensor, path: str, tensors: dict[str, Tensor]) -> str:
    name = f"{len(tensors)}{path}"  # numbered: the paths of {1: x, "1": y} are equal
    tensors[name] = tensor
    return name


def _storable(tensor: Tensor, path: str) -> Tensor:
    unheard_of = tensor.dtype == torch.complex128 or tensor.is_quantized  # by the safetensors format
    if tensor.layout != torch.strided or tensor.is_meta or unheard_of:
        raise _unstorable(tensor, path)
    return tensor.detach().cpu().contiguous().clone()  # clone: safetensors refuses tensors that share storage


def _pack_key(key: object, path: str) -> list[object]:
    if isinstance(key, bool) or not isinstance(key, int | str):
        raise _unstorable(key, path)
    return ["int" if isinstance(key, int) else "str", key]


def _unpack(node: list[Any], tensors: Mapping[str, Tensor]) -> Tree:
    readers: dict[str, Callable[[], Tree]] = {
        "tensor": lambda: tensors[node[1]],
        "array": lambda: tensors[node[1]].numpy().view(np.dtype(node[2])).reshape(node[3]),
        "dict": lambda: {key[1]: _unpack(value, tensors) for key, value in node[1]},
        "counter": lambda: Counter({key[1]: value[1] for key, value in node[1]}),  # MultiStepLR's milestones
        "list": lambda: [_unpack(value, tensors) for value in node[1]],
        "tuple": lambda: tuple(_unpack(value, tensors) for value in node[1]),
        "value": lambda: node[1],
    }
    return readers[node[0]]()


def _unstorable(node: object, path: str) -> InvalidValue:
    return InvalidValue(
        f"cannot store {type(node).__name__} at {path or '/'!r}",
        "a checkpoint holds dense tensors, plain arrays, numbers, strings, None and containers of them",
        "give it a state_dict() made of these",
    )


def _corrupt(path: Path, why: str) -> CorruptFile:
    return CorruptFile(
        f"{path}: {why}",
        "a file is used only if it is exactly what was written",
        "delete it (an earlier checkpoint is used if there is one) or restore it from a copy",
    )
