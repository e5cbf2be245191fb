"""Activation-aware pruning of neural networks in PyTorch.

The verbs and a few values are here; the families stay in their namespaces: `criteria`, `schedules`, `evidence`,
`diagnostics`, `errors`.
"""

from budbreak import criteria, diagnostics, errors, evidence, schedules
from budbreak._version import __version__
from budbreak.criteria import Criterion
from budbreak.diagnostics import DeadUnits
from budbreak.errors import BudbreakError
from budbreak.evidence import Evidence, Probe, probe
from budbreak.graph import Site
from budbreak.iteration import (
    ActivateWhilePruning,
    Level,
    LevelRecord,
    Levels,
    Plan,
    Retrain,
    SplitRemoval,
    Step,
    iterate,
)
from budbreak.live import Hold, Snapshot, dead_neurons, hold, prune, rewind
from budbreak.masks import (
    Element,
    Mask,
    Score,
    Scores,
    Unit,
    conv_and_linear,
    every_weight,
    excluding,
    including,
    select,
)
from budbreak.schedules import Progress, Schedule

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
    "evidence",
    "excluding",
    "hold",
    "including",
    "iterate",
    "probe",
    "prune",
    "rewind",
    "schedules",
    "select",
]
