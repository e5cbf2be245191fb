"""What arms cost, and in proportion to what they are compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from budbreak.results.result import LevelResult, RunResult


@dataclass(frozen=True)
class Cost:
    """What an arm took per seed over all levels, its search included, and in proportion to its reference.

    The proportion is that of the levels that both finished.
    """

    arm: str
    index: int
    epochs: float
    steps: float
    seconds: float
    epochs_ratio: float | None
    seconds_ratio: float | None


def costs(run: RunResult) -> tuple[Cost, ...]:
    """The cost of each arm that finished a level."""
    cells = {arm.name: {(row.seed, row.level): row for row in run.levels if row.arm == arm.name} for arm in run.arms}

    def cost(index: int, arm: str, reference: str | None) -> Cost:
        own, base = cells[arm], cells.get(reference or "", {})
        both, seeds = own.keys() & base.keys(), len({seed for seed, _ in own})

        def per_seed(field: str) -> float:
            return math.fsum(_spent(row, field) for row in own.values()) / seeds

        def ratio(field: str) -> float | None:
            whole = math.fsum(_spent(base[key], field) for key in both)
            return math.fsum(_spent(own[key], field) for key in both) / whole if whole > 0 else None

        sums = (per_seed("epochs"), per_seed("steps"), per_seed("seconds"))
        return Cost(arm, index, *sums, ratio("epochs"), ratio("seconds"))

    return tuple(cost(index, arm.name, arm.reference) for index, arm in enumerate(run.arms) if cells[arm.name])


def _spent(row: LevelResult, field: str) -> float:
    """Of a level, and of the search before its last training, which counts no steps."""
    return getattr(row, field) + row.numbers.get(f"search_{field}", 0.0)
