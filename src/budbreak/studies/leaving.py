"""Which network of a run leaves: the level that is named, or the sparsest that is as good as the dense one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import nn

from budbreak.checks import check_fraction
from budbreak.errors import InvalidValue, MissingData
from budbreak.results import FILE_NAME, VALIDATION_ACCURACY, LevelResult, RunResult, load_result
from budbreak.studies.folder import RUN_TASKS
from budbreak.studies.inspect import Request, Subject, arm_of, find_subject, task_folder
from budbreak.studies.levelstores import kept_levels

BEST = "best"
MAX_DROP = 0.005
"""Validation accuracy that may be lost: half a point."""


@dataclass(frozen=True, eq=False)
class Leaving:
    """A network that leaves.

    Args:
        subject: it, with its data and mask.
        dense: the network of level 0 of the same arm and seed; None where there is none, or it is not kept.
        run: what its run measured; None where it is of no run, or one that has no results yet.
        arm, seed: of the run; None without one.
        task: the folder of its task, or None.
    """

    subject: Subject
    dense: nn.Module | None = None
    run: RunResult | None = None
    arm: str | None = None
    seed: int | None = None
    task: Path | None = None


def find_leaving(
    request: Request, *, level: int | Literal["best"] | None = None, max_drop: float = MAX_DROP
) -> Leaving:
    """The network that leaves, with the dense one beside it.

    Args:
        request: whose ``level`` is not given.
        level: at whose end, or "best": the sparsest whose validation accuracy is at most ``max_drop`` below that of
            level 0, by the results of the run; the newest checkpoint unless given.
        max_drop: a share, in [0, 1).

    Raises:
        BudbreakError: if something is missing, or does not fit; for a level whose weights are not kept: which are.
    """
    check_fraction("max_drop", max_drop)
    folder = Path(request.model)
    of_run = folder.is_dir() and (folder / RUN_TASKS).is_file()
    if level == BEST:
        if not of_run or request.weights is not None:
            raise InvalidValue(
                "--level is 'best'", "the results of a run say which it is", "give the folder of a run, or a number"
            )
        level = _best(folder, request, max_drop)
    chosen = replace(request, level=level)
    subject, task = find_subject(chosen), task_folder(request)
    if not of_run or request.weights is not None:
        return Leaving(subject, _dense(chosen, subject, request.weights or task), task=task)
    arm, seed = arm_of(folder, request.arm), request.seed or 0
    return Leaving(subject, _dense(chosen, subject, task), _result(folder), arm, seed, task)


def best_level(run: RunResult, arm: str, seed: int, *, max_drop: float = MAX_DROP) -> LevelResult:
    """The sparsest level whose validation accuracy is at most ``max_drop`` below that of level 0, of an arm and seed.

    Of equally sparse ones the later.

    Raises:
        MissingData: if there is no level 0, or no validation accuracy.
    """
    name, levels = VALIDATION_ACCURACY.name, _judged(run, arm, seed)
    dense = next((one for one in levels if one.level == 0), None)
    if dense is None:
        raise MissingData(
            f"{run.name} has no {VALIDATION_ACCURACY.label} of level 0 of {arm} seed {seed}",
            "the best level is as good as the dense one",
            "name it: --level N",
        )
    floor = dense.numbers[name] - max_drop - 1e-9  # accuracies are shares of counts: sums of them round
    holding = [one for one in levels if one.numbers[name] >= floor]
    return min(holding, key=lambda one: (one.density, -one.level))


def dense_alone(run: RunResult, arm: str, seed: int, *, max_drop: float = MAX_DROP) -> str:
    """That only the dense network holds the floor, in words, with the pruned level that comes nearest; "" if others do.

    Raises:
        MissingData: see `best_level`.
    """
    name, pruned = VALIDATION_ACCURACY.name, [one for one in _judged(run, arm, seed) if one.level]
    best = best_level(run, arm, seed, max_drop=max_drop)
    if best.level or not pruned:
        return ""
    dense, nearest = best.numbers[name], max(pruned, key=lambda one: (one.numbers[name], -one.density))
    enough = math.ceil(1e3 * (dense - nearest.numbers[name]) - 1e-6) / 1e3
    return (
        f"no pruned level loses at most {max_drop:g} of the dense validation accuracy, {dense:.4f}: this is the dense "
        f"network; nearest is level {nearest.level}, {nearest.numbers[name]:.4f}: --max-drop {enough:g}"
    )


def _judged(run: RunResult, arm: str, seed: int) -> list[LevelResult]:
    """Levels whose validation accuracy is known."""
    own = [one for one in run.levels if (one.arm, one.seed) == (arm, seed)]
    return [one for one in own if not math.isnan(one.numbers.get(VALIDATION_ACCURACY.name, math.nan))]


def _best(folder: Path, request: Request, max_drop: float) -> int:
    best = best_level(load_result(folder), arm_of(folder, request.arm), request.seed or 0, max_drop=max_drop)
    task = task_folder(request)
    kept = kept_levels(task) if task is not None else ()
    if best.level not in kept:
        accuracy = best.numbers[VALIDATION_ACCURACY.name]
        raise MissingData(
            f"the best level is {best.level} (density {best.density:.4g}, validation accuracy {accuracy:.4f}), "
            f"whose weights are not kept; those of {', '.join(map(str, kept)) or 'none'} are",
            f"it is the sparsest that loses at most {max_drop:g} of the dense accuracy; older runs kept the last level",
            f"write --level {max(kept)}, or allow more: --max-drop" if kept else "run the recipe to its end",
        )
    return best.level


def _dense(chosen: Request, subject: Subject, place: Path | None) -> nn.Module | None:
    """That of level 0, where it is kept and not the one that leaves."""
    if place is None or not place.is_dir() or subject.level in (None, 0) or 0 not in kept_levels(place):
        return None
    return find_subject(replace(chosen, level=0, mask=None)).model


def _result(folder: Path) -> RunResult | None:
    return load_result(folder) if (folder / FILE_NAME).is_file() else None
