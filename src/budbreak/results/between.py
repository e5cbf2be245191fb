"""Several runs as one, whose arms are compared from run to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from budbreak.files import digest
from budbreak.results.compare import differences_of_strangers
from budbreak.results.result import ArmResult, RunResult

_SAME = ("data", "network", "train")  # sections that decide a dense training


def distinct_names(runs: Sequence[RunResult]) -> list[str]:
    """The names of the runs, told apart by their identity or place where they are equal."""
    names = [run.name for run in runs]
    told = [
        f"{name} ({run.identity[:8]})" if names.count(name) > 1 else name for name, run in zip(names, runs, strict=True)
    ]
    return [f"{name} #{place}" if told.count(name) > 1 else name for place, name in enumerate(told, start=1)]


def between(runs: Sequence[RunResult]) -> RunResult:
    """One run of all arms of several, each named "run: arm", in which later runs are compared with the first.

    An arm's reference is the arm of the same name in the first run, or else the first arm there; see
    `differences_of_strangers` for how. What was compared within a run is not repeated.

    Args:
        runs: at least two.
    """
    names = distinct_names(runs)
    named = [(run, arm, f"{name}: {arm.name}") for run, name in zip(runs, names, strict=True) for arm in run.arms]
    arms = tuple(
        ArmResult(name, None if run is runs[0] else f"{names[0]}: {_counterpart(runs[0], arm)}", arm.overrides)
        for run, arm, name in named
    )
    levels = tuple(
        replace(level, arm=name) for run, arm, name in named for level in run.levels if level.arm == arm.name
    )
    quantities = tuple({quantity.name: quantity for run in runs for quantity in run.quantities}.values())
    recipes = {name: run.recipe.get("arms", {}).get(arm.name, {}) for run, arm, name in named}
    unlike = {arm.name for arm in arms if arm.reference and not _alike(recipes, arm.name, arm.reference)}
    return RunResult(
        name=" and ".join(names),
        identity=digest([run.identity for run in runs]),
        recipe={"arms": recipes},
        environment={name: run.environment for name, run in zip(names, runs, strict=True)},
        arms=arms,
        seeds=tuple(sorted({seed for run in runs for seed in run.seeds})),
        complete=all(run.complete for run in runs),
        seconds=sum(run.seconds for run in runs),
        quantities=quantities,
        levels=levels,
        differences=tuple(differences_of_strangers(levels, arms, quantities, unlike=unlike)),
    )


def _counterpart(run: RunResult, arm: ArmResult) -> str:
    return arm.name if arm.name in run.arm_names or not run.arms else run.arm_names[0]


def _alike(recipes: Mapping[str, Mapping[str, Any]], one: str, other: str) -> bool:
    own, theirs = recipes[one], recipes.get(other, {})
    return all(own.get(section) == theirs.get(section) for section in _SAME)
