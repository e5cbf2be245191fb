"""Carry out a recipe: the tasks of its arms under all seeds, in folders that survive being killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from budbreak.diagnostics import quantities_of
from budbreak.errors import BudbreakError
from budbreak.executors import Failure, carry_out, open_executor
from budbreak.recipes import Arm, Recipe, respelt
from budbreak.results import (
    FILE_NAME,
    TRAINING,
    WATCHED_TOO,
    ArmResult,
    RunResult,
    compaction_quantities,
    is_compaction,
    load_result,
    paired_differences,
    retrained_quantities,
)
from budbreak.studies.findings import findings_of
from budbreak.studies.folder import RECIPE, claimed, drop_networks, network_name, save_network, save_tasks
from budbreak.studies.making import watched_numbers
from budbreak.studies.task import Place, Task
from budbreak.studies.taskfolder import check_complete, collect, is_complete
from budbreak.studies.tasks import distinct, tasks_of
from budbreak.studies.training import carry_out_task
from budbreak.studies.trialfile import SEARCH, is_search
from budbreak.studies.watching import Report, Watch
from budbreak.training import environment


class RunFailed(BudbreakError, RuntimeError):
    """Some tasks of a run stopped with an error; the others are complete and stored."""


@dataclass(frozen=True)
class Choice:
    """What of a recipe is run, and where.

    Args:
        recipe: what to run.
        arms: of the recipe.
        out: the run's folder is made here, and that of the tasks, which runs share.
        place: where the tasks are computed.
        executor: one of "here", "processes", "ray".
        workers: tasks at a time; None: as many as the executor has.
    """

    recipe: Recipe
    arms: tuple[Arm, ...]
    out: Path
    place: Place
    executor: str
    workers: int | None

    @property
    def folder(self) -> Path:
        """Of the run."""
        return self.out / self.recipe.folder_name

    def tasks(self, arm: Arm) -> list[tuple[Task, ...]]:
        """The levels of an arm, for each seed, after the dense training that they start from, if there is one."""
        return tasks_of(arm.name, arm.setup, range(self.recipe.seeds), self.place)


@dataclass(frozen=True)
class Cells:
    """The tasks of a run: (arm, levels task) of each arm and seed, and all that they need."""

    levels: tuple[tuple[Arm, Task], ...]
    tasks: tuple[Task, ...] = field(repr=False)


Shown = Sequence[tuple[Arm, Task]]
"""The levels task of each arm and seed that a result has: those that were chosen, and other arms that are complete."""


def cells_of(choice: Choice) -> Cells:
    """The tasks of what was chosen; arms that are alike have theirs in common."""
    found = [(arm, tasks) for arm in choice.arms for tasks in choice.tasks(arm)]
    by_seed = sorted((task for _, tasks in found for task in tasks), key=lambda task: task.seed)
    return Cells(tuple((arm, tasks[-1]) for arm, tasks in found), tuple(distinct(by_seed)))


def run(
    choice: Choice,
    *,
    report: Report | None = None,
    working: Callable[[Mapping[str, int]], object] | None = None,
    progress: Callable[[RunResult, Mapping[str, int]], None] | None = None,
    at_end: Callable[[RunResult], object] | None = None,
) -> RunResult:
    """Compute the tasks that are not complete yet; the same call goes on after an interruption.

    Args:
        choice: what to run, and where.
        report: called with each `Event`.
        working: called several times a second with the tasks that are being computed, as name -> epochs in all.
        progress: called with the result so far, and the epochs that each task has done, at the start and whenever a
            task is complete.
        at_end: called with the complete result while the folder is still held: write into it here.

    Returns:
        The result, which is also in ``results.json`` of the folder. It has the arms that were chosen, and those of
        the recipe that are complete already.

    Raises:
        RunFailed: if tasks failed; the message holds their errors. What is complete is stored.
        BudbreakError: see `look_ahead`, which is to be called before.
    """
    cells = cells_of(choice)
    shown = (*cells.levels, *_other_arms(choice))
    with claimed(choice.folder, choice.recipe):
        start = time.perf_counter() - _seconds_so_far(choice)
        watch = Watch(cells.tasks, report or _ignore)

        def keep(task: Task | None = None) -> RunResult:
            result = _collect_run(choice, cells, shown, time.perf_counter() - start)
            _save(choice, shown, result, task)
            if progress is not None:
                progress(result, watch.done())
            return result

        _renew_networks(choice, shown)
        failures = _compute_missing(choice, cells, watch, keep=keep, working=working or _ignore)
        result = keep()
        _check_ended(result, choice, failures)
        if at_end is not None:
            at_end(result)
    return result


def _save(choice: Choice, shown: Shown, result: RunResult, task: Task | None) -> None:
    """Write down where a run stands, after a task that is complete, if there is one."""
    result.save(choice.folder)
    named = {f"{arm.name} seed {levels.seed}": levels for arm, levels in shown}
    save_tasks(choice.folder, named, identity=choice.recipe.identity)
    if task is not None:
        _save_networks(choice, shown, {task.identity})


def _compute_missing(
    choice: Choice,
    cells: Cells,
    watch: Watch,
    *,
    keep: Callable[[Task | None], RunResult],
    working: Callable[[Mapping[str, int]], object],
) -> list[Failure]:
    complete, missing = divided(cells.tasks)
    for task in complete:
        if task.ends_arm:
            check_complete(task)
    keep(None)
    if not missing:
        return []

    def tell(tasks: Sequence[Task]) -> None:
        working({task.name: task.epochs for task in tasks})

    with open_executor(choice.executor, choice.workers) as opened:
        here = choice.executor == "here"
        return carry_out(
            missing,
            _Here(watch.look, tell) if here else carry_out_task,
            executor=opened.executor,
            workers=opened.workers,
            tick=watch.look,
            finished=keep,
            working=tell,
        )


def divided(tasks: Sequence[Task]) -> tuple[list[Task], list[Task]]:
    """The tasks that are complete, and those that are to be computed.

    A dense training, or a pruned network, only where one needs it; a trial is part of what its search cost, and found.
    """
    complete = [task for task in tasks if is_complete(task)]
    over = {task.identity for task in complete}
    needed = {need.identity for task in tasks if task.identity not in over for need in task.needs}
    missing = [task for task in tasks if task.identity not in over]
    return complete, [task for task in missing if task.kind not in ("dense", "pruned") or task.identity in needed]


def _other_arms(choice: Choice) -> list[tuple[Arm, Task]]:
    """The levels of those arms of the recipe that were not chosen, but are complete already."""
    others = [arm for arm in choice.recipe.arms if arm not in choice.arms]
    levels = [(arm, [tasks[-1] for tasks in choice.tasks(arm)]) for arm in others]
    return [(arm, task) for arm, tasks in levels if all(map(is_complete, tasks)) for task in tasks]


def _renew_networks(choice: Choice, shown: Shown) -> None:
    """Save those of complete tasks, and take away those of arms that are gone, or are defined otherwise now."""
    complete = {task.identity for _, task in shown if is_complete(task)}
    drop_networks(choice.folder, {network_name(arm.name, task) for arm, task in shown if task.identity in complete})
    _save_networks(choice, shown, complete)


def _save_networks(choice: Choice, shown: Shown, identities: Set[str]) -> None:
    """Arms that are alike have one task, under whichever name it was computed."""
    for arm, levels in shown:
        if levels.identity in identities:
            save_network(choice.folder, arm.name, levels)


@dataclass(frozen=True)
class _Here:
    """Computes in this process, and shows each epoch at once."""

    look: Callable[[], object]
    working: Callable[[Sequence[Task]], object]

    def __call__(self, task: Task) -> None:
        self.working([task])
        carry_out_task(task, self.look)


def _check_ended(result: RunResult, choice: Choice, failures: Sequence[Failure]) -> None:
    if failures:
        raise _failed(failures, choice)
    if not result.complete or not (choice.folder / RECIPE).is_file():
        raise RunFailed(
            f"{choice.folder} lacks levels of tasks that have ended",
            "the folders of a run and its tasks stay where they are, and nothing in them is changed, while it runs",
            "put back what was moved, then run the same command again: only what is missing is run",
        )


def _collect_run(choice: Choice, cells: Cells, shown: Shown, seconds: float) -> RunResult:
    """The result of all levels that are over."""
    levels = [level for arm, task in shown for level in collect(task, arm.name)]
    with_tasks = {arm.name for arm, _ in shown}
    finished = [arm for arm in choice.recipe.arms if arm.name in with_tasks]
    names = {arm.name for arm in finished}
    arms = tuple(
        ArmResult(arm.name, arm.reference if arm.reference in names else None, dict(arm.overrides)) for arm in finished
    )
    watched = {name for arm in finished for name in watched_numbers(arm.setup)}
    too = [quantity for quantity in WATCHED_TOO if quantity.name in watched]
    quantities = (*TRAINING, *too, *quantities_of(_diagnostics(finished)))
    ways = dict.fromkeys(way for arm in finished for way in arm.setup.retrain.ways)
    quantities = (*quantities, *retrained_quantities(ways, quantities))
    if any(arm.setup.measure.compact for arm in finished):
        quantities = (*quantities, *compaction_quantities(ways))
    if any(arm.setup.activations.searches or arm.setup.tune.searches for arm in finished):
        quantities = (*quantities, *SEARCH)
    compared = [one for one in quantities if not (is_compaction(one.name) or is_search(one.name))]
    order = {arm.name: index for index, arm in enumerate(finished)}
    levels.sort(key=lambda level: (order[level.arm], level.seed, level.level))
    return RunResult(
        name=choice.recipe.name,
        identity=choice.recipe.identity,
        recipe=_resolved(choice.recipe),
        environment=_environment(choice),
        arms=arms,
        seeds=tuple(range(choice.recipe.seeds)),
        complete=all(is_complete(task) for _, task in cells.levels),
        seconds=seconds,
        quantities=quantities,
        levels=tuple(levels),
        differences=tuple(paired_differences(levels, arms, compared)),
        findings=findings_of(shown, levels),
    )


def _diagnostics(arms: Sequence[Arm]) -> list[Any]:
    return list(dict.fromkeys(diagnostic for arm in arms for diagnostic in arm.setup.measure.diagnostics))


def _resolved(recipe: Recipe) -> dict[str, Any]:
    """Name, seeds, and for each arm every field spelt out."""
    return {"name": recipe.name, "seeds": recipe.seeds, "arms": {arm.name: arm.setup.plain() for arm in recipe.arms}}


def _environment(choice: Choice) -> dict[str, object]:
    return {
        **environment(),
        "threads": choice.place.threads,
        "workers": choice.workers,
        "executor": choice.executor,
    }


def _seconds_so_far(choice: Choice) -> float:
    folder = choice.folder
    return load_result(folder, identity=choice.recipe.identity).seconds if (folder / FILE_NAME).exists() else 0.0


def _failed(failures: Sequence[Failure], choice: Choice) -> RunFailed:
    texts = "\n\n".join(f"{failure.task}: {_told(failure, choice)}" for failure in failures)
    return RunFailed(
        f"{len(failures)} {'task' if len(failures) == 1 else 'tasks'} failed\n{texts}\n",
        f"everything else is complete and stored; see {choice.folder}",
        "mend the cause, then run the same command again: only what is missing is run",
    )


def _told(failure: Failure, choice: Choice) -> str:
    """What happened: an error of ours in the recipe's words, any other as Python traces it."""
    return respelt(failure.text, choice.recipe.plain) if failure.known else failure.text


def _ignore(_: object) -> None:
    return None
