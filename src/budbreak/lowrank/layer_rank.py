"""The ranks of one weight, from its singular values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from budbreak.lowrank.tolerance import Tolerance

NUMBERS = ("full", "numerical", "absolute", "relative", "energy", "stable", "effective")
"""The ranks of a weight, by the names of the attributes of `LayerRank`."""


@dataclass(frozen=True)
class LayerRank:
    """What the singular values s[0] >= s[1] >= ... of one weight say.

    Args:
        weight: its state_dict name.
        shape: of the weight.
        rows, columns: of the matrix that it is read as; a grouped convolution is the block diagonal one of all groups.
        groups: how many blocks that has; 1 but for grouped convolutions.
        precision: the machine epsilon that belongs to the numbers of the weight, see `ranks`.
        tolerance: the cuts of ``absolute``, ``relative`` and ``energy``.
        spectrum: all singular values, in falling order, from float64.
    """

    weight: str
    shape: tuple[int, ...]
    rows: int
    columns: int
    groups: int
    precision: float
    tolerance: Tolerance
    spectrum: tuple[float, ...] = field(repr=False)

    @property
    def full(self) -> int:
        """The largest rank that this shape can have: the number of singular values."""
        return len(self.spectrum)

    @property
    def cut(self) -> float:
        """Where numpy's matrix_rank cuts unless told otherwise: s[0] * max(rows, columns) * epsilon."""
        return self.spectrum[0] * max(self.rows, self.columns) * self.precision

    @property
    def numerical(self) -> int:
        """Singular values over `cut`."""
        return _over(self.spectrum, self.cut)

    @property
    def absolute(self) -> int:
        """Singular values over ``tolerance.absolute``."""
        return _over(self.spectrum, self.tolerance.absolute)

    @property
    def relative(self) -> int:
        """Singular values over ``tolerance.relative * s[0]``."""
        return _over(self.spectrum, self.tolerance.relative * self.spectrum[0])

    @property
    def energy(self) -> int:
        """The fewest k with sum(s[:k]^2) >= ``tolerance.energy`` * sum(s^2); 0 for a matrix of zeros."""
        wanted, held = self.tolerance.energy * self.stable, 0.0
        for count, value in enumerate(self.spectrum):
            if held >= wanted:
                return count
            held += (value / self.spectrum[0]) ** 2
        return self.full

    @property
    def stable(self) -> float:
        """sum(s^2) / s[0]^2: squared Frobenius norm / squared spectral norm, in [1, full]; 0 for a matrix of zeros."""
        largest = self.spectrum[0]
        return math.fsum((value / largest) ** 2 for value in self.spectrum) if largest else 0.0

    @property
    def effective(self) -> float:
        """exp(-sum(p log p)) with p = s / sum(s), in [1, full]; 0 for a matrix of zeros.

        Source: Roy & Vetterli 2007.
        """
        total = math.fsum(self.spectrum)
        shares = [value / total for value in self.spectrum if value] if total else []
        return math.exp(-math.fsum(p * math.log(p) for p in shares if p)) if shares else 0.0

    @property
    def numbers(self) -> dict[str, float]:
        """The ranks by name, see `NUMBERS`."""
        return {name: getattr(self, name) for name in NUMBERS}


def summed(layers: Iterable[LayerRank]) -> dict[str, float]:
    """The ranks of several weights added up; 0 of none."""
    every = [layer.numbers for layer in layers]
    return {name: sum(numbers[name] for numbers in every) for name in NUMBERS}


def _over(spectrum: Sequence[float], cut: float) -> int:
    return sum(value > cut for value in spectrum)
