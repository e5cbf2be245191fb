"""The studies of activation-based pruning: one for each recipe and setting, and what its arms came to at their ends."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from budbreak.results import Difference
from reproductions.activation.stored import STANDARD, FactorCell, NetworkCell
from reproductions.cells import Cell, Columns
from reproductions.settings import OWN, RECIPES, SETTINGS, Setting
from reproductions.study import Pair, Study, studies_of

CHANNELS = ("mnist-lenet5-channels", "cifar10-cnn-channels")
DENSE = "standard"
"""What the standard network, trained to the end without pruning, is called among the arms."""

T = TypeVar("T")
S = TypeVar("S", NetworkCell, FactorCell)


@dataclass(frozen=True)
class Measured:
    """All cells of one study.

    Args:
        study: level by level; the arms keep different numbers of weights.
        setting: how it prunes; None where there is only one.
        recipe: the name of its recipe.
        networks, factors: what was measured on stored networks.
    """

    study: Study
    setting: Setting | None
    recipe: str
    networks: tuple[NetworkCell, ...]
    factors: tuple[FactorCell, ...]

    @cached_property
    def ends(self) -> Study:
        """Each arm at its end, as level 1, and the standard network beside them."""
        cells = [_end(cell, -1) for cell in self.study.cells]
        dense = [_end(cell, 0) for cell in self.study.cells if cell.arm == STANDARD]
        cells += [replace(cell, arm=DENSE, reference=None, rewound={}) for cell in dense]  # it was never pruned
        planned = {**self.study.planned, DENSE: None}
        return Study(self.study.recipe, planned, self.study.seeds, tuple(cells), exact=False)

    @property
    def arms(self) -> list[str]:
        """Those of which there are cells, without the standard network."""
        return self.study.arms

    def cells(self, arm: str) -> list[Cell]:
        """Of an arm, by seed."""
        return sorted((cell for cell in self.study.cells if cell.arm == arm), key=lambda cell: cell.seed)

    def networks_of(self, arm: str) -> list[NetworkCell]:
        """What was measured on the stored networks of an arm, by seed."""
        return [cell for cell in self.networks if cell.arm == arm]

    def power(self, arm: str) -> str:
        """How many seeds an arm has, of how many."""
        count = len(self.study.seeds_of(arm))
        return str(count) if count == self.study.seeds else f"{count} of {self.study.seeds}"

    def compared(self, pairs: Sequence[Pair], quantity: str) -> list[Difference]:
        """Differences at the ends, of the pairs that have cells; p by Holm over them."""
        there = set(self.ends.arms) if self.ends.cells else set[str]()
        return self.ends.differences([pair for pair in pairs if set(pair) <= there], quantity)


def measured_studies(
    cells: Sequence[Cell], networks: Sequence[NetworkCell], factors: Sequence[FactorCell], recipes: Path
) -> dict[str, Measured]:
    """All that is planned of the MLPs, recipe by recipe and setting by setting: name -> study."""
    found: dict[str, Measured] = {}
    for recipe in RECIPES:
        path = recipes / f"{recipe}.toml"
        plain = tomllib.loads(path.read_text(encoding="utf-8"))
        for setting in SETTINGS:
            name = f"{recipe}{setting.suffix}"
            arms = [arm for arm in plain["arms"] if setting == OWN or not arm.endswith("-local")]
            own = tuple(cell for cell in cells if cell.recipe == name and cell.arm in arms)
            study = Study(name, dict.fromkeys(arms), int(plain["seeds"]), own, exact=False)
            found[name] = Measured(study, setting, recipe, _of(name, networks), _of(name, factors))
    return found


def channel_studies(cells: Sequence[Cell], networks: Sequence[NetworkCell], recipes: Path) -> dict[str, Measured]:
    """Those of channels: name -> study."""
    found = studies_of(cells, recipes)
    return {
        name: Measured(replace(found[name], exact=False), None, name, _of(name, networks), ())
        for name in CHANNELS
        if name in found
    }


def _of(name: str, group: Sequence[S]) -> tuple[S, ...]:
    return tuple(cell for cell in group if cell.recipe == name)


def _end(cell: Cell, place: int) -> Cell:
    """A cell with two levels: its first, and that at ``place``."""

    def both(column: tuple[T, ...]) -> tuple[T, T]:
        return column[0], column[place]

    def moments(columns: Columns) -> dict[str, tuple[float | None, ...]]:
        return {name: both(column) for name, column in columns.items()}

    return replace(
        cell,
        levels=(0, 1),
        kept=both(cell.kept),
        density_all=both(cell.density_all),
        epochs=both(cell.epochs),
        steps=both(cell.steps),
        seconds=both(cell.seconds),
        end=moments(cell.end),
        rewound=moments(cell.rewound),
        during=moments(cell.during),
    )


def last(column: Mapping[str, tuple[float | None, ...]], name: str) -> float | None:
    """The number at the last level of what a cell has of a name."""
    values = column.get(name)
    return values[-1] if values else None
