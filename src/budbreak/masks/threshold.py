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
_FEW = 1 << 15  # of so many, all may be near the threshold
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
        """2^15 to 2^18 scores, sorted: blocks spread evenly over all weights; without NaN. Of few weights none."""
        total = sum(score.shape.numel() for score in self.scores.values())
        if total <= _FEW:
            return np.empty(0, dtype=np.float32)
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


def select_competing(scores: Mapping[str, Score], keep: int, limits: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Keep exactly ``keep`` of the scores that compete: name -> bool; see `budbreak.select`."""
    total = sum(capacity(score, limits, name) for name, score in scores.items())
    shares = {name: score for name, score in scores.items() if isinstance(score, ShareScore)}
    if len(shares) == len(scores) and 0 < keep < total:
        return select_shares(shares, keep, limits)
    source = Source(scores, limits)
    flat = _select(source, total, keep)
    return {name: flat[name].reshape(score.shape) for name, score in scores.items()}


@dataclass(frozen=True)
class _Near:
    """Scores of one chunk within the bracket: the indices in their weight, ascending, and their values."""

    name: str
    indices: np.ndarray[Any, np.dtype[np.int64]]
    values: np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Look:
    """One pass: what has at least the upper end of a bracket is kept, what lies within it is gathered.

    Args:
        masks: name -> flat bool, True where a score that competes has at least the upper end; ``sure``: how many.
        near: strictly between both ends.
    """

    masks: dict[str, Tensor]
    sure: int
    near: list[_Near]

    @property
    def values(self) -> np.ndarray[Any, Any]:
        """All that is near, in the order of flat indices."""
        return np.concatenate([np.empty(0, dtype=np.float32), *(near.values for near in self.near)])


def _select(source: Source, total: int, keep: int) -> dict[str, Tensor]:
    """The flat masks of the ``keep`` highest: bracket the threshold by a sample, then one pass, and settle the rest.

    Where the bracket misses, the next pass looks on the missed side with a bracket four times as wide. Scores that
    equal its lower end may be a heap, most of all there are: they are counted, and never gathered.
    """
    sample = source.sample() if 0 < keep < total else np.empty(0, dtype=np.float32)
    share = (total - keep) / max(total, 1)
    middle, width = share * len(sample), 6 * math.sqrt(share * (1 - share) * len(sample)) + 2  # six deviations
    lo, hi = _at(sample, middle - width), _at(sample, middle + width)
    if keep in (0, total):
        lo = hi = -math.inf if keep else math.inf
    while True:
        look = _look(source, lo, hi)
        wanted = keep - look.sure
        if wanted < 0:
            _check_spared(look.sure, keep, hi)
            width *= 4
            lo, hi = hi, _at(sample, middle + width)
        elif wanted <= sum(len(near.values) for near in look.near):
            _keep_highest(look, wanted)
            return look.masks
        elif lo < hi and _keep_equal(source, look, lo, keep):
            return look.masks
        else:
            width *= 4
            lo, hi = _at(sample, middle - width), lo


def _look(source: Source, lo: float, hi: float) -> _Look:
    look, sure = _Look({}, 0, []), 0
    for name, score in source.scores.items():
        flat = look.masks[name] = torch.empty(score.shape.numel(), dtype=torch.bool)
        for first, last, values in source.chunks(name):
            limit = source.limit(name, first, last, values)
            if _holds_nan(values):
                _check_nan_free(name, values if limit is None else values[limit])
            kept = _at_least(values, hi, flat[first:last])
            near = values > lo
            near &= values < hi
            if limit is not None:
                kept &= limit
                near &= limit
            sure += _count(kept)
            if not isinstance(kept, np.ndarray):
                flat[first:last] = kept
            indices = near.nonzero()[0] if isinstance(near, np.ndarray) else near.nonzero().flatten()
            look.near.append(_Near(name, _cpu(indices) + first, _cpu(values[indices])))
            del values, near, kept  # before the next slice is made: two slices at a time are 2 MiB
    return _Look(look.masks, sure, look.near)


def _keep_highest(look: _Look, wanted: int) -> None:
    """Of what is near, keep the ``wanted`` highest; of equal ones those that come first."""
    values = look.values
    if not wanted:
        return
    threshold = np.partition(values, len(values) - wanted)[len(values) - wanted]
    ties = wanted - int(np.count_nonzero(values > threshold))
    for near in look.near:
        first = np.flatnonzero(near.values == threshold)[:ties]
        ties -= len(first)
        flat = look.masks[near.name].numpy()
        flat[near.indices[near.values > threshold]] = True
        flat[near.indices[first]] = True


def _keep_equal(source: Source, look: _Look, lo: float, keep: int) -> bool:
    """Keep all that is near, and of the scores that equal ``lo`` the first, if they are enough."""
    ties = keep - look.sure - sum(len(near.values) for near in look.near)
    if sum(_count(values == lo) for _, values in source.values()) < ties:
        return False
    for near in look.near:
        look.masks[near.name].numpy()[near.indices] = True
    for name in source.scores:
        for first, last, values in source.chunks(name):
            if not ties:
                return True
            limit, equal = source.limit(name, first, last, values), values == lo
            places = _first(equal if limit is None else equal & limit, ties)
            look.masks[name][first:last][torch.from_numpy(_cpu(places))] = True
            ties -= len(places)
            del values, equal
    return True


def _at_least(values: Array, bound: float, target: Tensor) -> Array:
    """Which values have at least the bound; on the CPU written straight into ``target``."""
    return np.greater_equal(values, bound, out=target.numpy()) if isinstance(values, np.ndarray) else values >= bound


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


def _holds_nan(values: Array) -> bool:
    return math.isnan(float(values.min()))  # the minimum of anything with NaN is NaN


def _check_nan_free(name: str, values: Array) -> None:
    if len(values) and _holds_nan(values):
        raise NotFinite(
            f"a score of {name!r} is NaN",
            "NaN has no rank",
            "look for a NaN weight or gradient in that layer",
        )


def _check_spared(sure: int, keep: int, bound: float) -> None:
    """Nothing with score +inf may go."""
    if bound == math.inf:
        raise InvalidValue(
            f"keep is {keep}, but {sure} scores are +inf",
            "+inf means never prune",
            f"keep at least {sure}, or score fewer weights with +inf",
        )
