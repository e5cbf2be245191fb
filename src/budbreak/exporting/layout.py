"""A safetensors file, byte by byte the same for the same content, with a checksum over the whole."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from budbreak.errors import InvalidValue
from budbreak.files import BITS, DTYPE_NAMES, VERSION

Array = np.ndarray[Any, Any]
_NOTES = "__metadata__"


@dataclass(frozen=True, eq=False)
class Entry:
    """A tensor of the file: its dtype as the format calls it, its shape, its bytes in C order."""

    dtype: str
    shape: tuple[int, ...]
    parts: tuple[Array, ...]

    @property
    def bytes(self) -> int:
        """Of its data."""
        return math.prod(self.shape) * BITS[self.dtype].itemsize


def dtype_name(name: str, tensor: Tensor) -> str:
    """What the format calls the dtype of a tensor.

    Raises:
        InvalidValue: if it has no name for it.
    """
    if tensor.dtype not in DTYPE_NAMES:
        raise InvalidValue(
            f"{name!r} is of {tensor.dtype}",
            f"a safetensors file holds {', '.join(str(kind).removeprefix('torch.') for kind in DTYPE_NAMES)}",
            "convert it: model.to(torch.float32), or take it out of the state_dict",
        )
    return DTYPE_NAMES[tensor.dtype]


def write_entries(path: Path, entries: Mapping[str, Entry], notes: Mapping[str, Any]) -> None:
    """Write a safetensors file whose one own note, "budbreak", says what the notes say, the version, and the checksum.

    Args:
        path: where it goes; it is for the caller to write aside.
        entries: name -> tensor; wide elements come first, so that all are aligned.
        notes: what a reader needs, as JSON holds it.

    Raises:
        InvalidValue: if a tensor has the name that the format keeps for notes.
    """
    if _NOTES in entries:
        rule = "in a safetensors file that is the place of notes"
        raise InvalidValue(f"a tensor is named {_NOTES!r}", rule, "name the buffer or parameter otherwise")
    order = sorted(entries.items(), key=lambda item: -BITS[item[1].dtype].itemsize)
    digest = _digest(_head(order, notes, "0" * 64), order)
    with path.open("wb") as stream:
        stream.write(_head(order, notes, digest))
        for _, entry in order:
            for part in entry.parts:
                stream.write(part.data)


def _head(order: Sequence[tuple[str, Entry]], notes: Mapping[str, Any], digest: str) -> bytes:
    packed = base64.b64encode(zlib.compress(_compact(notes).encode(), 9)).decode()  # a row takes 15 bytes so, not 60
    own = {"version": VERSION, "sha256": digest, "notes": packed}
    header: dict[str, Any] = {_NOTES: {"format": "pt", "budbreak": _compact(own)}}
    end = 0
    for name, entry in order:
        header[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": [end, end := end + entry.bytes]}
    text = _compact(header).encode()
    text += b" " * (-len(text) % 8)  # the data are aligned, as the format wants it
    return len(text).to_bytes(8, "little") + text


def _digest(head: bytes, order: Sequence[tuple[str, Entry]]) -> str:
    hasher = hashlib.sha256(head)
    for _, entry in order:
        for part in entry.parts:
            hasher.update(part.data)
    return hasher.hexdigest()


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
