"""Random: the control that every criterion must beat."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from budbreak.checks import check_count
from budbreak.evidence import Evidence, Weights
from budbreak.masks import Score, Scores, ScoreSlice


@dataclass(frozen=True)
class Random:
    """Score weights by uniform random numbers that depend on nothing but (seed, name, index).

    score[i] = h(seed, name, i) / 2^53, h = the top 53 bits of SplitMix64. Counter-based: any slice can be
    computed alone, and again; equal on every machine. The same seed gives nested masks from level to level.

    Source: Steele et al. 2014, "Fast splittable pseudorandom number generators" (the mixing function).
    """

    seed: int = 0
    needs = (Weights(),)

    def __post_init__(self) -> None:
        check_count("seed", self.seed, least=0)

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float64 [shape of the weight], in [0, 1).

        Raises:
            MissingEvidence: without `Weights` (their names and shapes).
        """
        return Scores({name: Score(weight.shape, self._opener(name)) for name, weight in evidence[Weights()].items()})

    def replicate(self, seed: int) -> Random:
        """The criterion of another replicate: paired arms under one seed draw alike, other seeds otherwise."""
        return Random(self.seed + seed)

    def _opener(self, name: str) -> Callable[[], ScoreSlice]:
        key = int.from_bytes(hashlib.sha256(f"{self.seed}:{name}".encode()).digest()[:8], "little")
        return lambda: _uniform(key)


def _uniform(key: int) -> ScoreSlice:
    def score(lo: int, hi: int) -> Tensor:
        counter = np.arange(lo, hi, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(key)
        return torch.from_numpy((_mix(counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53)

    return score


def _mix(z: np.ndarray[tuple[int], np.dtype[np.uint64]]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
