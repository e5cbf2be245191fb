"""Everything that can be known, and can fail, before the first epoch; and what the run will cost."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from budbreak.checks import check_count, check_known
from budbreak.data import DataSet, Split
from budbreak.diagnostics import quantities_of
from budbreak.errors import BudbreakError, InvalidValue
from budbreak.foreign import call_foreign
from budbreak.iteration import Preview
from budbreak.recipes import WATCHED, Arm, DataSection, Setup, in_recipe_words
from budbreak.results import TEST_ACCURACY, TRAINING, Counted, check_equal_survivors
from budbreak.schedules import reads_of
from budbreak.studies.making import (
    epochs_before,
    epochs_levels,
    load_data,
    make_network,
    make_plan,
    pick_engine,
    weighing_numbers,
)
from budbreak.studies.rehearsing import Rehearsal
from budbreak.studies.run import Cells, Choice, cells_of, divided
from budbreak.studies.task import Task
from budbreak.studies.tasks import dense_of
from budbreak.studies.trying import Pace, try_out
from budbreak.studies.trying_searches import try_searches
from budbreak.training import steps_per_epoch

Loader = Callable[[DataSection], tuple[DataSet, Split]]

_MOST_TIMED = 6  # setups whose speed is measured; that of the others is taken for their mean


@dataclass(frozen=True)
class Cost:
    """What is left to do.

    Args:
        tasks: trainings from scratch and pruned ones, without those that are complete; ``total``: with them.
        epochs: of all that is left; ``all_epochs``: with what is complete.
        seconds: estimated from a few timed steps; None if nothing is left.
        at_most: whether trainings may end before their last epoch.
    """

    tasks: int
    total: int
    epochs: int
    all_epochs: int
    seconds: float | None
    at_most: bool = False


@dataclass(frozen=True)
class Overview:
    """What a run is about to do: said in the log, and checked before anything is trained.

    Args:
        engine: how it computes, in the first arm.
        preview: of the first arm.
        arms: how many; ``seeds``: of each; ``workers``: tasks at a time.
        parts: training, validation and test images of the first arm.
        unseen: what the dead neuron rates leave out, or why there are none; empty if they are whole.
    """

    folder: str
    engine: str
    preview: Preview
    arms: int
    seeds: int
    workers: int
    parts: tuple[int, int, int]
    unseen: str
    cost: Cost

    @property
    def lines(self) -> tuple[str, ...]:
        """What is said below the table of the preview."""
        train, validation, test = self.parts
        lines = (
            *self.preview.remarks,
            f"{self.arms} arms x {self.seeds} seeds, {self.workers} at a time",
            cost_line(self.cost),
            f"{train} training, {validation} validation, {test} test images",
            self.engine,
            self.unseen,
            f"run: {self.folder}",
        )
        return tuple(line for line in lines if line)


def cost_line(cost: Cost) -> str:
    """What is left to do, in words."""
    if not cost.tasks:
        return f"all {cost.total} tasks are complete: nothing is left to train"
    done = f", {cost.total - cost.tasks} complete already" if cost.tasks < cost.total else ""
    about = f", about {duration(cost.seconds)}" if cost.seconds is not None else ""
    most = " at most" if cost.at_most else " in all"
    return f"{cost.tasks} tasks to do{done}: {cost.epochs} epochs{most}{about}"


def duration(seconds: float) -> str:
    """Text such as 45 s, 12 min, 3 h 20 min, 4 days."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{round(hours / 24)} days"


def look_ahead(choice: Choice) -> Overview:
    """Load the data, build the networks, train them on one batch and count: whatever can fail before the first epoch.

    Raises:
        BudbreakError: for whatever is wrong with recipe, data, networks or plans.
    """
    with in_recipe_words(choice.recipe.plain):
        return _looked(choice)


def _looked(choice: Choice) -> Overview:
    loaded: dict[DataSection, tuple[DataSet, Split]] = {}

    def loader(section: DataSection) -> tuple[DataSet, Split]:
        if section not in loaded:
            loaded[section] = load_data(section, choice.place.data_dir)
        return loaded[section]

    unseen, paces = _try_trainings(choice, loader)
    preview = _preview_all(choice, loader)
    _try_searches(choice, loader)
    _check_quantities(choice.recipe.arms)
    first = choice.arms[0].setup
    dataset, parts = loader(first.data)
    engine = pick_engine(first, make_network(first.network, dataset, 0), choice.place.threads)
    cells = cells_of(choice)
    return Overview(
        folder=str(choice.folder),
        engine=engine.summary(),
        preview=preview,
        arms=len(choice.arms),
        seeds=choice.recipe.seeds,
        workers=choice.workers or 1,
        parts=(len(parts.train), len(parts.validation), len(parts.test)),
        unseen=unseen,
        cost=_cost(cells, paces, choice.workers or 1),
    )


def _try_trainings(choice: Choice, loader: Loader) -> tuple[str, dict[str, Pace]]:
    """What dead neuron rates leave out, if anything; and how fast each training is, of the first few."""
    unseen, paces = "", dict[str, Pace]()
    for key, arm in _first_of_each(choice.arms, lambda arm: _training_of(arm.setup)).items():
        with _naming(arm, choice.arms):
            timed = len(paces) < _MOST_TIMED
            own, pace = try_out(arm.setup, *loader(arm.setup.data), threads=choice.place.threads, timed=timed)
        unseen = unseen or own
        if pace is not None:
            paces[key] = pace
    return unseen, paces


def _try_searches(choice: Choice, loader: Loader) -> None:
    """Refuse activations and hyper-parameters that a network cannot be trained with, in any arm."""
    apart = [arm for arm in choice.arms if arm.setup.ends_apart]

    def told(arm: Arm) -> str:
        return repr((_training_of(arm.setup), arm.setup.activations, arm.setup.tune))

    for arm in _first_of_each(apart, told).values():
        with _naming(arm, choice.arms):
            try_searches(arm.setup, *loader(arm.setup.data), threads=choice.place.threads)


def epochs_of_choice(choice: Choice) -> int:
    """Epochs of all tasks, complete or not, without a look at data or networks: quick for any number of arms."""
    setups = {repr(arm.setup): arm.setup for arm in choice.arms}.values()
    dense = {repr(dense_of(setup)): epochs_before(setup, 1) for setup in setups if setup.prune.train_dense}
    return choice.recipe.seeds * (sum(dense.values()) + sum(map(epochs_levels, setups)))


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_cores(tasks: int, workers: int | None) -> tuple[int, int]:
    """(processes, threads of each): a core each if there is more than one task, all cores for a single one."""
    if workers is not None:
        check_count("workers", workers)
    if tasks == 1:
        return 1, cores()
    return min(workers or cores(), tasks), 1


def _training_of(setup: Setup) -> str:
    """What tells how a network is trained, whatever is pruned of it."""
    return repr((setup.data, setup.network, setup.train, setup.measure))


def _first_of_each(arms: Sequence[Arm], key: Callable[[Arm], str]) -> Mapping[str, Arm]:
    """The first arm for each key, in order."""
    firsts: dict[str, Arm] = {}
    for arm in arms:
        firsts.setdefault(key(arm), arm)
    return firsts


@contextlib.contextmanager
def _naming(arm: Arm, arms: Sequence[Arm]) -> Generator[None, None, None]:
    """Put the arm's name before an error, where there are several."""
    try:
        yield
    except BudbreakError as error:
        if len(arms) == 1 or not arm.overrides:
            raise
        raise type(error)(f"arm {arm.name!r}: {error.value}", error.rule, error.fix) from error


def _preview_all(choice: Choice, loader: Loader) -> Preview:
    """The levels of the first arm; refuses plans of any arm that cannot work, and arms that cannot be compared."""
    by_name = {arm.name: arm for arm in choice.recipe.arms}
    references = [by_name[arm.reference] for arm in choice.arms if arm.reference in by_name]
    plans = _first_of_each([*choice.arms, *references], _plan_of)
    previews: dict[str, Preview] = {}
    for key, arm in plans.items():
        with _naming(arm, choice.recipe.arms):
            previews[key] = _preview(arm.setup, *loader(arm.setup.data), threads=choice.place.threads)
    for arm in choice.arms:
        base = by_name.get(arm.reference or "")
        if base is not None:
            _check_comparable(arm, previews[_plan_of(arm)], base, previews[_plan_of(base)])
    return previews[_plan_of(choice.arms[0])]


def _plan_of(arm: Arm) -> str:
    """What tells the plan of an arm."""
    return repr((arm.setup.prune, _training_of(arm.setup)))


def _preview(setup: Setup, dataset: DataSet, parts: Split, *, threads: int | None) -> Preview:
    """The levels of a plan, which is tried on a throw-away network; refuses counts that cannot work."""
    plan = make_plan(setup, seed=0, steps=steps_per_epoch(len(parts.train), setup.train.batch_size))
    _check_reads(setup)
    model = make_network(setup.network, dataset, 0)
    engine = pick_engine(setup, model, threads)
    example = engine.place(parts.test.normalised(parts.test.images[:1]))
    rule = "a network takes a single image in evaluation"
    preview = call_foreign("evaluating the network", lambda: plan.preview(model, example=example), rule=rule)
    total = preview.rows[0].keep or 1
    keep = preview.rows[min(1, plan.levels)].keep or total  # a schedule may decide as it goes
    Rehearsal(plan, keep, setup.measure.diagnostics, model, parts.train).carry_out()
    return preview


def _check_reads(setup: Setup) -> None:
    """Refuse schedules and criteria that look at what is not recorded, or at the test set, which decides nothing."""
    known = [one.name for one in (*TRAINING, *quantities_of(setup.measure.diagnostics)) if one != TEST_ACCURACY]
    for name in reads_of(setup.prune.schedule):
        check_known(f"prune.schedule {setup.prune.schedule} looks at {name!r}", name, known)
    for name in weighing_numbers(setup):
        check_known(f"a criterion weighs outputs by {name!r}, which no epoch records", name, WATCHED)


def _check_quantities(arms: Sequence[Arm]) -> None:
    """Refuse arms whose diagnostics give different numbers of one name, also where each arm has one of them only."""
    try:
        quantities_of(dict.fromkeys(diagnostic for arm in arms for diagnostic in arm.setup.measure.diagnostics))
    except InvalidValue as error:
        fix = "measure in all arms with the same one, rename a quantity, or make two recipes"
        raise InvalidValue(f"measure.diagnostics of all arms: {error.value}", error.rule, fix) from error


def _check_comparable(arm: Arm, own: Preview, reference: Arm, base: Preview) -> None:
    """Refuse now what the comparison would refuse in the end; see `check_equal_survivors`."""
    base_total, own_total = base.rows[0].keep, own.rows[0].keep
    rows = list(zip(own.rows, base.rows, strict=False))  # one may have fewer levels
    dense = rows[:1] if own.counted == base.counted else []  # a dense level has no units
    for ours, theirs in rows[1:] or dense:
        if theirs.keep is None or ours.keep is None or base_total is None or own_total is None:
            return  # decided as it goes: the comparison itself will see
        expected = Counted(theirs.keep, base_total, base.counted)
        planned = Counted(ours.keep, own_total, own.counted)
        check_equal_survivors(f"level {ours.level}", (reference.name, expected), (arm.name, planned))


def _cost(cells: Cells, paces: Mapping[str, Pace], workers: int) -> Cost:
    _, left = divided(cells.tasks)

    def seconds(task: Task) -> float:
        pace = paces.get(_training_of(task.setup))
        known = paces.values() if pace is None else [pace]
        return statistics.fmean(one.seconds(task.epochs) for one in known)

    total = sum(map(seconds, left)) / max(1, min(workers, len(left)))
    return Cost(
        len(left),
        len(cells.tasks),
        sum(task.epochs for task in left),
        sum(task.epochs for task in cells.tasks),
        total if left else None,
        any(task.setup.train.until is not None or task.kind in ("trial", "tuning") for task in left),
    )
