"""From the folders of runs to cells: every task that is over, whatever else is still being computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from budbreak.errors import InvalidValue
from budbreak.recipes import make_setup
from budbreak.results import TEST_ACCURACY, EpochResult, LevelResult, RunResult, load_result
from budbreak.search import Trial
from budbreak.studies import read_searched, read_tasks
from reproductions.cells import Cell, columns, write_cell
from reproductions.settings import study_of

_RANK = "rank"
_TUNED = ("optimizer", "schedule")


def harvest(runs: Sequence[Path], folder: Path) -> list[Cell]:
    """Write the cells of all tasks of some runs that are over; those that are there already stay.

    Args:
        runs: the folders of runs, also of ones that are still going on.
        folder: where the cells go.

    Returns:
        The cells that are new.

    Raises:
        CorruptFile: if a run has no results.
        MissingData: if what was searched in a run is not beside it.
        InvalidValue: if a level broke an invariant, or a cell of another task has the name of one of these.
    """
    return [cell for run in runs for cell in cells_of_run(run) if write_cell(folder, cell)]


def cells_of_run(run: Path) -> Iterator[Cell]:
    """A cell for each arm and seed of a run that is over."""
    result, tasks = load_result(run), read_tasks(run)
    for arm in result.arms:
        setup = result.recipe["arms"][arm.name]
        for seed in result.seeds:
            levels = [level for level in result.levels if (level.arm, level.seed) == (arm.name, seed)]
            if levels and _is_over(levels[-1], setup):
                yield _cell(result, run, arm.name, tasks[f"{arm.name} seed {seed}"], levels)


def _is_over(level: LevelResult, setup: Mapping[str, Any]) -> bool:
    """Whether the newest level of an arm is its last one.

    Where it is retrained, all of that is there: a run whose gate was not reached ends before the last level, too.
    """
    ways = setup.get("retrain", {}).get("ways", [])
    if ways:
        return all(f"{TEST_ACCURACY.name}_{way}" in level.numbers for way in ways)
    return level.level == make_setup(setup).prune.schedule.levels


def _cell(result: RunResult, run: Path, arm: str, task: str, levels: Sequence[LevelResult]) -> Cell:
    _check(levels)
    (reference,) = [other.reference for other in result.arms if other.name == arm]
    curves = [_last_training(level.curve) for level in levels]
    return Cell(
        recipe=study_of(result),
        run=run.name,
        task=task,
        arm=arm,
        reference=reference,
        seed=levels[0].seed,
        setup=result.recipe["arms"][arm],
        environment=result.environment,
        total=levels[0].total,
        levels=tuple(level.level for level in levels),
        kept=tuple(level.kept for level in levels),
        density_all=tuple(round(level.density_all, 7) for level in levels),
        epochs=tuple(level.epochs for level in levels),
        steps=tuple(level.steps for level in levels),
        seconds=tuple(round(level.seconds, 2) for level in levels),
        end=columns([level.numbers for level in levels]),
        rewound=columns([curve[0].numbers if curve else {} for curve in curves]),
        during=columns([_means(curve[1:]) for curve in curves]),
        notes=tuple((level.level, note) for level in levels for note in level.notes),
        layers=_layers(levels),
        **_searched(run.parent / "tasks" / task),
    )


def _searched(folder: Path) -> dict[str, Any]:
    """What was put in, or searched, before the last training, of tasks that have one of its own."""
    if not folder.name.startswith("final-"):
        return {}
    found = read_searched(folder)
    plan = {} if found.plan is None else found.plan.plain()
    return {
        "activations": {site: form if isinstance(form, str) else form["is"] for site, form in plan.items()},
        "settings": {name: found.train[name] for name in _TUNED} if "tuning" in found.trials else {},
        "searches": {kind: columns([_trial(trial) for trial in trials]) for kind, trials in found.trials.items()},
    }


def _trial(trial: Trial) -> dict[str, float]:
    told = {"epochs": trial.epochs or 0.0, "seconds": round(trial.seconds, 2), "stopped": float(trial.stopped)}
    return told if trial.score is None else {"score": trial.score, **told}


def _layers(levels: Sequence[LevelResult]) -> dict[str, dict[str, tuple[float | None, ...]]]:
    """The ranks of each weight, where there are any, with how much of it is kept."""
    names = dict.fromkeys(layer.name for level in levels for layer in level.layers if _RANK in layer.numbers)
    return {name: columns([_numbers(level, name) for level in levels]) for name in names}


def _numbers(level: LevelResult, name: str) -> dict[str, float]:
    found = [layer for layer in level.layers if layer.name == name]
    return {
        key: number
        for layer in found
        for key, number in {"kept": layer.kept, "total": layer.total, **layer.numbers}.items()
        if key in ("kept", "total") or key.startswith((f"{_RANK}_masked", f"{_RANK}_free")) or key == _RANK
    }


def _last_training(curve: Sequence[EpochResult]) -> Sequence[EpochResult]:
    """From the evaluation before the first epoch of a level's last training: the one without a training loss."""
    begins = [place for place, point in enumerate(curve) if "train_loss" not in point.numbers]
    return curve[begins[-1] :] if begins else ()


def _means(points: Sequence[EpochResult]) -> dict[str, float]:
    """Of each quantity over the epochs in which it was measured."""
    names = dict.fromkeys(name for point in points for name in point.numbers)
    return {name: fmean(point.numbers[name] for point in points if name in point.numbers) for name in names}


def _check(levels: Sequence[LevelResult]) -> None:
    for level in levels:
        broken = [name for name, held in level.invariants.items() if not held]
        if broken:
            value = f"{level.arm} seed {level.seed} at level {level.level}: {broken[0]!r} does not hold"
            raise InvalidValue(value, "only what kept all invariants is a result", "look at that task")
