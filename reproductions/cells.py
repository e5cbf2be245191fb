"""A cell: what one arm of a recipe measured under one seed, as a small file that is kept with the sources."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from budbreak.errors import InvalidValue
from budbreak.files import conform, corrupt, write_text
from budbreak.results import LevelResult

KIND = "cell 1"
_NOT_ALWAYS = ("layers", "activations", "settings", "searches")  # fields that are written where there is something
REWOUND = "rewound_"
"""What stands before the name of a quantity that was measured right after rewinding, before any training."""

DURING = "during_"
"""The same of the mean over the epochs of a level's last training, without what is before the first."""

T = TypeVar("T")
Columns = Mapping[str, tuple[float | None, ...]]


@dataclass(frozen=True)
class Cell:
    """One arm under one seed, level by level: every tuple has an entry for each level.

    Args:
        recipe: its name, with the setting behind it where that is not the recipe's own.
        run: the folder of the run, which ends in the beginning of the recipe's identity.
        task: the folder of the task, which ends in the beginning of its identity.
        arm, reference: of the recipe; the arm that it is compared with.
        setup: all sections of the arm, every field spelt out.
        environment: where it was computed.
        total: prunable weights.
        levels, kept, density_all, epochs, steps, seconds: see `LevelResult`.
        end: quantity -> its numbers at the ends of the levels; None where a level has none.
        rewound: the same right after the last rewinding of each level, before its training.
        during: the same as means over the epochs of that training.
        notes: remarks on levels.
        layers: state_dict name -> "kept", "total" and the ranks of that weight at the ends of the levels, where ranks
            were measured; those after retraining end in its way.
        activations: site -> operator, where the pruned network got others than it was pruned with.
        settings: "optimizer" and "schedule" of the last training, where they were searched for.
        searches: "trial", "finalist" (activations), "tuning", "tuned" (hyper-parameters) -> "score", "epochs",
            "seconds" and "stopped" of its trials, in order; no score where one diverged, no epochs of one that was
            known, stopped 1 where it ended early.
    """

    recipe: str
    run: str
    task: str
    arm: str
    reference: str | None
    seed: int
    setup: Mapping[str, Mapping[str, Any]]
    environment: Mapping[str, Any]
    total: int
    levels: tuple[int, ...]
    kept: tuple[int, ...]
    density_all: tuple[float, ...]
    epochs: tuple[int, ...]
    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    end: Columns
    rewound: Columns
    during: Columns
    notes: tuple[tuple[int, str], ...]
    layers: Mapping[str, Columns] = field(default_factory=dict[str, Columns])
    activations: Mapping[str, str] = field(default_factory=dict[str, str])
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    searches: Mapping[str, Columns] = field(default_factory=dict[str, Columns])

    @property
    def file_name(self) -> str:
        """Below the folder of all cells."""
        return f"{self.recipe}/{self.arm}-seed{self.seed}.json"

    def results(self) -> list[LevelResult]:
        """The levels, as a run has them; numbers of other moments have `REWOUND` or `DURING` before their names."""
        return [self._result(place) for place in range(len(self.levels))]

    def _result(self, place: int) -> LevelResult:
        moments = (("", self.end), (REWOUND, self.rewound), (DURING, self.during))
        numbers = {f"{moment}{name}": column[place] for moment, named in moments for name, column in named.items()}
        return LevelResult(
            arm=self.arm,
            seed=self.seed,
            level=self.levels[place],
            kept=self.kept[place],
            total=self.total,
            density=self.kept[place] / self.total,
            density_all=self.density_all[place],
            epochs=self.epochs[place],
            steps=self.steps[place],
            seconds=self.seconds[place],
            numbers={name: number for name, number in numbers.items() if number is not None},
            invariants={},
            layers=(),
            curve=(),
            notes=tuple(text for level, text in self.notes if level == self.levels[place]),
        )


def columns(rows: Sequence[Mapping[str, float]]) -> dict[str, tuple[float | None, ...]]:
    """Rows of named numbers as columns, to seven decimals: finer than one of 2,000 images times 400 units.

    >>> columns([{"a": 1.0}, {"a": 2.0, "b": 0.123456789}])
    {'a': (1.0, 2.0), 'b': (None, 0.1234568)}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: tuple(round(row[name], 7) if name in row else None for row in rows) for name in names}


def write_cell(folder: Path, cell: Cell) -> bool:
    """Write a cell below a folder, one line for each field; whether it was not there yet.

    A cell of the same task stays as it is: who computed it first, and where, is part of it.

    Raises:
        InvalidValue: if another task's cell has its name.
    """
    path = folder / cell.file_name
    if path.exists():
        there = read_cell(path)
        if there.task != cell.task:
            raise InvalidValue(
                f"{path} is of {there.task}, not of {cell.task}",
                "the arm of a recipe under a seed has one cell: its setup has changed since",
                "delete the file, and those of the other seeds and arms that it is compared with",
            )
        return False
    fields = {name: value for name, value in asdict(cell).items() if name not in _NOT_ALWAYS or value}
    write_lines(path, {"kind": KIND, **fields})
    return True


def write_lines(path: Path, fields: Mapping[str, object]) -> None:
    """Write an object as JSON, atomically, one line for each field: so that a difference of two versions is read."""
    lines = [f" {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def read_cell(path: Path) -> Cell:
    """What `write_cell` wrote.

    Raises:
        CorruptFile: if it is not that.
    """
    return read_lines(path, KIND, Cell, "restore it, or delete it and harvest it again")


def read_lines(path: Path, kind: str, schema: type[T], remedy: str) -> T:
    """What `write_lines` wrote of a frozen dataclass, with its kind before its fields.

    Raises:
        CorruptFile: if it is not that, with what to do about it.
    """
    try:
        plain = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise corrupt(path, f"it is not JSON ({error})", remedy) from None
    if not isinstance(plain, dict) or plain.pop("kind", None) != kind:
        raise corrupt(path, f"it is no {kind!r}", remedy)
    return conform(schema, plain, path, remedy)


def read_cells(folder: Path) -> list[Cell]:
    """All cells below a folder, by recipe, arm and seed."""
    return sorted(_all(folder), key=lambda cell: (cell.recipe, cell.arm, cell.seed))


def _all(folder: Path) -> Iterator[Cell]:
    for path in folder.glob("*/*.json"):
        yield read_cell(path)
