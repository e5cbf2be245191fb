"""From where on a singular value counts."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.checks import check_fraction, check_not_negative


@dataclass(frozen=True)
class Tolerance:
    """The cuts of the ranks that need one; numpy's own, beside them, needs none.

    Args:
        absolute: a singular value counts if it is larger; 1e-3 is where Ganguli & Chong 2024 cut theirs.
        relative: a singular value counts if it is larger than this share of the largest one, in [0, 1).
        energy: the share of the sum of squares that the first singular values must hold together, in (0, 1).

    Raises:
        InvalidValue: for numbers outside these ranges.
    """

    absolute: float = 1e-3
    relative: float = 0.01
    energy: float = 0.99

    def __post_init__(self) -> None:
        check_not_negative("absolute", self.absolute, "write 0.001")
        check_fraction("relative", self.relative)
        check_fraction("energy", self.energy, zero=False)
