"""Activation-aware pruning of neural networks in PyTorch.

The verbs, and the values that they take, are here. Families stay in their rooms: `criteria`, `schedules`, `evidence`,
`diagnostics`, `activations`; so do the types that are met along the way: `masks`, `graph`, `live`, `compaction`,
`lowrank`, `iteration`, `search`, `errors`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from budbreak import (
    activations,
    compaction,
    criteria,
    diagnostics,
    errors,
    evidence,
    graph,
    iteration,
    live,
    lowrank,
    masks,
    schedules,
    search,
)
from budbreak._version import __version__
from budbreak.compaction import compact, load_compact
from budbreak.evidence import Evidence, probe
from budbreak.exporting import export, load_exported
from budbreak.graph import trace
from budbreak.iteration import ActivateWhilePruning, Plan, Remove, Step, Train, iterate, load_level
from budbreak.live import connect, dead_neurons, hold, prune, replace_activations, rewind
from budbreak.lowrank import ranks
from budbreak.masks import NM, Block, Element, Mask, Scores, Unit, excluding, including, select
from budbreak.search import search_activations

if TYPE_CHECKING:
    from budbreak.diagnostics import Quantity
    from budbreak.results import Histories

__all__ = [
    "NM",
    "ActivateWhilePruning",
    "Block",
    "Element",
    "Evidence",
    "Mask",
    "Plan",
    "Remove",
    "Scores",
    "Step",
    "Train",
    "Unit",
    "__version__",
    "activations",
    "compact",
    "compaction",
    "connect",
    "criteria",
    "dead_neurons",
    "diagnostics",
    "errors",
    "evidence",
    "excluding",
    "export",
    "graph",
    "hold",
    "including",
    "iterate",
    "iteration",
    "live",
    "load_compact",
    "load_exported",
    "load_level",
    "lowrank",
    "masks",
    "probe",
    "prune",
    "ranks",
    "replace_activations",
    "report",
    "rewind",
    "schedules",
    "search",
    "search_activations",
    "select",
    "trace",
]


def report(
    histories: Histories,
    folder: str | Path,
    *,
    name: str = "own loop",
    reference: str | None = None,
    quantities: Sequence[Quantity] = (),
    formats: Sequence[str] | None = None,
) -> Path:
    """Write the report of own loops around `iterate`: the same page, figures and tables as of a recipe's run.

    Arms are compared at each level at which they keep equally many weights: by seed where the dense trainings of the
    same seeds took equally many steps to the same numbers, else as two groups (Welch); the report says which.

    Args:
        histories: ``levels.history`` or the folder of a store, as one arm under one seed; or arm -> one of these per
            seed, ``{"host": [a.history, b.history], "ap": [...]}``; or a folder of arms' folders of stores.
        folder: to write to; made if it is not there.
        name: of the whole.
        reference: the arm that the others are compared with; the first unless given.
        quantities: what recorded numbers are, the one to judge by first. ``level.record(accuracy=...)`` needs none: a
            share in [0, 1] where more is better; nor do ``loss`` and the names of our diagnostics.
        formats: what to write, of html, svg, pdf, png, csv, json, tex and md; page, CSV and JSON unless given.

    Returns:
        The page, or the folder where no page was asked for.

    Raises:
        InvalidValue: for what is no history, one without a level that is over or without a number, and for shares
            outside [0, 1].
        UnknownName: for a reference or a format that there is not.
        CorruptFile, StoreMismatch: if a store is damaged.
        CannotWrite: on a full disk or a forbidden folder.
    """
    from budbreak.reporting import write_report
    from budbreak.results import run_of_histories

    run = run_of_histories(histories, name=name, reference=reference, quantities=quantities)
    return write_report([run], Path(folder), formats=formats)
