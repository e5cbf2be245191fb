"""The threshold that keeps exactly so many scores: streaming passes, ties by index, no concatenation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from budbreak.checks import shown
from budbreak.errors import InvalidValue, NotFinite
from budbreak.masks.scores import Score
from budbreak.masks.shares import ShareScore, select_shares

Array = Any
"""A numpy array on the CPU, a tensor elsewhere: both compare, index and take minima alike."""

_CHUNK = {"cpu": 1 << 17}  # 512 KiB of float32 stay in a core's cache; 2^18 took 1 % less time and 5 MiB more
_CHUNK_ELSEWHERE = 1 << 26
_SAMPLE_BLOCKS, _FEWEST_BLOCKS, _SAMPLE_BLOCK = 512, 64, 512
_WEIGHTS_PER_BLOCK = 1 << 16  # sorting a larger sample costs more than the narrower bracket saves (1e7 weights)


def count_below(scores: Mapping[str, Score], limits: Mapping[str, Tensor] | None, value: float) -> int:
    """How many of the scores that compete are below a value."""
    return sum(_count(values < value) for _, values in Source(scores, limits).values())


def capacity(score: Score, limits: Mapping[str, Tensor] | None, name: str) -> int:
    """How many of a weight's scores compete."""
    return score.shape.numel() if limits is None else int(limits[name].count_nonzero())


class Source:
    """All competing scores, chunk by chunk, as comparable arrays of one dtype: float32, or float64 where one is."""

    def __init__(self, scores: Mapping[str, Score], limits: Mapping[str, Tensor] | None) -> None:
        self.scores, self.limits = scores, limits
        self.dtype = torch.float32
        for name, score in scores.items():
            if score.shape.numel():
                self.dtype = torch.promote_types(self.dtype, _first_score(name, score).dtype)

    def chunks(self, name: str) -> Iterator[tuple[int, int, Array]]:
        """(lo, hi, scores of lo..hi) for one weight, not limited."""
        size, read = self.scores[name].shape.numel(), self.scores[name].open()
        if not size:
            return
        step = _CHUNK.get(read(0, 1).device.type, _CHUNK_ELSEWHERE)
        for lo in range(0, size, step):
            hi = min(lo + step, size)
            chunk = self._array(read(lo, hi))
            if len(chunk) != hi - lo:
                raise InvalidValue(
                    f"{len(chunk)} scores for elements {lo} to {hi} of {name!r}",
                    "a criterion scores each weight once",
                    "mend its formula: as many numbers out as in",
                )
            yield lo, hi, chunk
            del chunk

    def whole(self, name: str) -> np.ndarray[Any, Any]:
        """All scores of one weight at once, flat, on the CPU.

        Raises:
            NotFinite: if one that competes is NaN.
        """
        values = np.empty(self.scores[name].shape.numel(), np.float64 if self.dtype == torch.float64 else np.float32)
        for lo, hi, chunk in self.chunks(name):
            limit = self.limit(name, lo, hi, chunk)
            _check_nan_free(name, chunk if limit is None else chunk[limit])
            values[lo:hi] = _cpu(chunk)
        return values

    def limit(self, name: str, lo: int, hi: int, like: Array) -> Array | None:
        """Bool for lo..hi where something competes; None where everything does."""
        if self.limits is None:
            return None
        flat = self.limits[name].reshape(-1)[lo:hi]
        return flat.numpy() if isinstance(like, np.ndarray) else flat.to(like.device)

    def values(self) -> Iterator[tuple[str, Array]]:
        """The scores that compete, chunk by chunk."""
        for name in self.scores:
            for lo, hi, chunk in self.chunks(name):
                limit = self.limit(name, lo, hi, chunk)
                yield name, chunk if limit is None else chunk[limit]
                del chunk

    def sample(self) -> np.ndarray[Any, Any]:
        """2^15 to 2^18 scores, sorted: blocks spread evenly over all weights; without NaN."""
        total = sum(score.shape.numel() for score in self.scores.values())
        wanted = min(max(total // _WEIGHTS_PER_BLOCK, _FEWEST_BLOCKS), _SAMPLE_BLOCKS)
        parts: list[Array] = []
        for name, score in self.scores.items():
            size = score.shape.numel()
            blocks = max(1, round(wanted * size / total)) if size else 0
            read = score.open()
            for block in range(blocks):
                lo = (2 * block + 1) * size // (2 * blocks) - _SAMPLE_BLOCK // 2
                lo = max(0, min(lo, size - _SAMPLE_BLOCK))
                chunk = self._array(read(lo, min(lo + _SAMPLE_BLOCK, size)))
                limit = self.limit(name, lo, lo + len(chunk), chunk)
                parts.append(_cpu(chunk if limit is None else chunk[limit]))
        sample = np.concatenate(parts)
        return np.sort(sample[~np.isnan(sample)])

    def _array(self, chunk: Tensor) -> Array:
        if not chunk.is_floating_point():
            raise InvalidValue(f"scores of dtype {chunk.dtype}", "scores are floating point numbers")
        chunk = chunk.detach().to(self.dtype)
        return chunk.numpy() if chunk.device.type == "cpu" else chunk


def _first_score(name: str, score: Score) -> Tensor:
    """The score of the first weight, as a slice."""
    first: object = score.open()(0, 1)
    if not isinstance(first, Tensor) or not first.dim():  # pyright: ignore[reportUnnecessaryIsInstance]
        value = f"a score of {name!r} is {shown(first)}, for a slice of one weight"
        raise InvalidValue(value, "a criterion scores each weight once", "mend its formula: reduce over nothing")
    return first


@dataclass(frozen=True)
class _Cut:
    """Keep scores above ``threshold``, and the first ``ties`` of those equal to it."""

    threshold: float
    ties: int


def select_competing(scores: Mapping[str, Score], keep: int, limits: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Keep exactly ``keep`` of the scores that compete: name -> bool; see `budbreak.select`."""
    total = sum(capacity(score, limits, name) for name, score in scores.items())
    shares = {name: score for name, score in scores.items() if isinstance(score, ShareScore)}
    if len(shares) == len(scores) and 0 < keep < total:
        return select_shares(shares, keep, limits)
    source = Source(scores, limits)
    cut = _find_cut(source, total, keep) if 0 < keep < total else _trivial_cut(source, keep)
    _check_spared(source, cut, keep)
    return _cut_masks(source, cut)


def _trivial_cut(source: Source, keep: int) -> _Cut:
    """Keep all or nothing; looks at the scores all the same, because NaN is refused always."""
    _census(source, math.inf, math.inf)
    return _Cut(-math.inf, keep) if keep else _Cut(math.inf, 0)


def _find_cut(source: Source, total: int, keep: int) -> _Cut:
    """The threshold of rank total - keep: bracket it by a sample, then count and gather in one pass.

    Where the bracket misses, or ends on a heap of equal scores, the next pass looks on the missed side with
    a bracket four times as wide; the last bracket is the whole line, so this ends.
    """
    rank = total - keep
    sample = source.sample()
    share = rank / total
    middle, width = share * len(sample), 6 * math.sqrt(share * (1 - share) * len(sample)) + 2  # six deviations
    lo, hi = _at(sample, middle - width), _at(sample, middle + width)
    while True:
        upto, between = _census(source, lo, hi)
        if rank < upto:
            below = sum(_count(values < lo) for _, values in source.values())
            if rank >= below:
                return _Cut(lo, keep - (total - upto))
            width *= 4
            lo, hi = _at(sample, middle - width), lo
        elif rank < upto + len(between):
            threshold = np.partition(between, rank - upto)[rank - upto]
            above = total - upto - int(np.count_nonzero(between <= threshold))
            return _Cut(float(threshold), keep - above)
        else:
            width *= 4
            lo, hi = hi, _at(sample, middle + width)


def _census(source: Source, lo: float, hi: float) -> tuple[int, np.ndarray[Any, Any]]:
    """How many scores are <= lo, and the scores strictly between lo and hi."""
    upto, parts = 0, [np.empty(0, dtype=np.float32)]
    for name, values in source.values():
        _check_nan_free(name, values)
        between = values > lo
        upto += len(values) - _count(between)
        between &= values < hi
        parts.append(_cpu(values[between]))
        del values, between  # before the next slice is made: two slices at a time are 2 MiB
    return upto, np.concatenate(parts)


def _cut_masks(source: Source, cut: _Cut) -> dict[str, Tensor]:
    masks: dict[str, Tensor] = {}
    ties = cut.ties
    for name, score in source.scores.items():
        flat = torch.empty(score.shape.numel(), dtype=torch.bool)
        for lo, hi, values in source.chunks(name):
            limit = source.limit(name, lo, hi, values)
            kept = _above(values, cut.threshold, flat[lo:hi])
            if limit is not None:
                kept &= limit
            if ties:
                equal = values == cut.threshold
                first = _first(equal if limit is None else equal & limit, ties)
                kept[first] = True
                ties -= len(first)
            if not isinstance(kept, np.ndarray):
                flat[lo:hi] = kept
            del values
        masks[name] = flat.reshape(score.shape)
    return masks


def _above(values: Array, threshold: float, target: Tensor) -> Array:
    """Which values are larger; on the CPU written straight into ``target``."""
    return np.greater(values, threshold, out=target.numpy()) if isinstance(values, np.ndarray) else values > threshold


def _first(flags: Array, count: int) -> Array:
    indices = np.flatnonzero(flags) if isinstance(flags, np.ndarray) else flags.nonzero().flatten()
    return indices[:count]


def _count(flags: Array) -> int:
    return int(np.count_nonzero(flags)) if isinstance(flags, np.ndarray) else int(flags.sum())


def _cpu(values: Array) -> np.ndarray[Any, Any]:
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def _at(sample: np.ndarray[Any, Any], position: float) -> float:
    if position < 0:
        return -math.inf
    return float(sample[int(position)]) if position < len(sample) else math.inf


def _check_nan_free(name: str, values: Array) -> None:
    if len(values) and math.isnan(float(values.min())):  # the minimum of anything with NaN is NaN
        raise NotFinite(
            f"a score of {name!r} is NaN",
            "NaN has no rank",
            "look for a NaN weight or gradient in that layer",
        )


def _check_spared(source: Source, cut: _Cut, keep: int) -> None:
    """Nothing with score +inf may fall below the cut or among the ties that lose."""
    if cut.threshold < math.inf:
        return
    spared = sum(_count(values == math.inf) for _, values in source.values())
    if spared > keep:
        raise InvalidValue(
            f"keep is {keep}, but {spared} scores are +inf",
            "+inf means never prune",
            f"keep at least {spared}, or score fewer weights with +inf",
        )
