"""What each pruning did to ranks and singular values, as findings of the first seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from budbreak.diagnostics import Finding, Quantity, evenly, spectra_finding
from budbreak.errors import BudbreakError
from budbreak.lowrank import LayerRatio, spectrum_ratios
from budbreak.recipes import Arm
from budbreak.results import LevelResult
from budbreak.studies.spectra import Moment, NotedSpectra, notes_spectra, read_spectra
from budbreak.studies.task import Task

_PRUNINGS = 5  # of an arm, at even distances, have their spectra shown
_VALUES = 24  # of a spectrum: some kilobytes for an arm
_RANK = Quantity("rank", "numerical rank", "count", about="singular values that are not rounding.")
_CHANGE = Quantity("change", "change of the singular value (%)")

Row = Mapping[str, str | float | None]


@dataclass(frozen=True)
class _Pruning:
    """The spectra right before and after it; ``level`` begins with it."""

    level: int
    before: NotedSpectra
    after: NotedSpectra


def finding(
    kind: str,
    label: str,
    quantity: Quantity,
    rows: Sequence[Row],
    *,
    labels: Mapping[str, str] | None = None,
    panel: str = "",
) -> Finding | None:
    """A finding of rows that all have the same columns; None without rows."""
    if not rows:
        return None
    columns = {name: tuple(row[name] for row in rows) for name in rows[0]}
    return Finding(kind, label, quantity, columns, labels or {}, panel)


def changes_of(shown: Sequence[tuple[Arm, Task]], levels: Sequence[LevelResult]) -> list[Finding]:
    """For each arm that has them: ranks through training, spectra around the prunings, and their ratios.

    Args:
        shown: arms with their tasks, which may be under way.
        levels: of all arms and seeds, those that are over.
    """
    found: list[Finding | None] = []
    for arm, task in shown:
        if notes_spectra(task.setup, task.seed):
            own = [level for level in levels if (level.arm, level.seed) == (arm.name, 0)]
            found += _of_arm(arm.name, task, own)
    return [one for one in found if one is not None]


def _of_arm(arm: str, task: Task, levels: Sequence[LevelResult]) -> Iterator[Finding | None]:
    noted = {key: one for each in (*task.needs, task) for key, one in read_spectra(each.folder, each.identity).items()}
    last = len(levels)
    prunings = [
        _Pruning(level, noted[level - 1, "end"], noted[level, "start"])
        for level in range(1, last)
        if (level - 1, "end") in noted and (level, "start") in noted
    ]
    if not prunings:
        return
    yield finding("events", arm, _RANK, list(_ranks(levels, noted)), panel="Ranks, seed 0")
    few = [one for _, one in evenly(prunings, _PRUNINGS)]
    sides = [(f"{when} pruning {one.level}", getattr(one, when)) for one in few for when in ("before", "after")]
    moments = {name: side.significant for name, side in sides}
    if (end := noted.get((last - 1, "end"))) is not None:
        moments["at the end"] = end.significant
    try:
        spectra = replace(spectra_finding(moments, arm, most=_VALUES), panel="Spectra around prunings, seed 0")
        ratios = list(_ratios(few, prunings))
    except BudbreakError:
        return  # a file is whole, and yet no spectrum
    yield spectra
    panel = "Singular values, after against before, seed 0"
    yield finding("ratios", arm, _CHANGE, ratios, labels={"arm": "pruning"}, panel=panel)


def _ranks(levels: Sequence[LevelResult], noted: Mapping[tuple[int, Moment], NotedSpectra]) -> Iterator[Row]:
    """The rank of each weight at the beginning and the end of each level, by epochs; pruning is an event."""
    before = 0
    for level in levels:
        moments: tuple[tuple[Moment, int], ...] = (("start", before), ("end", before + level.epochs))
        for moment, epoch in moments:
            here = noted.get((level.level, moment))
            for place, layer in enumerate(here.layers if here else ()):
                pruned = moment == "start" and level.level > 0 and place == 0
                event = f"pruned to {100 * level.density:.3g} %" if pruned else None
                yield {"arm": layer.weight, "epoch": float(epoch), "value": float(layer.rank), "event": event}
        before += level.epochs


def _ratios(few: Sequence[_Pruning], prunings: Sequence[_Pruning]) -> Iterator[Row]:
    """Of each pruning, and of the last one's end against the first one's beginning."""
    for one in few:
        yield from _ratio(f"pruning {one.level}", one.before, one.after)
    if len(prunings) > 1:
        yield from _ratio("last against first", prunings[0].before, prunings[-1].after)


def _ratio(label: str, before: NotedSpectra, after: NotedSpectra) -> Iterator[Row]:
    for name, layer in spectrum_ratios(before.values, after.values).items():
        for place, value in evenly(layer.values, _VALUES):
            if value < float("inf"):
                yield _row(label, name, place, value, layer)


def _row(label: str, name: str, place: int, value: float, layer: LayerRatio) -> Row:
    left = f"{layer.remaining} of {layer.remaining + layer.dropped}"
    return {"arm": label, "layer": name, "rank": float(place), "value": value, "remaining": left}
