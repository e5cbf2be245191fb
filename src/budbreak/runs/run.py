"""Carry out a recipe: all arms under all seeds, in a folder that survives being killed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from budbreak.errors import BudbreakError, StoreMismatch, check_count
from budbreak.iteration import Preview
from budbreak.runs.compare import paired_differences
from budbreak.runs.job import Event, Job, Report, epochs_before, load_data, make_plan, pick_engine, run_job
from budbreak.runs.notes import collect
from budbreak.runs.pool import Failure, run_jobs
from budbreak.runs.recipe import Recipe, load_recipe
from budbreak.runs.result import FILE_NAME, LevelResult, RunResult, load_result
from budbreak.storage import write_text
from budbreak.training.engine import steps_per_epoch
from budbreak.training.environment import environment
from budbreak.training.networks import build

__all__ = ["Event", "Job", "Overview", "Report", "RunFailed", "look_ahead", "run", "run_job"]


class RunFailed(BudbreakError, RuntimeError):
    """Some jobs of a run stopped with an error; the others are complete and stored."""


@dataclass(frozen=True)
class Overview:
    """What a run is about to do: said in the log, and checked before anything is trained."""

    folder: Path
    engine: str
    preview: Preview
    jobs: int
    workers: int
    epochs: int
    parts: tuple[int, int, int]

    def __str__(self) -> str:
        """A few lines."""
        train, validation, test = self.parts
        return (
            f"{self.preview}\n{self.jobs} jobs (arms x seeds), {self.workers} at a time, {self.epochs} epochs in all; "
            f"{train} training, {validation} validation, {test} test images\n{self.engine}\nrun: {self.folder}"
        )


def look_ahead(recipe: Recipe, *, data_dir: Path | None, out: Path, workers: int | None = None) -> Overview:
    """Load the data, build the network and count: everything that can fail before the first epoch.

    Raises:
        BudbreakError: for whatever is wrong with recipe, data, network or plan.
    """
    dataset, parts = load_data(recipe, data_dir)
    model = build(recipe.network, dataset, init=recipe.init, seed=0)
    jobs = len(recipe.arms) * recipe.seeds
    count, threads = _share_cores(jobs, workers)
    engine = pick_engine(recipe, model, threads)
    steps = steps_per_epoch(len(parts.train), recipe.batch_size)
    plans = [make_plan(recipe, arm, seed=0, steps=steps) for arm in recipe.arms]
    # all of them, though only the host's is shown: each refuses counts that cannot work
    previews = [plan.preview(model, example=parts.test.normalised(parts.test.images[:1])) for plan in plans]
    return Overview(
        folder=out / recipe.folder_name,
        engine=engine.describe(),
        preview=previews[0],
        jobs=jobs,
        workers=count,
        epochs=recipe.seeds * sum(epochs_before(recipe, plan, plan.levels + 1) for plan in plans),
        parts=(len(parts.train), len(parts.validation), len(parts.test)),
    )


def run(
    recipe: Recipe,
    *,
    data_dir: Path | None,
    out: Path,
    workers: int | None = None,
    report: Report | None = None,
    job_done: Callable[[RunResult], None] | None = None,
) -> RunResult:
    """Run all arms and seeds that are not complete yet; the same call goes on after an interruption.

    Args:
        recipe: what to run.
        data_dir: where the data set is; None for digits.
        out: the run's folder is made here.
        workers: processes at a time; one per core unless given. With more than one job each has one thread.
        report: called with each epoch's `Event`.
        job_done: called with the result so far at the start, and whenever a job is complete.

    Returns:
        The result, which is also in ``results.json`` of the folder.

    Raises:
        RunFailed: if jobs failed; the message holds their errors. What is complete is stored.
        BudbreakError: see `look_ahead`.
    """
    folder = out / recipe.folder_name
    _claim(folder, recipe)
    before, start = _seconds_so_far(folder), time.perf_counter()
    everything = [(arm, seed) for seed in range(recipe.seeds) for arm in recipe.arms]
    count, threads = _share_cores(len(everything), workers)
    jobs = [
        Job(recipe, arm, seed, folder / "jobs" / f"{arm}-seed{seed}", data_dir, threads) for arm, seed in everything
    ]

    def keep(_: Job | None = None) -> RunResult:
        place = {**environment(), "threads": threads, "workers": count}
        result = _result(recipe, jobs, place, before + time.perf_counter() - start)
        result.save(folder)
        if job_done is not None:
            job_done(result)
        return result

    found = keep()
    missing = [job for job in jobs if not _complete(job, found.levels)]
    failures = run_jobs(missing, workers=count, report=report or _ignore, finished=keep)
    result = keep()
    if failures:
        raise _failed(failures, folder)
    return result


def _claim(folder: Path, recipe: Recipe) -> None:
    path = folder / "recipe.toml"
    if not path.exists():
        write_text(path, recipe.to_toml())
    elif load_recipe(path) != recipe:
        raise StoreMismatch(
            f"{path} is another recipe",
            "a run's folder belongs to one recipe",
            "restore the file, or choose another folder",
        )


def _share_cores(jobs: int, workers: int | None) -> tuple[int, int]:
    """(processes, threads of each): a core each if there is more than one job, all cores for a single one."""
    if workers is not None:
        check_count("workers", workers)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs == 1:
        return 1, cores
    return min(workers or cores, jobs), 1


def _complete(job: Job, levels: Sequence[LevelResult]) -> bool:
    last = _last_level(job)
    return any((level.arm, level.seed, level.level) == (job.arm, job.seed, last) for level in levels)


def _last_level(job: Job) -> int:
    return make_plan(job.recipe, job.arm, seed=job.seed, steps=1).levels


def _result(recipe: Recipe, jobs: Sequence[Job], place: Mapping[str, object], seconds: float) -> RunResult:
    levels = [level for job in jobs for level in collect(job.folder, arm=job.arm, seed=job.seed)]
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


def _seconds_so_far(folder: Path) -> float:
    return load_result(folder).seconds if (folder / FILE_NAME).exists() else 0.0


def _failed(failures: Sequence[Failure], folder: Path) -> RunFailed:
    texts = "\n\n".join(f"{failure.job}: {failure.text}" for failure in failures)
    return RunFailed(
        f"{len(failures)} jobs failed\n{texts}\n",
        f"everything else is complete and stored in {folder}",
        "mend the cause, then run the same command again: only what is missing is run",
    )


def _ignore(_: Event) -> None:
    return None
