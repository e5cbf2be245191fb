"""Settings of a recipe: the same file run by other numbers (`--set`) is another study, with a name of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from budbreak.results import RunResult


@dataclass(frozen=True)
class Setting:
    """How a pruning during training is divided.

    Args:
        sparsity: of the prunable weights, at the end.
        prunings: after how many.
    """

    sparsity: float
    prunings: int

    @property
    def suffix(self) -> str:
        """Behind the name of the recipe, e.g. "-90-5"; empty for the recipe's own."""
        return "" if self == OWN else f"-{100 * self.sparsity:.0f}-{self.prunings}"

    @property
    def text(self) -> str:
        """E.g. "90 % in 5 prunings"."""
        return f"{100 * self.sparsity:.0f} % in {self.prunings} prunings"

    @property
    def command(self) -> str:
        """What is added to the command of the recipe; empty for its own."""
        sparsity = f" --set prune.schedule.sparsity={self.sparsity:g}" if self.sparsity != OWN.sparsity else ""
        count = f" --set prune.schedule.levels={self.prunings} --set train.until.prunings={self.prunings}"
        return f"{sparsity}{count if self.prunings != OWN.prunings else ''}".strip()


OWN = Setting(0.8, 5)
SETTINGS = (OWN, Setting(0.85, 5), Setting(0.9, 5), Setting(0.8, 10))
RECIPES = ("fashion-activation", "mnist-activation")
"""Recipes of which there are several settings."""

SAFS = "mnist-lenet5-safs"
SPARSITIES = (0.97, 0.95, 0.99)
"""Of SAFS's recipe: its own, and those that the same file is run with."""


def of_sparsity(sparsity: float) -> str:
    """The name of the study of SAFS at a sparsity.

    >>> of_sparsity(0.97), of_sparsity(0.99)
    ('mnist-lenet5-safs', 'mnist-lenet5-safs-99')
    """
    return SAFS if sparsity == SPARSITIES[0] else f"{SAFS}-{100 * sparsity:g}"


def study_of(result: RunResult) -> str:
    """The name of the study that a run belongs to: its recipe's, with the setting where it has several."""
    if result.name not in (*RECIPES, SAFS):
        return result.name
    first: Mapping[str, object] = next(iter(result.recipe["arms"].values()))["prune"]["schedule"]
    sparsity, levels = first["sparsity"], first.get("levels")
    if result.name == SAFS and isinstance(sparsity, float):
        return of_sparsity(sparsity)
    if not isinstance(sparsity, float) or not isinstance(levels, int):
        return result.name
    return f"{result.name}{Setting(sparsity, levels).suffix}"
