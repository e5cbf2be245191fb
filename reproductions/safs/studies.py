"""The studies of SAFS: its recipe at each sparsity, and single activations at each, as arms beside them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from budbreak.data import find
from budbreak.results import TEST_ACCURACY, VALIDATION_ACCURACY, Difference
from reproductions.cells import Cell
from reproductions.prose import name_of
from reproductions.settings import SAFS, SPARSITIES, of_sparsity
from reproductions.study import ALPHA, Pair, Study, studies_of

OPERATORS = "mnist-lenet5-operators"
SUBSET = "imagenet16-efficientnet-b0-safs"
NETWORKS = ("cifar10-vgg16-safs", "cifar10-resnet18-safs", SUBSET)
"""Recipes of SAFS on others than LeNet-5."""

TEST, VALIDATION = TEST_ACCURACY.name, VALIDATION_ACCURACY.name
RELU, FIRST, SECOND, BOTH, BEST = "relu", "stage-1", "stage-2", "safs", "best operator"
CONNECTED = "-connected"
"""What the names of arms end in whose masks were repaired."""

ENOUGH = 3
"""So many seeds, or nothing is judged."""
_GRID = "prune.schedule.sparsity"


@dataclass(frozen=True)
class Measured:
    """A recipe of SAFS at one sparsity.

    Args:
        study: of its arms, and of the best single operator of each seed where all of them are there.
        recipe: its name.
        sparsity: of the prunable weights.
    """

    study: Study
    recipe: str
    sparsity: float

    @property
    def title(self) -> str:
        """E.g. "97 % sparse": of LeNet-5, of which there are several; with network and data before it of others."""
        sparse = f"{100 * self.sparsity:g} % sparse"
        return sparse if self.recipe == SAFS else f"{name_of(self.study)}, {sparse}"

    @property
    def command(self) -> str:
        """What is added to the command of the recipe; empty for its own sparsity."""
        return "" if self.study.recipe == self.recipe else f"--set prune.schedule.sparsity={self.sparsity:g}"

    @property
    def plain(self) -> str:
        """The arm that keeps the activation of the network, and the dense recipe: the first one."""
        return next(iter(self.study.planned))

    @property
    def tuned(self) -> str:
        """The arm that keeps the activation, with hyper-parameters searched."""
        return f"{self.plain}-tuned"

    @property
    def classes(self) -> int:
        """Of the data of its cells."""
        return classes_of(self.study)

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """Arm -> its test accuracy minus that of the plain one at the end; p by Holm over the arms."""
        pairs = [(arm, self.plain) for arm in self.study.arms if arm != self.plain]
        return {row.arm: row for row in compared(self.study, pairs)}

    def cells(self, arm: str) -> list[Cell]:
        """Of an arm, by seed."""
        return sorted((cell for cell in self.study.cells if cell.arm == arm), key=lambda cell: cell.seed)

    def power(self, arm: str) -> str:
        """How many seeds an arm has, of how many."""
        count = len(self.study.seeds_of(arm))
        return str(count) if count == self.study.seeds else f"{count} of {self.study.seeds}"

    def accuracies(self, arm: str) -> list[float]:
        """At the end, by seed."""
        return self.study.values(arm, 1, TEST)

    @property
    def dense(self) -> list[float]:
        """Test accuracies before pruning, by seed."""
        seeds = {cell.seed: cell for cell in self.study.cells}
        return [value for _, cell in sorted(seeds.items()) if (value := cell.end[TEST][0]) is not None]


def classes_of(study: Study) -> int:
    """How many classes the data of a study's cells have."""
    return find(str(study.cells[0].setup["data"]["name"])).classes


def compared(study: Study, pairs: Sequence[Pair]) -> list[Difference]:
    """Differences of test accuracy, of the pairs that have cells; p by Holm over them."""
    there = set(study.arms)
    return study.differences([pair for pair in pairs if set(pair) <= there], TEST)


def outcome(row: Difference) -> str:
    """What a difference shows: "above", "below", or nothing."""
    if row.n < ENOUGH:
        return f"fewer than {ENOUGH} seeds: no verdict"
    if row.p_adjusted is None or row.p_adjusted >= ALPHA:
        return "no difference shown"
    return "above" if row.mean > 0 else "below"


def end(cell: Cell, name: str) -> float | None:
    """A number at the last level of a cell."""
    values = cell.end.get(name)
    return values[-1] if values else None


@dataclass(frozen=True)
class Operators:
    """Single activations, each at every site, at some sparsities.

    Args:
        study: an arm for each activation at each sparsity, as the recipe's grid names them.
        names: of the activations.
        sparsities: of the prunable weights.
    """

    study: Study
    names: tuple[str, ...]
    sparsities: tuple[float, ...]

    def values(self, name: str, sparsity: float, quantity: str = TEST) -> list[float]:
        """Of an activation at the end, by seed."""
        return self.study.values(_arm(name, sparsity), 1, quantity)

    @cached_property
    def differences(self) -> dict[str, Difference]:
        """Arm -> its test accuracy minus that of ReLU at its sparsity; p by Holm over all of them."""
        pairs = [(_arm(name, at), _arm(RELU, at)) for at in self.sparsities for name in self.names if name != RELU]
        return {row.arm: row for row in compared(self.study, pairs)}

    def difference(self, name: str, sparsity: float) -> Difference | None:
        """That of one activation at one sparsity."""
        return self.differences.get(_arm(name, sparsity)) if self.study.cells else None

    def best(self, sparsity: float) -> list[Cell]:
        """Of each seed that has all of them at a sparsity: the cell of the highest validation accuracy."""
        arms = {_arm(name, sparsity) for name in self.names}
        own = [cell for cell in self.study.cells if cell.arm in arms]
        full = [seed for seed in range(self.study.seeds) if sum(cell.seed == seed for cell in own) == len(arms)]
        return [max((c for c in own if c.seed == seed), key=lambda c: end(c, VALIDATION) or 0.0) for seed in full]


def _arm(name: str, sparsity: float) -> str:
    return f"{name}@sparsity={sparsity:g}"


def operators(cells: Sequence[Cell], recipes: Path) -> Operators:
    """The motivation study, as far as it is there."""
    plain: dict[str, Any] = tomllib.loads((recipes / f"{OPERATORS}.toml").read_text(encoding="utf-8"))
    names, sparsities = tuple(plain["arms"]), tuple(map(float, plain["grid"][_GRID]))
    arms = [_arm(name, sparsity) for name in names for sparsity in sparsities]
    own = tuple(cell for cell in cells if cell.recipe == OPERATORS)
    return Operators(Study(OPERATORS, dict.fromkeys(arms), int(plain["seeds"]), own, exact=False), names, sparsities)


def safs_studies(cells: Sequence[Cell], single: Operators, recipes: Path) -> dict[str, Measured]:
    """SAFS's recipe at all planned sparsities, and at others of which there are cells; then other networks.

    Returns:
        Name -> study.
    """
    planned = studies_of(cells, recipes)
    others = [_sparsity(cell) for cell in cells if cell.recipe.startswith(f"{SAFS}-")]
    found: dict[str, Measured] = {}
    for sparsity in dict.fromkeys((*SPARSITIES, *sorted(others))):
        name = of_sparsity(sparsity)
        own = [cell for cell in cells if cell.recipe == name]
        own += [replace(cell, recipe=name, arm=BEST, reference=RELU) for cell in single.best(sparsity) if own]
        study = replace(planned[SAFS], recipe=name, cells=tuple(own), exact=False)
        found[name] = Measured(study, SAFS, sparsity)
    return found | {name: _elsewhere(replace(planned[name], exact=False)) for name in NETWORKS if name in planned}


def _elsewhere(study: Study) -> Measured:
    return Measured(study, study.recipe, _sparsity(study.cells[0]) if study.cells else 0.0)


def _sparsity(cell: Cell) -> float:
    return float(cell.setup["prune"]["schedule"]["sparsity"])
