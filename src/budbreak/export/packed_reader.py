"""Reads the safetensors files that budbreak exports, packed or plain. It needs numpy alone: copy it to where you read.

>>> read("net.packed.safetensors")  # doctest: +SKIP
{'fc1.weight': array(...), 'fc1.bias': array(...)}

A packed file is a safetensors file: 8 bytes of length, a JSON header, data. Its ``__metadata__`` has one note,
"budbreak": JSON with ``kind``, ``version``, ``sha256`` (of the file, with 64 zeros in the place of that digest), and
``tensors``, a row for each name of the state_dict::

    [name, dtype, shape, stored]                      all elements, in C order
    [name, dtype, shape, stored, kept, k, unary]      those elements alone whose bits are not all zero
    [name, other]                                     the tensor of another name, above it

Values lie in the entries "values.DTYPE", ``stored`` for each row, in the order of the rows; a single one is that of all
its row's elements. Where these are lies in the entry "index", row after row, as Rice codes of gaps (how many zeros
come before an element): gap >> k in unary, so many bits 0 and a 1, filled up to ``unary`` bytes, then the low k bits
of each gap, filled up to a byte; high bits first. With k = 0 that is a bitmask. In a plain file there are no rows.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
VERSION = 1
_DTYPES = "BOOL:? U8:u1 I8:i1 F8_E4M3:u1 F8_E5M2:u1 U16:u2 I16:i2 F16:f2 BF16:u2 U32:u4 I32:i4 F32:f4 U64:u8 I64:i8 F64:f8 C64:c8"
DTYPES = {name: np.dtype(f"<{kind}") for name, kind in (pair.split(":") for pair in _DTYPES.split())}
BITS = {dtype: np.dtype(f"<u{kind.itemsize}") for dtype, kind in DTYPES.items()}


def read(path: str | Path) -> dict[str, Array]:
    """Name -> array; BF16 as float32, which holds it exactly, F8 as bits. A file that does not fit is a ValueError."""
    header, notes, data = opened(path)
    return {name: _seen(*entry) for name, entry in unpacked(header, notes, data).items()}


def opened(path: str | Path) -> tuple[dict[str, Any], dict[str, Any], Array]:
    """The entries of the header, our notes, and the data of a file that is whole and unchanged, or ValueError."""
    content = Path(path).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8:start])
        notes = json.loads(header.pop("__metadata__")["budbreak"])
        version, digest = int(notes["version"]), str(notes["sha256"]).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is cut off, or no safetensors file of budbreak") from None
    if version > VERSION:
        raise ValueError(f"it is of version {version}, and this reader knows up to {VERSION}: take a newer one")
    hasher = hashlib.sha256(content[:start].replace(digest, b"0" * 64, 1))
    hasher.update(memoryview(content)[start:])
    if hasher.hexdigest().encode() != digest:
        raise ValueError("its content does not match its checksum: it was cut off or changed")
    return header, notes, np.frombuffer(content, np.uint8, offset=start)


def unpacked(header: dict[str, Any], notes: dict[str, Any], data: Array) -> dict[str, tuple[str, Array]]:
    """Name -> dtype and bits, as unsigned integers in the tensor's shape."""
    entries = {key: data[slice(*entry["data_offsets"])] for key, entry in header.items()}
    if "tensors" not in notes:
        return {key: (e["dtype"], entries[key].view(BITS[e["dtype"]]).reshape(e["shape"])) for key, e in header.items()}
    used = dict.fromkeys(entries, 0)

    def take(key: str, count: int) -> Array:
        used[key] += count
        return entries[key][used[key] - count : used[key]]

    tensors: dict[str, tuple[str, Array]] = {}
    for name, *row in notes["tensors"]:
        tensors[name] = tensors[row[0]] if len(row) == 1 else (row[0], _tensor(take, *row))
    if used != {key: len(entry) for key, entry in entries.items()}:
        raise ValueError("its rows do not fit its entries")
    return tensors


def _tensor(take: Callable[[str, int], Array], dtype: str, shape: list[int], stored: int, *index: int) -> Array:
    flat = np.zeros(math.prod(shape), BITS[dtype])
    if flat.size and stored:
        flat[_places(take, *index) if index else slice(None)] = take(f"values.{dtype}", stored * flat.itemsize).view(
            flat.dtype
        )
    return flat.reshape(shape)


def _places(take: Callable[[str, int], Array], kept: int, k: int, unary: int) -> Array:
    ends = np.flatnonzero(np.unpackbits(take("index", unary)))
    low = np.unpackbits(take("index", (kept * k + 7) // 8), count=kept * k).reshape(kept, k)
    gaps = (np.diff(ends, prepend=-1) - 1) << k
    for bit in range(k):
        gaps += low[:, bit].astype(np.int64) << (k - 1 - bit)
    return np.cumsum(gaps + 1) - 1


def _seen(dtype: str, bits: Array) -> Array:
    return (bits.astype("<u4") << 16).view("<f4") if dtype == "BF16" else bits.view(DTYPES[dtype])
