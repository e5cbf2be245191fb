"""Activation-aware pruning of neural networks in PyTorch.

The verbs, and the values that they take, are here. Families stay in their rooms: `criteria`, `schedules`, `evidence`,
`diagnostics`; so do the types that are met along the way: `masks`, `graph`, `live`, `iteration`, `errors`.
"""

from budbreak import criteria, diagnostics, errors, evidence, graph, iteration, live, masks, schedules
from budbreak._version import __version__
from budbreak.evidence import Evidence, probe
from budbreak.graph import trace
from budbreak.iteration import ActivateWhilePruning, Plan, Remove, Step, Train, iterate, load_level
from budbreak.live import dead_neurons, hold, prune, rewind
from budbreak.masks import NM, Block, Element, Mask, Scores, Unit, excluding, including, select

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
    "criteria",
    "dead_neurons",
    "diagnostics",
    "errors",
    "evidence",
    "excluding",
    "graph",
    "hold",
    "including",
    "iterate",
    "iteration",
    "live",
    "load_level",
    "masks",
    "probe",
    "prune",
    "rewind",
    "schedules",
    "select",
    "trace",
]
