"""All cells of one recipe, compared: paired by seed, corrected by Holm."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev

from budbreak.diagnostics import Quantity
from budbreak.results import ArmResult, Difference, Estimate, LevelResult, estimate, holm, paired_differences
from reproductions.cells import Cell

ALPHA = 0.05
_WANTED = (0.5, 0.2, 0.1, 0.055, 0.028)  # densities of the tables; each stands for the nearest level
_NEAR = 1.12  # a level is near a density within this factor; neighbours are 1.25 apart

Pair = tuple[str, str]
"""An arm, and the one that it is compared with."""


@dataclass(frozen=True)
class Study:
    """One recipe: what was planned, and the cells that are there.

    Args:
        recipe: its name.
        planned: arm -> the arm that it is compared with, in the recipe's order; None: with none.
        seeds: planned replicates.
        cells: of this recipe.
        exact: whether all arms keep equally many weights at a level; if not, they are compared all the same.
    """

    recipe: str
    planned: Mapping[str, str | None]
    seeds: int
    cells: tuple[Cell, ...]
    exact: bool = True

    @cached_property
    def _numbers(self) -> Mapping[tuple[str, int, int], LevelResult]:
        return {(level.arm, level.seed, level.level): level for cell in self.cells for level in cell.results()}

    @property
    def arms(self) -> list[str]:
        """Those of which there is a cell, in the recipe's order."""
        there = {cell.arm for cell in self.cells}
        return [*(arm for arm in self.planned if arm in there), *sorted(there - set(self.planned))]

    @property
    def missing(self) -> list[tuple[str, list[int]]]:
        """(arm, its seeds without a cell) of each arm that is not complete."""
        gaps = [(arm, [s for s in range(self.seeds) if s not in self.seeds_of(arm)]) for arm in self.planned]
        return [(arm, seeds) for arm, seeds in gaps if seeds]

    @cached_property
    def density(self) -> Mapping[int, float]:
        """Level -> its density in the first arm; the others agree in it where they count alike."""
        first = self.arms[0]
        levels = [level for (arm, _, _), level in sorted(self._numbers.items()) if arm == first]
        return {level.level: level.density for level in levels}

    @cached_property
    def shown(self) -> list[int]:
        """The levels that tables show: those nearest to some round densities, and the sparsest."""
        near = [min(self.density, key=lambda level: _apart(self.density[level], wanted)) for wanted in _WANTED]
        close = [
            level for level, wanted in zip(near, _WANTED, strict=True) if _apart(self.density[level], wanted) <= _NEAR
        ]
        return sorted({level for level in (*close, max(self.density)) if level > 0})

    def cell(self, arm: str) -> Cell:
        """A cell of an arm, for what does not depend on the seed."""
        return next(cell for cell in self.cells if cell.arm == arm)

    def seeds_of(self, arm: str) -> list[int]:
        """The seeds of which there is a cell."""
        return sorted(cell.seed for cell in self.cells if cell.arm == arm)

    def values(self, arm: str, level: int, quantity: str) -> list[float]:
        """The numbers of all seeds that have one."""
        levels = [self._numbers.get((arm, seed, level)) for seed in self.seeds_of(arm)]
        return [found.numbers[quantity] for found in levels if found is not None and quantity in found.numbers]

    def mean(self, arm: str, level: int, quantity: str) -> float | None:
        """Over seeds; None without a number."""
        values = self.values(arm, level, quantity)
        return fmean(values) if values else None

    def spread(self, arm: str, level: int, quantity: str) -> float | None:
        """The standard deviation over seeds; None for fewer than two."""
        values = self.values(arm, level, quantity)
        return stdev(values) if len(values) > 1 else None

    def differences(self, pairs: Iterable[Pair], quantity: str) -> list[Difference]:
        """Of each pair at each pruned level; p is corrected by Holm over all of them."""
        return _corrected([row for pair in pairs for row in self._rows(pair, quantity) if row.level > 0])

    def _rows(self, pair: Pair, quantity: str) -> list[Difference]:
        arm, reference = pair
        own = [level for level in self._numbers.values() if level.arm in pair]
        if not self.exact:  # as if each kept what the reference keeps
            base = {(level.seed, level.level): level for level in own if level.arm == reference}
            own = [_counted_as(level, base.get((level.seed, level.level), level)) for level in own]
        what = Quantity(quantity, quantity, "share", "higher")
        return paired_differences(own, [ArmResult(arm, reference, {})], [what])

    def pooled(self, pairs: Sequence[Pair], quantity: str) -> list[tuple[Pair, Estimate, float | None]]:
        """(pair, the mean difference over all pruned levels, its p by Holm over the pairs) of each pair.

        Each seed gives one number, the mean of its differences: levels of a seed are not independent.
        """
        means = [(pair, self._mean_differences(pair, quantity)) for pair in pairs]
        found = [(pair, estimate(values)) for pair, values in means if values]
        adjusted = iter(holm([one.p for _, one in found if one.p is not None]))
        return [(pair, one, None if one.p is None else next(adjusted)) for pair, one in found]

    def _mean_differences(self, pair: Pair, quantity: str) -> list[float]:
        arm, reference = pair
        both = [seed for seed in self.seeds_of(arm) if seed in self.seeds_of(reference)]
        per_seed = [
            [
                self._numbers[arm, seed, level].numbers[quantity]
                - self._numbers[reference, seed, level].numbers[quantity]
                for level in self.density
                if level > 0 and (arm, seed, level) in self._numbers and (reference, seed, level) in self._numbers
            ]
            for seed in both
        ]
        return [fmean(differences) for differences in per_seed if differences]

    def pairs(self) -> list[Pair]:
        """Each arm of which something follows its host, with that host, where both have a cell."""
        there, found = self.arms, list[Pair]()
        for arm in there:
            reference = self.planned.get(arm)
            if reference in there and self.cell(arm).setup["prune"]["then"]:
                found.append((arm, str(reference)))
        return found


def studies_of(cells: Sequence[Cell], recipes: Path) -> dict[str, Study]:
    """A study for each recipe of which there are cells, or that is planned: recipe name -> study."""
    names = dict.fromkeys([*(path.stem for path in sorted(recipes.glob("*.toml"))), *(cell.recipe for cell in cells)])
    return {name: _study(name, cells, recipes / f"{name}.toml") for name in names}


def _study(name: str, cells: Sequence[Cell], recipe: Path) -> Study:
    own = tuple(cell for cell in cells if cell.recipe == name)
    if not recipe.is_file():
        arms = {cell.arm: cell.reference for cell in own}
        return Study(name, arms, 1 + max(cell.seed for cell in own), own)
    plain = tomllib.loads(recipe.read_text(encoding="utf-8"))
    tables: Mapping[str, Mapping[str, str]] = plain.get("arms", {"host": {}})
    first = next(iter(tables))
    references = {arm: table.get("reference", None if arm == first else first) for arm, table in tables.items()}
    planned = {arm: None if reference == "none" else reference for arm, reference in references.items()}
    return Study(name, planned, int(plain.get("seeds", 5)), own)


def _counted_as(level: LevelResult, other: LevelResult) -> LevelResult:
    return replace(level, kept=other.kept, total=other.total, counted=other.counted)


def _corrected(rows: Sequence[Difference]) -> list[Difference]:
    """With Holm's p over all of them; rows without p stay without."""
    adjusted = iter(holm([row.p for row in rows if row.p is not None]))
    return [row if row.p is None else replace(row, p_adjusted=next(adjusted)) for row in rows]


def _apart(density: float, other: float) -> float:
    return math.exp(abs(math.log(density / other)))
