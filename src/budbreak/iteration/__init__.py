"""Plan, level, iterate: prune iteratively around the user's own training loop."""

from budbreak.iteration.checkpoint import Checkpoint
from budbreak.iteration.describing import describe
from budbreak.iteration.ending import Ending, EndingRule, PastEpoch, SoFar
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
from budbreak.iteration.gates import ALL as ENDING_RULES
from budbreak.iteration.gates import AccuracyGates, EarlyStop
from budbreak.iteration.generators import derive_seed, seed_everything
from budbreak.iteration.identity import differences, mask_digest, numerical_environment
from budbreak.iteration.keeping import load_level, mask_of_level, read_level
from budbreak.iteration.levelrecord import LevelRecord
from budbreak.iteration.levels import Level, Levels
from budbreak.iteration.levelweights import LevelWeights
from budbreak.iteration.loop import iterate
from budbreak.iteration.plan import Plan
from budbreak.iteration.preview import Preview
from budbreak.iteration.remover import asked_of, check_last_level, check_last_paths
from budbreak.iteration.step import Step
from budbreak.iteration.store import IdentityFile, Store, check_folder, read_records, warn_of_changes
from budbreak.iteration.targets import LevelTarget

__all__ = [
    "CRITERIA",
    "ENDING_RULES",
    "FOLLOW_UPS",
    "AccuracyGates",
    "ActivateWhilePruning",
    "Checkpoint",
    "EarlyStop",
    "Ending",
    "EndingRule",
    "FollowUp",
    "IdentityFile",
    "Level",
    "LevelRecord",
    "LevelTarget",
    "LevelWeights",
    "Levels",
    "PastEpoch",
    "Plan",
    "Preview",
    "Remove",
    "SoFar",
    "Stage",
    "Step",
    "Store",
    "Train",
    "asked_of",
    "check_folder",
    "check_last_level",
    "check_last_paths",
    "criteria_of",
    "derive_seed",
    "describe",
    "differences",
    "iterate",
    "load_level",
    "mask_digest",
    "mask_of_level",
    "numerical_environment",
    "read_level",
    "read_records",
    "seed_everything",
    "stages_of",
    "warn_of_changes",
    "watching",
]
