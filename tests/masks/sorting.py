"""The rule of a selection in another form: sort by (score, index), keep the first; and tensors to try it on."""

from __future__ import annotations

import contextlib
import math

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from budbreak.masks import Mask, source

HEAVY_TIES = [-math.inf, -1.0, -0.0, 0.0, 1.0, 2.5, math.inf]
STREAMS = [(1 << 18, 512, 512), (7, 1, 64), (13, 3, 5), (3, 1, 1)]
"""(elements in a chunk, sample blocks, elements in a block): the default, and three that stream small tensors."""


@contextlib.contextmanager
def streaming(chunk, blocks, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "_CHUNK", {"cpu": chunk})
        patch.setattr(source, "_SAMPLE_BLOCKS", blocks)
        patch.setattr(source, "_SAMPLE_BLOCK", block)
        if block < 512:
            patch.setattr(source, "_FEW", 0)  # by default so few weights are not sampled
            patch.setattr(source, "spread_places", _middle)
        yield


def _middle(size, wanted):
    return torch.arange(wanted) + (size - wanted) // 2


def brute_force(tensors, keep, within=None):
    """Sort all competing (-score, flat index) and keep the first: another form of the same rule."""
    flat = [float(x) for tensor in tensors.values() for x in tensor.double().reshape(-1).tolist()]
    if within is None:
        competitors = range(len(flat))
    else:
        allowed = [bool(x) for name in tensors for x in within[name].reshape(-1).tolist()]
        competitors = [i for i, ok in enumerate(allowed) if ok]
    chosen = set(sorted(competitors, key=lambda i: (-flat[i], i))[:keep])
    bits = [i in chosen for i in range(len(flat))]
    entries, start = {}, 0
    for name, tensor in tensors.items():
        entries[name] = torch.tensor(bits[start : start + tensor.numel()], dtype=torch.bool).reshape(tensor.shape)
        start += tensor.numel()
    return Mask(entries)


def spared(tensors, within=None):
    return sum(int(((t == math.inf) & (True if within is None else within[n])).sum()) for n, t in tensors.items())


def arrange(values, order):
    """Orders that make a sample of the middle block unrepresentative, so that its bracket misses."""
    rising = np.sort(values)
    from_middle = np.argsort(np.abs(np.arange(len(values)) - len(values) / 2), kind="stable")
    low_middle, high_middle = np.empty_like(rising), np.empty_like(rising)
    low_middle[from_middle], high_middle[from_middle] = rising, rising[::-1]
    orders = {"sorted": rising, "falling": rising[::-1], "low middle": low_middle, "high middle": high_middle}
    return orders[order].copy()


@st.composite
def cases(draw, values=None, dtypes=(torch.float32, torch.float64)):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shapes = draw(st.lists(st.sampled_from([(0,), (1,), (3, 2), (5, 7), (2, 3, 4, 1), (130,), (17, 11)]), min_size=1))
    pool = draw(st.lists(st.sampled_from(HEAVY_TIES), min_size=1, max_size=4) if values is None else values)
    order = draw(st.sampled_from(["shuffled", "sorted", "low middle", "high middle"]))
    tensors = {}
    for number, shape in enumerate(shapes[:4]):
        picked = rng.choice(pool, size=math.prod(shape))
        picked = picked if order == "shuffled" else arrange(picked, order)
        tensors[f"w{number}"] = torch.tensor(picked, dtype=draw(st.sampled_from(dtypes))).reshape(shape)
    within = None
    if draw(st.booleans()):
        share = draw(st.sampled_from([0.0, 0.05, 0.5, 0.95]))
        within = Mask({name: torch.tensor(rng.random(tensor.shape) < share) for name, tensor in tensors.items()})
    capacity = sum(t.numel() for t in tensors.values()) if within is None else within.kept
    return tensors, draw(st.integers(0, capacity)), within
