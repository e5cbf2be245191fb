"""Recipes, arms and seeds: what the command runs, and how it is compared."""

from budbreak.studies.inspect import find_subject, measure, save_measurement
from budbreak.studies.intervals import Estimate, estimate, holm, p_value
from budbreak.studies.lookahead import look_ahead
from budbreak.studies.recipe import Recipe, field_types
from budbreak.studies.recipefile import load_recipe, overridden
from budbreak.studies.result import LayerResult, LevelResult, PairedDifference, RunResult, load_result
from budbreak.studies.run import Event, run

__all__ = [
    "Estimate",
    "Event",
    "LayerResult",
    "LevelResult",
    "PairedDifference",
    "Recipe",
    "RunResult",
    "estimate",
    "field_types",
    "find_subject",
    "holm",
    "load_recipe",
    "load_result",
    "look_ahead",
    "measure",
    "overridden",
    "p_value",
    "run",
    "save_measurement",
]
