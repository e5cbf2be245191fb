"""Cells that nothing measured, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reproductions import Cell
from reproductions.study import Study

TOTAL = 1000
PLAIN_SETUP: Mapping[str, Mapping[str, Any]] = {
    "data": {"name": "mnist", "limit": 0},
    "network": {"name": "lenet-5"},
    "train": {"epochs": 2, "batch_size": 10},
    "prune": {"then": [], "schedule": {"is": "geometric", "rate": 0.5, "levels": 2}},
}


def made_cell(arm: str, seed: int, accuracies: Sequence[float], *, recipe: str = "made", **fields: Any) -> Cell:
    """A cell whose level k keeps a half of what level k - 1 keeps; an arm with a hyphen follows a host."""
    levels = tuple(range(len(accuracies)))
    then = [{"is": "ap"}] if "-" in arm else []
    setup = {**PLAIN_SETUP, "prune": {**PLAIN_SETUP["prune"], "then": then}}
    rates = {
        "dead_units_static": tuple(0.01 * level for level in levels),
        "dead_units_dynamic": tuple(0.5 - 0.1 * level + 0.001 * seed * level for level in levels),
    }
    given: dict[str, Any] = {
        "recipe": recipe,
        "run": f"{recipe}-00000000",
        "task": f"levels-{arm}-{seed}",
        "arm": arm,
        "reference": arm.partition("-")[0] if "-" in arm else None,
        "seed": seed,
        "setup": setup,
        "environment": {
            "processor": "P",
            "capabilities": ["c"],
            "threads": 1,
            "torch": "2",
            "budbreak": "0",
            "cuda": [],
        },
        "total": TOTAL,
        "levels": levels,
        "kept": tuple(TOTAL // 2**level for level in levels),
        "density_all": tuple(0.5**level for level in levels),
        "epochs": (2,) * len(levels),
        "steps": (20,) * len(levels),
        "seconds": (36.0,) * len(levels),
        "end": {"test_accuracy": tuple(accuracies), **rates},
        "rewound": rates,
        "during": rates,
        "notes": (),
    }
    return Cell(**given | fields)


def made_study(accuracies: Mapping[str, Sequence[Sequence[float]]], *, seeds: int | None = None) -> Study:
    """A study of arms: name -> for each seed the accuracies of its levels."""
    cells = [made_cell(arm, seed, row) for arm, rows in accuracies.items() for seed, row in enumerate(rows)]
    planned = {arm: arm.partition("-")[0] if "-" in arm else None for arm in accuracies}
    return Study("made", planned, seeds or max(map(len, accuracies.values())), tuple(cells))
