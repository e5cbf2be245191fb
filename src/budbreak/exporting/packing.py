"""One tensor, packed: the elements whose bits are not all zero, and Rice codes of where they are."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from budbreak.exporting.layout import Array, dtype_name
from budbreak.files import BITS, tensor_bytes


@dataclass(frozen=True, eq=False)
class Packing:
    """A tensor as it lies in a packed file; see packed_reader.py for the layout.

    Args:
        row: what the table says of it, without its name.
        values: the stored elements, as unsigned integers.
        index: bytes of Rice codes; empty where all elements are stored.
        signed_zeros: how many of the elements are -0.0.
    """

    row: tuple[Any, ...]
    values: Array
    index: tuple[Array, ...] = ()
    signed_zeros: int = 0

    @property
    def bytes(self) -> int:
        """Of values and index."""
        return self.values.nbytes + sum(part.nbytes for part in self.index)


def pack(name: str, tensor: Tensor) -> Packing:
    """The smaller of all elements and of those that are not zero with their places; bit for bit.

    Raises:
        InvalidValue: if the format has no name for the dtype.
    """
    dtype = dtype_name(name, tensor)
    flat = tensor_bytes(tensor).view(BITS[dtype])
    head = (dtype, list(tensor.shape))
    values = _one_for_all(flat)
    dense = Packing((*head, values.size), values, (), _signed_zeros(values, tensor))
    places = np.flatnonzero(flat)
    values = _one_for_all(flat[places])
    if values.nbytes + places.size // 8 >= dense.bytes:  # an index takes a bit of each at least
        return dense
    k, *index = rice(places)
    row = (*head, values.size, places.size, k, index[0].size)
    sparse = Packing(row, values, tuple(index), _signed_zeros(values, tensor))
    return min(sparse, dense, key=lambda packing: packing.bytes)


def rice(places: Array) -> tuple[int, Array, Array]:
    """Ascending places as Rice codes of the gaps before them.

    The parameter k is the one with the fewest bits, sum(gap >> k) + n * (k + 1), near the logarithm of the mean gap. At
    random places that is within 3 % of the entropy of where they are, from a density of a half downwards.

    Returns:
        k, the bytes of the unary parts, the bytes of the k low bits of each gap.
    """
    gaps = np.diff(places, prepend=-1) - 1
    guess = int(math.log2(1 + gaps.mean())) if gaps.size else 0
    k = min(range(max(0, guess - 1), guess + 2), key=lambda k: int((gaps >> k).sum()) + gaps.size * (k + 1))
    ends = np.cumsum((gaps >> k) + 1) - 1
    unary = np.zeros(int(ends[-1]) + 1 if ends.size else 0, np.uint8)
    unary[ends] = 1
    low = np.empty((gaps.size, k), np.uint8)
    for bit in range(k):
        low[:, bit] = (gaps >> (k - 1 - bit)) & 1
    return k, np.packbits(unary), np.packbits(low)


def entropy_bound(tensors: Iterable[Tensor]) -> float:
    """Bytes below which no form can get that stores values as they are, if they lie at random places.

    sum over tensors of kept * bits + n * H(kept / n), H(p) = -p log2 p - (1 - p) log2 (1 - p), of n elements with
    kept that are not zero. Tied tensors are counted once if they are given once.
    """
    return sum(map(_bound, tensors)) / 8


def _bound(tensor: Tensor) -> float:
    flat = tensor_bytes(tensor).reshape(-1, tensor.element_size())
    kept, n = int(flat.any(1).sum()), len(flat)
    shares = [share / n for share in (kept, n - kept) if share]
    return kept * 8 * tensor.element_size() - n * sum(share * math.log2(share) for share in shares)


def _one_for_all(values: Array) -> Array:
    """A single value where all are equal."""
    return values[:1] if values.size and bool((values == values[0]).all()) else values


def _signed_zeros(values: Array, tensor: Tensor) -> int:
    if not tensor.is_floating_point():
        return 0
    return int(np.count_nonzero(values == 1 << (8 * values.itemsize - 1)))
