"""Retraining: the pruned network trained once more, with its mask or without, and what that gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from budbreak.diagnostics import Quantity
from budbreak.iteration import Store, read_records
from budbreak.results.notes import Notes
from budbreak.results.result import LayerResult, LevelResult

WORDS = {"masked": "after retraining", "free": "after retraining without mask"}
"""Way of retraining -> what is said of it."""
_NONZERO = Quantity("nonzero", "remaining weights", "share", about="weights that are not zero, of the prunable ones.")


def retrained_folder(folder: Path, way: str) -> Path:
    """Where the retraining of a task lies, in the task's own folder."""
    return folder / f"retrained-{way}"


def is_retrained(folder: Path, ways: Iterable[str]) -> bool:
    """Whether all retrainings of a task are over."""
    return all((retrained_folder(folder, way) / "records.json").is_file() for way in ways)


def retrained_quantities(ways: Iterable[str], quantities: Sequence[Quantity]) -> tuple[Quantity, ...]:
    """The numbers of retrained networks: those of a level once more, and how many weights are not zero."""
    return tuple(retrained_quantity(one, way) for way in ways for one in (*quantities, _NONZERO))


def retrained_quantity(quantity: Quantity, way: str) -> Quantity:
    """A number of a retrained network; all of them are drawn together."""
    label = f"{quantity.label} {WORDS[way]}"
    return replace(quantity, name=_named(quantity.name, way), label=label, group=WORDS[way])


def with_retrained(level: LevelResult, folder: Path, identity: str, ways: Iterable[str]) -> LevelResult:
    """The last level of a task with the numbers of its retrainings, as far as they are over."""
    for way in ways:
        inside = retrained_folder(folder, way)
        notes = Notes(inside, identity)
        level = replace(level, notes=(*level.notes, *_endings(inside, way)))
        for end in notes.ends.values():
            layers = {layer.name: layer for layer in end.layers}
            kept, total = (sum(getattr(layer, name) for layer in end.layers) for name in ("kept", "total"))
            numbers = {**end.numbers, _NONZERO.name: kept / total}
            level = replace(
                level,
                numbers={**level.numbers, **suffixed(numbers, way)},
                layers=tuple(_with(layer, layers.get(layer.name), way) for layer in level.layers),
            )
    return level


def _endings(folder: Path, way: str) -> list[str]:
    """What was not reached."""
    store = Store(folder)
    try:
        store.look()
    except FileNotFoundError:
        return []  # it has not begun
    records = read_records(folder, store.identity)
    return [f"{WORDS[way]}: {record.ending.removeprefix('level 0: ')}" for record in records if record.ending]


def _with(layer: LayerResult, retrained: LayerResult | None, way: str) -> LayerResult:
    if retrained is None:
        return layer
    numbers = {**retrained.numbers, _NONZERO.name: retrained.kept / retrained.total}
    return replace(layer, numbers={**layer.numbers, **suffixed(numbers, way)})


def suffixed(numbers: Mapping[str, float], way: str) -> dict[str, float]:
    """Numbers under the names that they have of a retrained network."""
    return {_named(name, way): number for name, number in numbers.items()}


def _named(name: str, way: str) -> str:
    return f"{name}_{way}"
