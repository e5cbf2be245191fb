"""Reads the safetensors files that budbreak exports, packed or plain. It needs numpy alone: copy it to where you read.

Both are safetensors files: 8 bytes of length, a JSON header, data. ``__metadata__`` in the header has "budbreak",
JSON: ``version``, ``sha256`` (of the file, with 64 zeros in the place of this digest), and ``notes``, more JSON in zlib
and base64. There a packed file has ``tensors``, a row for each name of the state_dict; a plain file has none::

    [name, dtype, shape, stored]                      all elements, in C order
    [name, dtype, shape, stored, kept, k, unary]      those elements alone whose bits are not all zero
    [name, other]                                     the tensor of another name, above it

Values lie in the entries "values.DTYPE", ``stored`` for each row, in the order of the rows; a single one is that of all
its row's elements. Where these are lies in the entry "index", row after row, as Rice codes of gaps (how many zeros
come before an element): gap >> k in unary, so many bits 0 and a 1, filled up to ``unary`` bytes, then the low k bits
of each gap, filled up to a byte; high bits first. With k = 0 that is a bitmask.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
VERSION = 1
_INTEGERS = {f"{kind}{8 * n}": f"{kind.lower()}{n}" for kind in "UI" for n in (1, 2, 4, 8)}
_FLOATS = {"F16": "f2", "F32": "f4", "F64": "f8", "C64": "c8"}
_OTHERS = {"BOOL": "?", "F8_E4M3": "u1", "F8_E5M2": "u1", "BF16": "u2"}
DTYPES = {name: np.dtype(f"<{kind}") for name, kind in {**_INTEGERS, **_FLOATS, **_OTHERS}.items()}
BITS = {name: np.dtype(f"<u{kind.itemsize}") for name, kind in DTYPES.items()}


def read(path: str | Path) -> dict[str, Array]:
    """Name -> array; BF16 as float32, which holds it exactly, F8 as bits. A file that does not fit is a ValueError."""
    tensors = unpack_tensors(*open_packed(path)).items()
    wide = {name: (bits.astype("<u4") << 16).view("<f4") for name, (dtype, bits) in tensors if dtype == "BF16"}
    return {name: wide[name] if name in wide else bits.view(DTYPES[dtype]) for name, (dtype, bits) in tensors}


def open_packed(path: str | Path) -> tuple[dict[str, Any], dict[str, Any], Array]:
    """The entries of the header, our notes, and the data of a file that is whole and unchanged, or ValueError."""
    content = Path(path).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8:start])
        note = json.loads(header.pop("__metadata__")["budbreak"])
        version, digest = int(note["version"]), str(note["sha256"]).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("it is cut off, or no safetensors file of budbreak") from None
    if version > VERSION:
        raise ValueError(f"it is of version {version}, and this reader knows up to {VERSION}: take a newer one")
    hasher = hashlib.sha256(content[:start].replace(digest, b"0" * 64, 1))
    hasher.update(memoryview(content)[start:])
    if hasher.hexdigest().encode() != digest:
        raise ValueError("its content does not match its checksum: it was cut off or changed")
    notes = json.loads(zlib.decompress(base64.b64decode(note["notes"])))
    return header, notes, np.frombuffer(content, np.uint8)[start:]


def unpack_tensors(header: dict[str, Any], notes: dict[str, Any], data: Array) -> dict[str, tuple[str, Array]]:
    """Name -> dtype, and bits as unsigned integers in the tensor's shape."""
    entries = {key: data[slice(*entry["data_offsets"])] for key, entry in header.items()}
    if "tensors" not in notes:
        return {key: (e["dtype"], entries[key].view(BITS[e["dtype"]]).reshape(e["shape"])) for key, e in header.items()}
    used, tensors = dict.fromkeys(entries, 0), dict[str, tuple[str, Array]]()

    def take(key: str, count: int) -> Array:
        used[key] += count
        return entries[key][used[key] - count : used[key]]

    for name, *row in notes["tensors"]:
        tensors[name] = tensors[row[0]] if len(row) == 1 else (row[0], _tensor(take, *row))
    if used != {key: len(entry) for key, entry in entries.items()}:
        raise ValueError("its rows do not fit its entries")
    return tensors


def _tensor(take: Callable[[str, int], Array], dtype: str, shape: list[int], stored: int, *index: int) -> Array:
    flat = np.zeros(math.prod(shape), BITS[dtype])
    if stored:
        values = take(f"values.{dtype}", stored * flat.itemsize).view(flat.dtype)
        flat[_places(take, *index) if index else slice(None)] = values
    return flat.reshape(shape)


def _places(take: Callable[[str, int], Array], kept: int, k: int, unary: int) -> Array:
    ends = np.flatnonzero(np.unpackbits(take("index", unary)))
    low = np.unpackbits(take("index", (kept * k + 7) // 8), count=kept * k).reshape(kept, k)
    gaps = (np.diff(ends, prepend=-1) - 1) << k
    for bit in range(k):
        gaps += low[:, bit].astype(np.int64) << (k - 1 - bit)
    return np.cumsum(gaps + 1) - 1
