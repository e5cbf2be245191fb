"""Activation-aware pruning of neural networks in PyTorch.

The verbs and a few values are here; the families stay in their namespaces: `criteria`, `schedules`, `probes`,
`diagnostics`, `errors`.
"""

from budbreak import criteria, diagnostics, errors, probes, schedules
from budbreak._version import __version__
from budbreak.diagnostics import DeadUnits
from budbreak.errors import BudbreakError
from budbreak.evidence import Evidence, Probe, Site
from budbreak.granularity import Element, Unit
from budbreak.holding import Hold, hold
from budbreak.iteration import (
    ActivateWhilePruning,
    Level,
    LevelRecord,
    Levels,
    Plan,
    Retrain,
    SplitRemoval,
    iterate,
)
from budbreak.mask import Mask
from budbreak.probing import probe
from budbreak.progress import Progress, Schedule
from budbreak.prunable import conv_and_linear, every_weight, excluding, including
from budbreak.rewinding import Snapshot, rewind
from budbreak.scores import Criterion, Score, Scores
from budbreak.selection import select
from budbreak.step import Step
from budbreak.verbs import dead_neurons, prune

__all__ = [
    "ActivateWhilePruning",
    "BudbreakError",
    "Criterion",
    "DeadUnits",
    "Element",
    "Evidence",
    "Hold",
    "Level",
    "LevelRecord",
    "Levels",
    "Mask",
    "Plan",
    "Probe",
    "Progress",
    "Retrain",
    "Schedule",
    "Score",
    "Scores",
    "Site",
    "Snapshot",
    "SplitRemoval",
    "Step",
    "Unit",
    "__version__",
    "conv_and_linear",
    "criteria",
    "dead_neurons",
    "diagnostics",
    "errors",
    "every_weight",
    "excluding",
    "hold",
    "including",
    "iterate",
    "probe",
    "probes",
    "prune",
    "rewind",
    "schedules",
    "select",
]
