"""Small recipes on scikit-learn's digits, and what their tests look at."""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from budbreak.recipes import Recipe
from budbreak.recipes.recipe import make_recipe
from budbreak.results import RunResult
from budbreak.studies import TASKS, Choice, Place, run

TINY: dict[str, Any] = {
    "name": "tiny",
    "seeds": 1,
    "data": {"name": "digits", "limit": 200},
    "network": {"name": "mlp"},
    "train": {"epochs": 2, "batch_size": 50, "optimizer": {"is": "sgd", "learning_rate": 0.05}},
    "prune": {"schedule": {"is": "geometric", "rate": 0.2, "levels": 1}},
    "measure": {"images": 100},
}
MINE = '''
from dataclasses import dataclass

from budbreak import Scores
from budbreak.evidence import Weights


@dataclass(frozen=True)
class Mine:
    """The power of a weight's size."""

    power: float = 2.0
    needs = (Weights(),)

    def __call__(self, evidence):
        return Scores.elementwise(lambda w: w.abs() ** self.power, evidence[Weights()])


@dataclass(frozen=True)
class Magnitude:
    """Not ours: the largest weights go first."""

    needs = (Weights(),)

    def __call__(self, evidence):
        return Scores.elementwise(lambda w: -w.abs(), evidence[Weights()])
'''


def plain(changes: dict[str, Any] | None = None, **whole: Any) -> dict[str, Any]:
    """The plain form of a small recipe.

    Args:
        changes: dotted path of the sections -> what stands there instead.
        whole: name, seeds, arms or grid.
    """
    given = copy.deepcopy(TINY) | whole
    for path, value in (changes or {}).items():
        *sections, field = path.split(".")
        table = given
        for section in sections:
            table = table.setdefault(section, {})
        table[field] = value
    return given


def small(changes: dict[str, Any] | None = None, **whole: Any) -> Recipe:
    return make_recipe(plain(changes, **whole))


def choose(recipe: Recipe, out: Path, *arms: str, workers: int = 1, imports: tuple[str, ...] = ()) -> Choice:
    executor = "here" if workers == 1 else "processes"
    place = Place(out / TASKS, None, 1, imports)
    return Choice(recipe, recipe.only(arms) if arms else recipe.arms, out, place, executor, workers)


def trained(choice: Choice) -> tuple[RunResult, dict[str, int]]:
    """The result, and how many epochs of each task were computed for it."""
    counts: dict[str, int] = {}

    def count(event: Any) -> None:
        if not event.ended:
            counts[event.task] = counts.get(event.task, 0) + 1

    return run(choice, report=count), counts


def digests(out: Path) -> dict[str, list[str]]:
    """The name of each task's folder -> the digests of its weights at the end of each training."""
    paths = sorted((out / TASKS).glob("*/records.json"))
    return {p.parent.name: [r["end_digest"] for r in json.loads(p.read_text())["records"]] for p in paths}


def write_module(folder: Path, name: str, text: str) -> None:
    """Write a module, and forget the one of this name that was imported."""
    sys.modules.pop(name, None)
    (folder / f"{name}.py").write_text(text)


def stop_at(level: int, epoch: int) -> Callable[[Any], None]:
    """A report that stands for a kill at this moment."""

    def stop(event: Any) -> None:
        if (event.level, event.epoch) == (level, epoch):
            raise Stopped

    return stop


class Stopped(BaseException):
    """Stands for a kill."""
