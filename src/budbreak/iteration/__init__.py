"""Plan, level, iterate: prune iteratively around the user's own training loop."""

from budbreak.iteration.checkpoint import Checkpoint
from budbreak.iteration.followups import ALL as FOLLOW_UPS
from budbreak.iteration.followups import (
    CRITERIA,
    ActivateWhilePruning,
    FollowUp,
    Remove,
    Stage,
    Train,
    criteria_of,
    stages_of,
    watching,
)
from budbreak.iteration.identity import differences
from budbreak.iteration.keeping import load_level, mask_of_level, read_level
from budbreak.iteration.levelrecord import LevelRecord
from budbreak.iteration.levels import Level, Levels
from budbreak.iteration.loop import iterate
from budbreak.iteration.plan import Plan
from budbreak.iteration.preview import Preview
from budbreak.iteration.removing import asked_of, check_last_level
from budbreak.iteration.step import Step
from budbreak.iteration.store import Store, read_records
from budbreak.iteration.targets import LevelTarget

__all__ = [
    "CRITERIA",
    "FOLLOW_UPS",
    "ActivateWhilePruning",
    "Checkpoint",
    "FollowUp",
    "Level",
    "LevelRecord",
    "LevelTarget",
    "Levels",
    "Plan",
    "Preview",
    "Remove",
    "Stage",
    "Step",
    "Store",
    "Train",
    "asked_of",
    "check_last_level",
    "criteria_of",
    "differences",
    "iterate",
    "load_level",
    "mask_of_level",
    "read_level",
    "read_records",
    "stages_of",
    "watching",
]
