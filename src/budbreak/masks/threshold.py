"""The threshold that keeps exactly so many scores: streaming passes, ties by index, no concatenation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from budbreak.errors import TooManySpared
from budbreak.masks.scores import Score
from budbreak.masks.shares import ShareScore, select_shares
from budbreak.masks.source import Array, Source, check_nan_free, count, cpu, holds_nan


def count_below(scores: Mapping[str, Score], limits: Mapping[str, Tensor] | None, value: float) -> int:
    """How many of the scores that compete are below a value."""
    return sum(count(values < value) for _, values in Source(scores, limits).values())


def capacity(score: Score, limits: Mapping[str, Tensor] | None, name: str) -> int:
    """How many of a weight's scores compete."""
    return score.shape.numel() if limits is None else int(limits[name].count_nonzero())


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
    """Scores of one chunk within the bracket: their places in the chunk, ascending, and their values.

    Args:
        kept: the chunk's part of the mask, a view.
    """

    kept: Tensor
    places: np.ndarray[Any, np.dtype[np.int32]]
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
    lows, highs = _ends(source, total, keep)
    lo, hi = lows.pop(0), highs.pop(0)
    while True:
        look = _look(source, lo, hi)
        wanted = keep - look.sure
        if wanted < 0:
            if hi == math.inf:
                raise _too_many_spared(look, keep)
            lo, hi = hi, highs.pop(0)
        elif wanted <= sum(len(near.values) for near in look.near):
            _keep_highest(look, wanted)
            return look.masks
        elif lo < hi and _keep_equal(source, look, lo, keep):
            return look.masks
        else:
            lo, hi = lows.pop(0), lo


def _ends(source: Source, total: int, keep: int) -> tuple[list[float], list[float]]:
    """The ends of the bracket around the threshold, and those to look at where it is missed: the last are infinite."""
    if keep in (0, total):
        return [-math.inf if keep else math.inf] * 2, [-math.inf if keep else math.inf, math.inf]
    sample, share = source.sample(), (total - keep) / total
    middle, width = share * len(sample), 6 * math.sqrt(share * (1 - share) * len(sample)) + 2  # six deviations
    reaches = [width * 4**times for times in range(12)]  # 4^12 times anything beyond a sample's end
    lows, highs = ([_at(sample, middle + sign * reach) for reach in reaches] for sign in (-1, 1))
    return [*lows, -math.inf], [*highs, math.inf]


def _look(source: Source, lo: float, hi: float) -> _Look:
    look, sure = _Look({}, 0, []), 0
    for name, score in source.scores.items():
        flat = look.masks[name] = torch.empty(score.shape.numel(), dtype=torch.bool)
        for first, last, values in source.chunks(name):
            limit = source.limit(name, first, last, values)
            if holds_nan(values):
                check_nan_free(name, values if limit is None else values[limit])
            kept = _at_least(values, hi, flat[first:last])
            near = values > lo
            near &= values < hi
            if limit is not None:
                kept &= limit
                near &= limit
            sure += count(kept)
            if not isinstance(kept, np.ndarray):
                flat[first:last] = kept
            places = near.nonzero()[0] if isinstance(near, np.ndarray) else near.nonzero().flatten()
            look.near.append(_Near(flat[first:last], cpu(places).astype(np.int32), cpu(values[places])))
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
        kept = near.kept.numpy()
        kept[near.places[near.values > threshold]] = True
        kept[near.places[first]] = True


def _keep_equal(source: Source, look: _Look, lo: float, keep: int) -> bool:
    """Keep all that is near, and of the scores that equal ``lo`` the first, if they are enough."""
    ties = keep - look.sure - sum(len(near.values) for near in look.near)
    if sum(count(values == lo) for _, values in source.values()) < ties:
        return False
    for near in look.near:
        near.kept.numpy()[near.places] = True
    for name in source.scores:
        for first, last, values in source.chunks(name):
            if not ties:
                return True
            limit, equal = source.limit(name, first, last, values), values == lo
            places = _first(equal if limit is None else equal & limit, ties)
            look.masks[name][first:last][torch.from_numpy(cpu(places))] = True
            ties -= len(places)
            del values, equal
    return True


def _at_least(values: Array, bound: float, target: Tensor) -> Array:
    """Which values have at least the bound; on the CPU written straight into ``target``."""
    return np.greater_equal(values, bound, out=target.numpy()) if isinstance(values, np.ndarray) else values >= bound


def _first(flags: Array, count: int) -> Array:
    indices = np.flatnonzero(flags) if isinstance(flags, np.ndarray) else flags.nonzero().flatten()
    return indices[:count]


def _at(sample: np.ndarray[Any, Any], position: float) -> float:
    if position < 0:
        return -math.inf
    return float(sample[int(position)]) if position < len(sample) else math.inf


def _too_many_spared(look: _Look, keep: int) -> TooManySpared:
    """Nothing with score +inf may go."""
    spared = {name: int(flat.count_nonzero()) for name, flat in look.masks.items() if flat.any()}
    most = max(spared, key=lambda name: spared[name])
    where = f", {spared[most]} of them in {most!r}" if len(look.masks) > 1 else f" in {most!r}"
    return TooManySpared(
        f"keep is {keep}, but {look.sure} scores are +inf{where}",
        "+inf means never prune",
        f"keep at least {look.sure}, or score fewer weights with +inf",
    )
