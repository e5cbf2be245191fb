"""Recipes, arms and seeds: what the command runs, and how it is compared."""

from budbreak.studies.bench import Bench
from budbreak.studies.folder import TASKS, read_tasks
from budbreak.studies.inspect import Request, Subject, find_subject, measure_subject, save_measurement
from budbreak.studies.leaving import BEST, MAX_DROP, Leaving, best_level, dense_alone, find_leaving
from budbreak.studies.listing import StoredRun, list_runs
from budbreak.studies.lookahead import Overview, duration, epochs_of_choice, look_ahead, share_cores
from budbreak.studies.making import make_plan, prepare_data
from budbreak.studies.measuring import BATCH, measure
from budbreak.studies.prunednetwork import train_once
from budbreak.studies.run import Choice, RunFailed, run
from budbreak.studies.searched import Searched, read_searched
from budbreak.studies.stored import StoredWeights, stored_weights
from budbreak.studies.task import Place
from budbreak.studies.taskfolder import read_task
from budbreak.studies.trainer import Trainer
from budbreak.studies.trialfile import is_search
from budbreak.studies.watching import Event

__all__ = [
    "BATCH",
    "BEST",
    "MAX_DROP",
    "TASKS",
    "Bench",
    "Choice",
    "Event",
    "Leaving",
    "Overview",
    "Place",
    "Request",
    "RunFailed",
    "Searched",
    "StoredRun",
    "StoredWeights",
    "Subject",
    "Trainer",
    "best_level",
    "dense_alone",
    "duration",
    "epochs_of_choice",
    "find_leaving",
    "find_subject",
    "is_search",
    "list_runs",
    "look_ahead",
    "make_plan",
    "measure",
    "measure_subject",
    "prepare_data",
    "read_searched",
    "read_task",
    "read_tasks",
    "run",
    "save_measurement",
    "share_cores",
    "stored_weights",
    "train_once",
]
