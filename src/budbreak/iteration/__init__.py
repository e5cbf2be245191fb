"""Plan, level, iterate: prune iteratively around the user's own training loop."""

from budbreak.iteration.checkpoint import Checkpoint
from budbreak.iteration.followups import ALL as FOLLOW_UPS
from budbreak.iteration.followups import ActivateWhilePruning, FollowUp, Retrain, SplitRemoval
from budbreak.iteration.identity import differences
from budbreak.iteration.levels import Level, Levels
from budbreak.iteration.loop import iterate
from budbreak.iteration.plan import LevelTarget, Plan
from budbreak.iteration.preview import Preview
from budbreak.iteration.state import LevelRecord
from budbreak.iteration.step import Step
from budbreak.iteration.store import Store, read_records

__all__ = [
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
    "Retrain",
    "SplitRemoval",
    "Step",
    "Store",
    "differences",
    "iterate",
    "read_records",
]
