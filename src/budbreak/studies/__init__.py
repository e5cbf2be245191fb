"""Recipes, arms and seeds: what the command runs, and how it is compared."""

from budbreak.studies.bench import Bench
from budbreak.studies.between import between, distinct_names
from budbreak.studies.compacting import BATCH_SIZES, COMPACTION, is_compaction
from budbreak.studies.compare import paired_differences
from budbreak.studies.costs import Cost, costs
from budbreak.studies.executors import EXECUTORS, check_executor, open_executor, usual_executor
from budbreak.studies.fields import Explained, recipe_fields, recipe_values
from budbreak.studies.folder import TASKS, read_tasks
from budbreak.studies.histories import Histories, run_of_histories
from budbreak.studies.inspect import Request, Subject, find_subject, measure_subject, save_measurement
from budbreak.studies.intervals import Estimate, estimate, holm
from budbreak.studies.leaving import BEST, MAX_DROP, Leaving, best_level, find_leaving
from budbreak.studies.listing import StoredRun, list_runs
from budbreak.studies.lookahead import Overview, duration, epochs_of_choice, look_ahead, share_cores
from budbreak.studies.making import make_plan, prepare_data
from budbreak.studies.measuring import BATCH, measure
from budbreak.studies.notes import Notes
from budbreak.studies.overrides import parse_set
from budbreak.studies.prunednetwork import train_once
from budbreak.studies.recipe import Arm, Recipe, make_recipe
from budbreak.studies.recipefile import import_folders, load_recipe
from budbreak.studies.result import (
    TEST_ACCURACY,
    TRAIN_LOSS,
    TRAINING,
    VALIDATION_ACCURACY,
    ArmResult,
    Difference,
    EpochResult,
    LayerResult,
    LevelResult,
    RunResult,
    load_result,
)
from budbreak.studies.retraining import WORDS as RETRAINED
from budbreak.studies.rows import difference_rows, level_rows, to_csv, to_json
from budbreak.studies.run import Choice, RunFailed, run
from budbreak.studies.searched import Searched, read_searched
from budbreak.studies.sections import Setup, make_setup
from budbreak.studies.stored import StoredWeights, stored_weights
from budbreak.studies.subject import is_ap, subject
from budbreak.studies.task import Place
from budbreak.studies.taskfolder import read_task
from budbreak.studies.trainer import Trainer
from budbreak.studies.trialfile import is_search
from budbreak.studies.watching import Event

__all__ = [
    "BATCH",
    "BATCH_SIZES",
    "BEST",
    "COMPACTION",
    "EXECUTORS",
    "MAX_DROP",
    "RETRAINED",
    "TASKS",
    "TEST_ACCURACY",
    "TRAINING",
    "TRAIN_LOSS",
    "VALIDATION_ACCURACY",
    "Arm",
    "ArmResult",
    "Bench",
    "Choice",
    "Cost",
    "Difference",
    "EpochResult",
    "Estimate",
    "Event",
    "Explained",
    "Histories",
    "LayerResult",
    "Leaving",
    "LevelResult",
    "Notes",
    "Overview",
    "Place",
    "Recipe",
    "Request",
    "RunFailed",
    "RunResult",
    "Searched",
    "Setup",
    "StoredRun",
    "StoredWeights",
    "Subject",
    "Trainer",
    "best_level",
    "between",
    "check_executor",
    "costs",
    "difference_rows",
    "distinct_names",
    "duration",
    "epochs_of_choice",
    "estimate",
    "find_leaving",
    "find_subject",
    "holm",
    "import_folders",
    "is_ap",
    "is_compaction",
    "is_search",
    "level_rows",
    "list_runs",
    "load_recipe",
    "load_result",
    "look_ahead",
    "make_plan",
    "make_recipe",
    "make_setup",
    "measure",
    "measure_subject",
    "open_executor",
    "paired_differences",
    "parse_set",
    "prepare_data",
    "read_searched",
    "read_task",
    "read_tasks",
    "recipe_fields",
    "recipe_values",
    "run",
    "run_of_histories",
    "save_measurement",
    "share_cores",
    "stored_weights",
    "subject",
    "to_csv",
    "to_json",
    "train_once",
    "usual_executor",
]
