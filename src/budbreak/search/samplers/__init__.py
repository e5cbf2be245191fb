"""What to try next? Pure values, one file each. `ALL` enrols them everywhere; `TUNERS` choose settings, too."""

from budbreak.search.samplers.genetic import Genetic
from budbreak.search.samplers.late_acceptance import LateAcceptance
from budbreak.search.samplers.random_search import RandomSearch
from budbreak.search.samplers.simulated_annealing import SimulatedAnnealing
from budbreak.search.samplers.smac import SMAC
from budbreak.search.samplers.tpe import TPE
from budbreak.values import Family

ALL = (SMAC, TPE, Genetic, LateAcceptance, RandomSearch, SimulatedAnnealing)
TUNERS = (SMAC, TPE, RandomSearch)
FAMILY = Family.of("sampler", ALL, needs=("propose",), call=False, example='"late-acceptance"')
TUNER_FAMILY = Family.of("tuner", TUNERS, needs=("propose",), call=False, example='"tpe"')

__all__ = [
    "ALL",
    "FAMILY",
    "SMAC",
    "TPE",
    "TUNERS",
    "TUNER_FAMILY",
    "Genetic",
    "LateAcceptance",
    "RandomSearch",
    "SimulatedAnnealing",
]
