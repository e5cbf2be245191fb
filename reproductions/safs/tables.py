"""Tables of one sparsity: accuracies beside the paper's, reachable classes, what was chosen, what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from statistics import fmean
from typing import Any

from budbreak.results import Difference
from reproductions.cells import Cell, Columns
from reproductions.safs.studies import (
    BOTH,
    ENOUGH,
    FIRST,
    SECOND,
    SUBSET,
    TEST,
    VALIDATION,
    Measured,
    end,
    outcome,
)
from reproductions.settings import of_sparsity
from reproductions.study import ALPHA, Study
from reproductions.wording import NOTHING, listed, p_text, percent, points, table, with_spread

DENSE = "dense"
_PAPER = {
    of_sparsity(0.99): (98.49, 46.69, 61.63, 60.2, 62.22),
    "cifar10-vgg16-safs": (86.76, 70.32, 78.11, 80.97, 79.2),
    "cifar10-resnet18-safs": (89.86, 77.55, 79.34, 82.74, 83.88),
    SUBSET: (18.41, 10.96, 11.84, 11.7, 12.5),
}
"""The rows of the paper's table of these networks, in percent: one seed each; the sparsity is that of its code."""

REACHABLE, CONNECTED_WEIGHTS = "reachable_classes", "connected_weights"
_AFTER = (1, 5, 10, 20)  # trials after which the best score so far is told


def accuracy_table(one: Measured) -> str:
    """Where each arm ends, beside the plain one trained again, and beside the paper's row where it has one."""
    paper = paper_row(one)
    rows = [[DENSE, _counted(one), with_spread(one.dense), *[NOTHING] * 4, *_paper(DENSE, paper)]]
    rows += [[*_accuracy(one, arm), *_paper(arm, paper)] for arm in one.study.arms]
    head = ["arm", "seeds", "test accuracy, %", f"minus {one.plain}, points [95 %]", "p, Holm", "so it is"]
    head += [f"reachable classes of {one.classes}", *(["the paper, %"] if paper else [])]
    return table(head, rows)


def _counted(one: Measured) -> str:
    count = len(one.dense)
    return str(count) if count == one.study.seeds else f"{count} of {one.study.seeds}"


def paper_row(one: Measured) -> dict[str, float]:
    """What the paper's table has of a study: arm -> accuracy in percent; empty where it has none."""
    arms = (DENSE, one.plain, FIRST, SECOND, BOTH)
    return dict(zip(arms, _PAPER[one.study.recipe], strict=True)) if one.study.recipe in _PAPER else {}


def _paper(arm: str, paper: Mapping[str, float]) -> list[str]:
    return [f"{paper[arm]:.2f}" if arm in paper else NOTHING] if paper else []


def _accuracy(one: Measured, arm: str) -> list[str]:
    reachable = [one.classes * share for share in one.study.values(arm, 1, REACHABLE)]
    told = judged(one.differences.get(arm))
    return [arm, one.power(arm), with_spread(one.accuracies(arm)), *told, with_spread(reachable, factor=1, digits=1)]


def judged(row: Difference | None) -> list[str]:
    """A difference, its p and what it shows; bold where that is something."""
    if row is None:
        return [NOTHING] * 3
    bold = "**" if row.n >= ENOUGH and row.p_adjusted is not None and row.p_adjusted < ALPHA else ""
    return [f"{bold}{points(row)}{bold}", p_text(row.p_adjusted) if row.n >= ENOUGH else NOTHING, outcome(row)]


def half_powered(study: Study) -> str:
    """A remark that no arm has all seeds, with a blank before it; empty if one has."""
    seeds = max(len(study.seeds_of(arm)) for arm in study.arms)
    return f" **Half-powered: {seeds} of {study.seeds} seeds at most.**" if seeds < study.seeds else ""


def recipe_link(name: str) -> str:
    """A recipe, with its file."""
    return f"Recipe [`{name}`](../../recipes/{name}.toml)"


def cap(cell: Cell, classes: int) -> float | None:
    """About the highest accuracy that a mask allows: of the classes without a path at most one ever wins."""
    share = end(cell, REACHABLE)
    return None if share is None else min(1.0, share + 1 / classes)


def reach_section(one: Measured) -> str:
    """Reachable classes and connected weights of each seed, and how near accuracies come to the cap."""
    found = [cell for cell in one.study.cells if end(cell, REACHABLE) is not None]
    if not found:
        return "Not measured yet."
    if all((end(cell, REACHABLE) or 0) == 1 for cell in found):
        return f"In all {len(found)} cells every class is reached: nothing but training limits the accuracy."
    head = ("seed", "mask of", f"reachable of {one.classes}", "cap, about, %", "connected weights of those kept")
    rows = [row for seed in sorted({cell.seed for cell in found}) for row in _masks(found, seed, one.classes)]
    return f"{_capped(found, one.classes)}\n\n{table((*head, 'test accuracy, %: lowest', 'highest'), rows)}"


def _capped(found: Sequence[Cell], classes: int) -> str:
    """How near accuracies come to the caps that their masks set."""
    room = [most - (end(cell, TEST) or 0) for cell in found if (most := cap(cell, classes) or 1) < 1]
    if not room:
        return "At most one class has no path, and that caps nothing."
    return (
        "A class without a path from the input has a constant output, and of all such at most one ever wins: the cap "
        f"is about (reachable + 1) / {classes}. In {len(room)} of {len(found)} cells classes without a path cap the "
        f"accuracy. There it lies in the mean {percent(fmean(room), 1)} points below the cap; above it are "
        f"{sum(one < 0 for one in room)} (classes are not equally frequent)."
    )


def _masks(found: Sequence[Cell], seed: int, classes: int) -> Iterable[list[str]]:
    """A row for each mask of a seed."""
    groups: dict[tuple[float, float, int], list[Cell]] = {}
    for cell in (cell for cell in found if cell.seed == seed):
        key = end(cell, REACHABLE) or 0.0, end(cell, CONNECTED_WEIGHTS) or 0.0, cell.kept[-1]
        groups.setdefault(key, []).append(cell)
    for (reachable, connected, kept), cells in groups.items():
        whose = "all arms" if len(groups) == 1 else listed(cell.arm for cell in cells)
        ends = sorted(cells, key=lambda cell: end(cell, TEST) or 0.0)
        extremes = [f"{percent(end(cell, TEST))} ({cell.arm})" for cell in (ends[0], ends[-1])]
        share = f"{connected * kept:.0f} of {kept:,}"
        yield [str(seed), whose, f"{classes * reachable:.0f}", percent(cap(cells[0], classes), 0), share, *extremes]


def searched(one: Measured, *kinds: str) -> list[Cell]:
    """The cells with trials of one of these kinds, arm by arm."""
    return [cell for arm in one.study.arms for cell in one.cells(arm) if any(kind in cell.searches for kind in kinds)]


def operators_rows(one: Measured) -> list[list[str]]:
    """Which operator was chosen at which site, in how many seeds."""
    cells = searched(one, "trial")
    arms = dict.fromkeys(cell.arm for cell in cells)
    own = {arm: [cell for cell in cells if cell.arm == arm] for arm in arms}
    return [
        [one.title, arm, one.power(arm), site, _votes(cell.activations[site] for cell in own[arm])]
        for arm in arms
        for site in own[arm][0].activations
    ]


def _votes(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(Counter(names).items(), key=lambda x: (-x[1], x[0])))


def settings_rows(one: Measured) -> list[list[str]]:
    """The hyper-parameters that were chosen, seed by seed."""
    cells = searched(one, "tuning")
    return [[one.title, cell.arm, str(cell.seed), *(_told(cell.settings[key]) for key in _SETTINGS)] for cell in cells]


_SETTINGS = ("optimizer", "schedule")


def _told(form: Any) -> str:
    """A plain form in a line."""
    if not isinstance(form, dict):
        return str(form)
    return ", ".join([str(form["is"]), *(f"{key} {_value(one)}" for key, one in form.items() if key != "is")])


def _value(one: Any) -> str:
    return f"{one:.2g}" if isinstance(one, float) else str(one)


def cost_row(one: Measured, arm: str) -> list[str]:
    """What the searches of an arm cost, what they promised, and what came of it."""
    cells = one.cells(arm)
    numbers = [_numbers(cells, f"search_{name}") for name in ("trials", "epochs", "seconds")]
    costs = [with_spread(column, factor=1, digits=0) for column in numbers]
    last = fmean(cell.epochs[-1] for cell in cells)
    gaps = [(end(cell, "search_accuracy") or 0) - (end(cell, TEST) or 0) for cell in cells]
    shown = [with_spread(_numbers(cells, name)) for name in ("search_accuracy", VALIDATION, TEST)]
    return [one.title, arm, one.power(arm), *costs, f"{fmean(numbers[1]) / last:.1f}", *shown, with_spread(gaps)]


COST_HEAD = (
    "sparsity", "arm", "seeds", "trainings", "epochs", "seconds", "times the epochs of the last training",
    "promised, %", "validation at the end, %", "test, %", "promised minus test, points",
)  # fmt: skip


def _numbers(cells: Sequence[Cell], name: str) -> list[float]:
    return [value for cell in cells if (value := end(cell, name)) is not None]


def course_row(one: Measured, arm: str, kind: str, then: str) -> list[str]:
    """The best score after so many trials of a search, and that of its finalists, trained in full."""
    courses, finals = (
        [_best_so_far(cell.searches.get(which, {})) for cell in one.cells(arm)] for which in (kind, then)
    )
    reached = [with_spread([course[min(after, len(course)) - 1] for course in courses if course]) for after in _AFTER]
    what = "activations" if kind == "trial" else "hyper-parameters"
    return [one.title, arm, what, *reached, with_spread([course[-1] for course in finals if course])]


COURSE_HEAD = ("sparsity", "arm", "search for", *(f"after {count}" for count in _AFTER), "the best finalist")


def _best_so_far(trials: Columns) -> list[float]:
    """Of the trials that ran to their end; 0 before the first that has a score."""
    scores = zip(trials.get("score", ()), trials.get("stopped", ()), strict=True)
    return list(accumulate((0.0 if score is None or stopped else score for score, stopped in scores), max))
