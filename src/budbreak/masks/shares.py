"""Scores that are shares of what is left of a weight, selected exactly without ranking all of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from budbreak.errors import NotFinite
from budbreak.masks.scores import Score, Scores, ScoreSlice
from budbreak.masks.source import Source, cpu

Array = np.ndarray[Any, Any]

_SAMPLE_BLOCKS = 64  # of each weight


@dataclass(frozen=True)
class ShareScore(Score):
    """The scores w[i]^2 / (sum of w[j]^2 with |w[j]| >= |w[i]|) of one weight; 0 where w[i] is 0.

    They rise with |w[i]|: so a selection needs the squares near its threshold, and of the others their sum.

    Args:
        weight: any shape and floating dtype.
    """

    weight: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> ShareScore:
        """The scores of a weight; not copied."""
        return cls(weight.shape, _opener(weight), weight)


def _opener(weight: Tensor) -> Callable[[], ScoreSlice]:
    def open_slices() -> ScoreSlice:
        squares = weight.detach().reshape(-1).abs().double().square()
        ascending = squares.sort().values
        at_least = ascending.flip(0).cumsum(0).flip(0)  # the sum of all squares from here on

        def score(lo: int, hi: int) -> Tensor:
            own = squares[lo:hi]
            total = at_least[torch.searchsorted(ascending, own)]
            return torch.where(own == 0, own, own / total)

        return score

    return open_slices


def select_shares(
    scores: Mapping[str, ShareScore], keep: int, limits: Mapping[str, Tensor] | None
) -> dict[str, Tensor]:
    """Keep exactly ``keep`` of the scores that compete, of equal ones those of lower flat index: name -> bool.

    Args:
        scores: higher = keep.
        keep: 1 to one less than compete.
        limits: name -> bool: what competes; None: all. What does not is part of the sums all the same.

    Raises:
        NotFinite: if a weight is NaN or infinite.
    """
    weights = [_Magnitudes(name, scores[name].weight, None if limits is None else limits[name]) for name in scores]
    samples = [weight.sample() for weight in weights]
    width = 1.0
    while True:
        brackets = _brackets(weights, samples, keep, width)
        seen = [weight.look(*bracket) for weight, bracket in zip(weights, brackets, strict=True)]
        cut = _cut(seen, keep)
        if cut is not None:
            break
        width *= 4
    threshold, ties = cut
    masks: dict[str, Tensor] = {}
    for weight, near in zip(weights, seen, strict=True):
        masks[weight.name], ties = weight.mask(near, threshold, ties)
    return masks


@dataclass(frozen=True)
class _Near:
    """What is near the threshold in one weight, and what is above it.

    Args:
        lo, hi: magnitudes in [lo, hi) are near.
        above: how many that compete have hi and more; ``squares``: the sum of all their squares.
        magnitudes, scores: of what is near, descending; ``competing``: whether it competes.
        total: the sum of all squares from ``lo`` on.
    """

    lo: float
    hi: float
    above: int
    squares: float
    magnitudes: Array
    scores: Array
    competing: Array
    total: float

    def holds(self, threshold: float) -> bool:
        """Whether all that is above has a higher score, and all that is below a lower one."""
        higher = math.isinf(self.hi) or not self.squares or self.hi**2 / self.squares > threshold
        lower = self.lo == 0 or not self.total or self.lo**2 / self.total <= threshold
        return higher and lower


class _Magnitudes:
    """One weight, chunk by chunk."""

    def __init__(self, name: str, weight: Tensor, limit: Tensor | None) -> None:
        self.name, self.shape, self.size = name, weight.shape, weight.numel()
        magnitudes = Scores.elementwise(torch.abs, {name: weight})
        self._source = Source(magnitudes, None if limit is None else {name: limit})

    def chunks(self) -> Iterator[tuple[int, int, Array, Array | None]]:
        """(lo, hi, magnitudes of lo..hi, which of them compete; None: all)."""
        return map(self._seen, self._source.chunks(self.name))

    def _seen(self, chunk: tuple[int, int, Any]) -> tuple[int, int, Array, Array | None]:
        lo, hi, magnitudes = chunk[0], chunk[1], cpu(chunk[2])
        if not math.isfinite(float(magnitudes.max())):  # the maximum of anything with NaN is NaN
            raise NotFinite(
                f"{self.name!r} holds NaN or infinite numbers",
                "a share of an infinite sum has no rank",
                "look for what made them, or leave that layer out",
            )
        return lo, hi, magnitudes, self._source.limit(self.name, lo, hi, magnitudes)

    def sample(self) -> tuple[Array, Array]:
        """(magnitudes, descending; which compete) of blocks spread evenly."""
        parts = [self._seen(block) for block in self._source.blocks(self.name, _SAMPLE_BLOCKS)]
        magnitudes = np.concatenate([np.empty(0, np.float32), *(part[2] for part in parts)])
        flags = [np.ones(len(part[2]), bool) if part[3] is None else part[3] for part in parts]
        order = np.argsort(-magnitudes, kind="stable")
        return magnitudes[order], np.concatenate([np.empty(0, bool), *flags])[order]

    def look(self, lo: float, hi: float) -> _Near:
        """Gather what is in [lo, hi); count and sum up what is above."""
        above, squares = 0, 0.0
        parts, flags = [np.empty(0, np.float32)], [np.empty(0, bool)]
        for _, _, values, limit in self.chunks():
            high = values >= hi
            above += int(np.count_nonzero(high if limit is None else high & limit))
            higher = values[high].astype(np.float64)
            squares += float(np.dot(higher, higher))
            near = (values >= lo) & ~high
            parts.append(values[near])
            flags.append(np.ones(len(parts[-1]), bool) if limit is None else limit[near])
        magnitudes, competing = np.concatenate(parts), np.concatenate(flags)
        order = np.argsort(-magnitudes, kind="stable")
        magnitudes, competing = magnitudes[order], competing[order]
        scores, total = _shares(magnitudes, squares)
        return _Near(lo, hi, above, squares, magnitudes, scores, competing, total)

    def mask(self, near: _Near, threshold: float, ties: int) -> tuple[Tensor, int]:
        """(what is kept, how many ties are left to keep in the weights that follow)."""
        higher, equal = near.magnitudes[near.scores > threshold], near.magnitudes[near.scores == threshold]
        cut = float(higher[-1]) if len(higher) else near.hi
        kept = np.empty(self.size, dtype=bool)
        for lo, hi, values, limit in self.chunks():
            np.greater_equal(values, cut, out=kept[lo:hi])
            if ties and len(equal):
                tied = (values >= equal[-1]) & (values <= equal[0])
                first = np.flatnonzero(tied if limit is None else tied & limit)[:ties]
                kept[lo:hi][first] = True
                ties -= len(first)
            if limit is not None:
                kept[lo:hi] &= limit
        return torch.from_numpy(kept).reshape(self.shape), ties


def _shares(magnitudes: Array, above: float) -> tuple[Array, float]:
    """(scores of magnitudes in descending order, the sum of all squares), where ``above`` is that of larger ones."""
    squares = magnitudes.astype(np.float64) ** 2
    sums = above + np.cumsum(squares)
    if not len(sums):
        return sums, above
    last = np.append(magnitudes[1:] != magnitudes[:-1], True)  # equal magnitudes share the sum over all of them
    ends = np.flatnonzero(last)
    sums = np.repeat(sums[ends], np.diff(ends, prepend=-1))
    return np.divide(squares, sums, out=np.zeros_like(squares), where=squares > 0), float(sums[-1])


def _brackets(
    weights: Sequence[_Magnitudes], samples: Sequence[tuple[Array, Array]], keep: int, width: float
) -> list[tuple[float, float]]:
    """For each weight the magnitudes between which its threshold lies, as far as a sample tells."""
    factors = [weight.size / max(len(sample[0]), 1) for weight, sample in zip(weights, samples, strict=True)]
    scores = [_shares(magnitudes, 0.0)[0] / factor for (magnitudes, _), factor in zip(samples, factors, strict=True)]
    every = np.concatenate(scores)
    mass = np.concatenate([flags * factor for (_, flags), factor in zip(samples, factors, strict=True)])
    order = np.argsort(-every, kind="stable")
    place = min(int(np.searchsorted(np.cumsum(mass[order]), keep)), len(order) - 1)
    threshold = float(every[order[place]])
    return [_bracket(own, sample[0], threshold, width) for own, sample in zip(scores, samples, strict=True)]


def _bracket(scores: Array, magnitudes: Array, threshold: float, width: float) -> tuple[float, float]:
    place, count = int(np.count_nonzero(scores > threshold)), len(magnitudes)
    share = place / max(count, 1)
    reach = width * (6 * math.sqrt(share * (1 - share) * count) + 16)  # six deviations, and something for the sums
    first, last = math.floor(place - reach), math.ceil(place + reach)
    hi = math.inf if first < 0 or not count else float(magnitudes[first])
    return (0.0 if last >= count else float(magnitudes[last])), hi


def _cut(seen: Sequence[_Near], keep: int) -> tuple[float, int] | None:
    """(threshold, how many of those equal to it stay); None if what is near does not hold it."""
    near = np.concatenate([one.scores[one.competing] for one in seen])
    wanted = keep - sum(one.above for one in seen)
    if not 0 < wanted <= len(near):
        return None
    threshold = float(np.partition(near, len(near) - wanted)[len(near) - wanted])
    if not all(one.holds(threshold) for one in seen):
        return None
    return threshold, wanted - int(np.count_nonzero(near > threshold))
