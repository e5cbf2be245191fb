"""Scores as a selection reads them: slice by slice, those that compete, as arrays that compare alike."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from budbreak.checks import shown
from budbreak.errors import InvalidValue, NotFinite
from budbreak.masks.scores import Score

Array = Any
"""A numpy array on the CPU, a tensor elsewhere: both compare, index and take minima alike."""

_CHUNK = {"cpu": 1 << 17}  # 512 KiB of float32 stay in a core's cache; 2^18 took 1 % less time and 5 MiB more
_CHUNK_ELSEWHERE = 1 << 26
_SAMPLE_BLOCKS, _FEWEST_BLOCKS, _SAMPLE_BLOCK = 512, 64, 512
_FEW = 1 << 15  # of so many, all may be near the threshold
_GOLDEN = (math.sqrt(5) - 1) / 2
_WEIGHTS_PER_BLOCK = 1 << 16  # sorting a larger sample costs more than the narrower bracket saves (1e7 weights)


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
            _check_length(chunk, hi - lo, f"elements {lo} to {hi} of {name!r}")
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
            check_nan_free(name, chunk if limit is None else chunk[limit])
            values[lo:hi] = cpu(chunk)
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
        """2^15 to 2^18 scores, sorted: spread evenly over all weights; without NaN. Of few weights none."""
        total = sum(score.shape.numel() for score in self.scores.values())
        if total <= _FEW:
            return np.empty(0, dtype=np.float32)
        wanted = min(max(total // _WEIGHTS_PER_BLOCK, _FEWEST_BLOCKS), _SAMPLE_BLOCKS)
        parts: list[Array] = []
        for name, score in self.scores.items():
            if not score.shape.numel():
                continue
            blocks = max(1, round(wanted * score.shape.numel() / total))
            parts += self._blocks_of(name, blocks) if score.pick is None else [self._picked(name, score.pick, blocks)]
        sample = np.concatenate(parts)
        return np.sort(sample[~np.isnan(sample)])

    def _picked(self, name: str, pick: Callable[[Tensor], Tensor], blocks: int) -> np.ndarray[Any, Any]:
        """As many scores as so many blocks hold, each of another place."""
        size = self.scores[name].shape.numel()
        places = spread_places(size, min(blocks * _SAMPLE_BLOCK, size))
        picked = cpu(self._array(pick(places)))
        _check_length(picked, len(places), f"{len(places)} elements of {name!r}")
        return picked if self.limits is None else picked[self.limits[name].cpu().take(places).numpy()]

    def _blocks_of(self, name: str, wanted: int) -> Iterator[np.ndarray[Any, Any]]:
        for lo, hi, chunk in self.blocks(name, wanted):
            limit = self.limit(name, lo, hi, chunk)
            yield cpu(chunk if limit is None else chunk[limit])

    def blocks(self, name: str, wanted: int) -> Iterator[tuple[int, int, Array]]:
        """(lo, hi, scores of lo..hi) of so many blocks, or of all there are, spread evenly over one weight."""
        size, read = self.scores[name].shape.numel(), self.scores[name].open()
        wanted = min(wanted, -(-size // _SAMPLE_BLOCK))
        for block in range(wanted):
            lo = (2 * block + 1) * size // (2 * wanted) - _SAMPLE_BLOCK // 2
            lo = max(0, min(lo, size - _SAMPLE_BLOCK))
            hi = min(lo + _SAMPLE_BLOCK, size)
            yield lo, hi, self._array(read(lo, hi))

    def _array(self, chunk: Tensor) -> Array:
        if not chunk.is_floating_point():
            raise InvalidValue(f"scores of dtype {chunk.dtype}", "scores are floating point numbers")
        chunk = chunk.detach().to(self.dtype)
        return chunk.numpy() if chunk.device.type == "cpu" else chunk


def spread_places(size: int, wanted: int) -> Tensor:
    """Flat indices, ascending: one in each of ``wanted`` equal parts, 1 to ``size`` of them.

    >>> spread_places(20, 5)
    tensor([ 0,  6,  8, 15, 17])
    """
    numbers = torch.arange(wanted, dtype=torch.float64)
    within = (numbers * _GOLDEN).frac()  # never in step with rows and columns, as the middles of the parts may be
    return (numbers + within).mul_(size / wanted).long().clamp_(max=size - 1)


def _check_length(scores: Array, wanted: int, words: str) -> None:
    if len(scores) != wanted:
        raise InvalidValue(
            f"{len(scores)} scores for {words}",
            "a criterion scores each weight once",
            "mend its formula: as many numbers out as in",
        )


def _first_score(name: str, score: Score) -> Tensor:
    """The score of the first weight, as a slice."""
    first: object = score.open()(0, 1)
    if not isinstance(first, Tensor) or not first.dim():  # pyright: ignore[reportUnnecessaryIsInstance]
        value = f"a score of {name!r} is {shown(first)}, for a slice of one weight"
        raise InvalidValue(value, "a criterion scores each weight once", "mend its formula: reduce over nothing")
    return first


def count(flags: Array) -> int:
    """How many are True."""
    return int(np.count_nonzero(flags)) if isinstance(flags, np.ndarray) else int(flags.sum())


def cpu(values: Array) -> np.ndarray[Any, Any]:
    """The same as a numpy array."""
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def holds_nan(values: Array) -> bool:
    """Whether there is NaN among them; not empty."""
    return math.isnan(float(values.min()))  # the minimum of anything with NaN is NaN


def check_nan_free(name: str, values: Array) -> None:
    """Refuse NaN, which has no rank.

    Raises:
        NotFinite: with the layer.
    """
    if len(values) and holds_nan(values):
        raise NotFinite(
            f"a score of {name!r} is NaN",
            "NaN has no rank",
            "look for a NaN weight or gradient in that layer",
        )
