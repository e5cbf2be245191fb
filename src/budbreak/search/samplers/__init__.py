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
_DRAWN = {"(?i)rs": '"random-search"'}
_BAYESIAN = {"(?i)bo|bohb|bayes.*|optuna": '"tpe"'}
_MOVING = {
    "(?i)lahc": '"late-acceptance"',
    "(?i)ga|evolution.*": '"genetic"',
    "(?i)sa|anneal.*": '"simulated-annealing"',
}
_NO_TUNERS = {"(?i)lahc|late.*|ga|genetic.*|sa|.*anneal.*": '"tpe"'}  # they move among activations alone
FAMILY = Family.of(
    "sampler",
    ALL,
    needs=("propose",),
    call=False,
    example='"late-acceptance"',
    meant={**_DRAWN, **_BAYESIAN, **_MOVING},
)
TUNER_FAMILY = Family.of(
    "tuner", TUNERS, needs=("propose",), call=False, example='"tpe"', meant={**_DRAWN, **_BAYESIAN, **_NO_TUNERS}
)

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
