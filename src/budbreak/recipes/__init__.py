"""Recipes: sections that say what is trained and pruned, arms that override some of it, read and checked."""

from budbreak.recipes.fields import Explained, recipe_fields, recipe_values
from budbreak.recipes.learning_sections import WATCHED, DataSection, NetworkSection
from budbreak.recipes.overrides import parse_set
from budbreak.recipes.recipe import Arm, Recipe, make_recipe
from budbreak.recipes.recipefile import import_folders, load_recipe, read_plain, to_toml
from budbreak.recipes.search_sections import ActivationsSection, SearchSection, TuneSection
from budbreak.recipes.sections import Setup, make_parts, make_setup, with_settings
from budbreak.recipes.spelling import in_recipe_words, respelt

__all__ = [
    "WATCHED",
    "ActivationsSection",
    "Arm",
    "DataSection",
    "Explained",
    "NetworkSection",
    "Recipe",
    "SearchSection",
    "Setup",
    "TuneSection",
    "import_folders",
    "in_recipe_words",
    "load_recipe",
    "make_parts",
    "make_recipe",
    "make_setup",
    "parse_set",
    "read_plain",
    "recipe_fields",
    "recipe_values",
    "respelt",
    "to_toml",
    "with_settings",
]
