"""The records of runs as tidy rows, for CSV and JSON: one per run, arm, seed and level; one per difference."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from budbreak.results.result import LevelResult, RunResult

Row = dict[str, object]


def level_rows(runs: Sequence[RunResult]) -> list[Row]:
    """One row per run, arm, seed and level; every row has the same columns, None where a run lacks a quantity."""
    measured = {name for run in runs for level in run.levels for name in level.numbers}
    names = [name for name in dict.fromkeys(q.name for run in runs for q in run.quantities) if name in measured]
    return [_level_row(run, level, names) for run in runs for level in run.levels]


def _level_row(run: RunResult, level: LevelResult, names: Sequence[str]) -> Row:
    plain_fields = ("level", "kept", "total", "density", "density_all")
    return {
        "run": run.name,
        "identity": run.identity,
        "arm": level.arm,
        "reference": next(arm.reference for arm in run.arms if arm.name == level.arm),
        "seed": level.seed,
        **{field: getattr(level, field) for field in plain_fields},
        **{name: level.numbers.get(name) for name in names},
        **{field: getattr(level, field) for field in ("epochs", "steps", "seconds", "shared")},
        "invariants_held": all(level.invariants.values()),
        "invariants_broken": "; ".join(name for name, held in level.invariants.items() if not held),
        "notes": "; ".join(level.notes),
    }


def difference_rows(runs: Sequence[RunResult]) -> list[Row]:
    """One row per difference; shares, not points; ``p_adjusted`` by Holm's correction; ``test``: paired or Welch."""
    return [
        {
            "run": run.name,
            "identity": run.identity,
            **asdict(row),
            "test": "paired" if row.n_reference is None else "Welch",
        }
        for run in runs
        for row in run.differences
    ]


def to_csv(rows: Sequence[Mapping[str, object]]) -> str:
    r"""Rows as CSV with a header; floats by their shortest exact form, None as an empty field.

    >>> to_csv([{"arm": "a, b", "density": 0.1, "low": None}])
    'arm,density,low\n"a, b",0.1,\n'
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
        writer.writerows(row.values() for row in rows)
    return stream.getvalue()


def to_json(rows: Sequence[Mapping[str, object]]) -> list[Row]:
    """Rows for a JSON file: what is not finite becomes null, since JSON has no word for it."""
    return [{key: _finite(value) for key, value in row.items()} for row in rows]


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
