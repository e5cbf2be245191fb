"""The kinds of values that a recipe names, with their short names."""

from __future__ import annotations

from budbreak import diagnostics, schedules
from budbreak.activations import FAMILY as ACTIVATION_FAMILY
from budbreak.iteration import CRITERIA as CRITERIA
from budbreak.iteration import ENDING_RULES as ENDING_CLASSES
from budbreak.iteration import FOLLOW_UPS as FOLLOW_UP_CLASSES
from budbreak.iteration import ActivateWhilePruning
from budbreak.lowrank import PENALTIES as PENALTY_CLASSES
from budbreak.masks import ALLOCATIONS as ALLOCATION_CLASSES
from budbreak.masks import GRANULARITIES as GRANULARITY_CLASSES
from budbreak.masks import SCOPES as SCOPE_CLASSES
from budbreak.search import FAMILY as SAMPLER_FAMILY
from budbreak.search import STOPPING_FAMILY, TUNER_FAMILY
from budbreak.training import OPTIMIZER_FAMILY, RATE_FAMILY
from budbreak.values import Family

ACTIVATIONS = ACTIVATION_FAMILY
SAMPLERS = SAMPLER_FAMILY
TUNERS = TUNER_FAMILY
STOPPING_RULES = STOPPING_FAMILY
SCHEDULES = Family.of(
    "schedule", schedules.ALL, needs=("levels",), example='{is = "geometric", rate = 0.2, levels = 12}'
)
FOLLOW_UPS = Family.of(
    "follow-up",
    FOLLOW_UP_CLASSES,
    needs=("stages",),
    call=False,
    names={"ap": ActivateWhilePruning},
)
ENDINGS = Family.of(
    "ending rule",
    ENDING_CLASSES,
    needs=("reads", "together", "check", "ends"),
    call=False,
    example='{is = "accuracy-gates", prunings = 5}',
)
GRANULARITIES = Family.of(
    "granularity", GRANULARITY_CLASSES, needs=("fit", "merge", "shrink", "spread"), call=False, example='"unit"'
)
SCOPES = Family.of(
    "scope",
    SCOPE_CLASSES,
    needs=("divides", "elementwise", "fit", "reach", "choose"),
    call=False,
    example='"layer"',
    meant={"local.*": '"layer"', r"(\d+):(\d+)": r'{is = "nm", n = \1, of = \2}'},
)
ALLOCATIONS = Family.of("allocation", ALLOCATION_CLASSES, example='"erk"')
OPTIMIZERS = OPTIMIZER_FAMILY
PENALTIES = Family.of(
    "penalty",
    PENALTY_CLASSES,
    needs=("apply",),
    call=False,
    example='{is = "weighted-nuclear-norm", strength = 1e-4}',
)
RATES = RATE_FAMILY
DIAGNOSTICS = Family.of("diagnostic", diagnostics.ALL, needs=("needs", "quantities"), example='"dead-units"')
