"""Carry out a recipe: all arms under all seeds, in a folder that survives being killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from budbreak.errors import BudbreakError
from budbreak.studies.compare import paired_differences
from budbreak.studies.folder import RECIPE, claimed
from budbreak.studies.job import Event, Job, Report, run_job
from budbreak.studies.lookahead import share_cores
from budbreak.studies.making import make_plan
from budbreak.studies.notes import check_masks, collect
from budbreak.studies.pool import Failure, run_jobs
from budbreak.studies.recipe import Recipe
from budbreak.studies.result import FILE_NAME, LevelResult, RunResult, load_result
from budbreak.studies.weights import WEIGHTS, check_weights
from budbreak.training import environment

__all__ = ["Event", "Job", "Report", "RunFailed", "run", "run_job"]


class RunFailed(BudbreakError, RuntimeError):
    """Some jobs of a run stopped with an error; the others are complete and stored."""


def run(
    recipe: Recipe,
    *,
    data_dir: Path | None,
    out: Path,
    workers: int | None = None,
    report: Report | None = None,
    job_done: Callable[[RunResult], None] | None = None,
    at_end: Callable[[RunResult], object] | None = None,
) -> RunResult:
    """Run all arms and seeds that are not complete yet; the same call goes on after an interruption.

    Args:
        recipe: what to run.
        data_dir: where the data set is; None for digits.
        out: the run's folder is made here.
        workers: processes at a time; one per core unless given. With more than one job each has one thread.
        report: called with each epoch's `Event`.
        job_done: called with the result so far at the start, and whenever a job is complete.
        at_end: called with the complete result while the folder is still held: write into it here.

    Returns:
        The result, which is also in ``results.json`` of the folder.

    Raises:
        RunFailed: if jobs failed; the message holds their errors. What is complete is stored.
        BudbreakError: see `look_ahead`, which is to be called before.
    """
    folder = out / recipe.folder_name
    count, threads = share_cores(len(recipe.arms) * recipe.seeds, workers)
    jobs = [
        Job(recipe, arm, seed, folder / "jobs" / f"{arm}-seed{seed}", data_dir, threads)
        for seed in range(recipe.seeds)
        for arm in recipe.arms
    ]
    with claimed(folder, recipe):
        before, start = _seconds_so_far(folder, recipe), time.perf_counter()

        def keep() -> RunResult:
            place = {**environment(), "threads": threads, "workers": count}
            result = _result(recipe, jobs, place, before + time.perf_counter() - start)
            result.save(folder)
            if job_done is not None:
                job_done(result)
            return result

        failures = _run_missing(jobs, keep, report or _ignore, count)
        result = keep()
        _check_ended(result, folder, failures)
        if at_end is not None:
            at_end(result)
    return result


def _run_missing(jobs: Sequence[Job], keep: Callable[[], RunResult], report: Report, workers: int) -> list[Failure]:
    for job in jobs:
        check_masks(job.folder, job.origin)
    found = keep()
    missing = [job for job in jobs if not _complete(job, found.levels)]
    for job in jobs:
        if job not in missing:
            check_weights(job.folder)
    return run_jobs(missing, workers=workers, report=report, finished=lambda _: keep())


def _check_ended(result: RunResult, folder: Path, failures: Sequence[Failure]) -> None:
    if failures:
        raise _failed(failures, folder)
    if not result.complete or not (folder / RECIPE).is_file():
        raise RunFailed(
            f"{folder} lacks levels of jobs that have ended",
            "a run's folder stays where it is, and nothing in it is changed, while it runs",
            "put back what was moved, then run the same command again: only what is missing is run",
        )


def _complete(job: Job, levels: Sequence[LevelResult]) -> bool:
    last = _last_level(job)
    whole = all((job.folder / name).is_file() for name in (WEIGHTS, "identity.json"))  # not one that was moved away
    return whole and any((level.arm, level.seed, level.level) == (job.arm, job.seed, last) for level in levels)


def _last_level(job: Job) -> int:
    return make_plan(job.recipe, job.arm, seed=job.seed, steps=1).levels


def _result(recipe: Recipe, jobs: Sequence[Job], place: Mapping[str, object], seconds: float) -> RunResult:
    levels = [level for job in jobs for level in collect(job.folder, job.origin)]
    return RunResult(
        name=recipe.name,
        identity=recipe.identity,
        recipe=recipe.effective,
        environment=place,
        arms=recipe.arms,
        seeds=tuple(range(recipe.seeds)),
        complete=all(_complete(job, levels) for job in jobs),
        seconds=seconds,
        levels=tuple(levels),
        differences=tuple(paired_differences(levels, recipe.arms)),
    )


def _seconds_so_far(folder: Path, recipe: Recipe) -> float:
    return load_result(folder, identity=recipe.identity).seconds if (folder / FILE_NAME).exists() else 0.0


def _failed(failures: Sequence[Failure], folder: Path) -> RunFailed:
    texts = "\n\n".join(f"{failure.job}: {failure.text}" for failure in failures)
    return RunFailed(
        f"{len(failures)} jobs failed\n{texts}\n",
        f"everything else is complete and stored in {folder}",
        "mend the cause, then run the same command again: only what is missing is run",
    )


def _ignore(_: Event) -> None:
    return None
