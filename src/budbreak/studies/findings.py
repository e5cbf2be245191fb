"""What a run shows beside its levels, of the first seed: accuracy through training, sparsity, masks; and what follows.

What prunings do to ranks and spectra says `changes_of`, what compacted networks cost `fronts`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from budbreak.diagnostics import Finding, Quantity
from budbreak.errors import BudbreakError
from budbreak.iteration import Store
from budbreak.recipes import Arm
from budbreak.results import VALIDATION_ACCURACY, LevelResult
from budbreak.schedules import LayerByLayer, NotForeseen, Schedule, foresee
from budbreak.studies.changes import Row, changes_of, finding
from budbreak.studies.chosen import chosen_findings
from budbreak.studies.fronts import fronts
from budbreak.studies.task import Task

_SIDE = 20  # of a mask, as it is shown: some kilobytes for an arm
_SPARSITY = Quantity("sparsity", "sparsity", "share", about="pruned / prunable.")
_KEPT = Quantity("kept", "kept")


def findings_of(shown: Sequence[tuple[Arm, Task]], levels: Sequence[LevelResult]) -> tuple[Finding, ...]:
    """The findings of a run; course, sparsity and masks of arms whose trainings end by a rule.

    Args:
        shown: arms with their tasks, which may be under way.
        levels: of all arms and seeds, those that are over.
    """
    gated = [(arm, task) for arm, task in shown if task.seed == 0 and arm.setup.train.until is not None]
    own = {arm.name: [one for one in levels if (one.arm, one.seed) == (arm.name, 0)] for arm, _ in gated}
    courses = [
        finding("events", name, VALIDATION_ACCURACY, _course(own[name]), panel="Training, seed 0") for name in own
    ]
    reached = [row for arm, _ in gated for row in _sparsities(arm, own[arm.name])]
    sparsity = finding("events", "Sparsity, scheduled and reached", _SPARSITY, reached, labels={"epoch": "level"})
    panel = "Masks, seed 0, thinned out"
    masks = [finding("masks", arm.name, _KEPT, list(_tiles(task)), panel=panel) for arm, task in gated]
    pruned = changes_of(shown, levels)
    found = (*courses, *pruned, sparsity, *masks, *chosen_findings(shown), *fronts(levels))
    return tuple(one for one in found if one is not None)


def _course(levels: Sequence[LevelResult]) -> list[Row]:
    """The accuracy after each epoch, and right after each pruning, which is an event."""
    rows, before = list[Row](), 0
    for level in levels:
        for point in level.curve:
            pruned = f"pruned to {100 * level.density:.3g} %" if point.epoch == 0 < level.level else None
            value = point.numbers.get(VALIDATION_ACCURACY.name)
            rows.append({"arm": level.arm, "epoch": float(before + point.epoch), "value": value, "event": pruned})
        before += level.epochs
    return rows


def _sparsities(arm: Arm, levels: Sequence[LevelResult]) -> Iterator[Row]:
    """What the schedule says of each level that is over, and what is pruned there."""
    for level in levels:
        planned = _planned(arm.setup.prune.schedule, level.level)
        for name, value in ((f"{arm.name}, scheduled", planned), (f"{arm.name}, reached", 1 - level.density)):
            if value is not None:
                yield {"arm": name, "epoch": float(level.level), "value": value, "event": None}


def _planned(schedule: Schedule, level: int) -> float | None:
    if isinstance(schedule, LayerByLayer):
        return None  # the sizes of the layers decide
    try:
        return float(foresee(schedule, level))
    except NotForeseen:
        return None


def _tiles(task: Task) -> Iterator[Row]:
    """Weights at even distances of each mask of the last level that is over: 1 where one stays."""
    for name, entry in _last_mask(task).items():
        flat = entry.reshape(len(entry), -1)
        rows, columns = (_even(size) for size in flat.shape)
        for row, values in enumerate(flat[rows][:, columns].int().tolist()):
            for column, value in enumerate(values):
                yield {"layer": name, "row": row, "column": column, "value": value}


def _last_mask(task: Task) -> Mapping[str, Tensor]:
    store = Store(task.folder)
    try:
        store.look()
        names = [path.stem.removeprefix("level-") for path in (task.folder / "masks").glob("level-*.safetensors")]
        return store.load_mask(max(map(int, names)))
    except (OSError, ValueError, BudbreakError):
        return {}  # nothing is over yet, or a file was deleted: nothing is computed from it


def _even(size: int) -> list[int]:
    count = min(_SIDE, size)
    return [place * size // count for place in range(count)]
