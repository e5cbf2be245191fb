"""What to try next? Pure values, one file each. `ALL` enrols them everywhere."""

from budbreak.search.samplers.genetic import Genetic
from budbreak.search.samplers.late_acceptance import LateAcceptance
from budbreak.search.samplers.random import Random
from budbreak.search.samplers.simulated_annealing import SimulatedAnnealing
from budbreak.values import Family

ALL = (Genetic, LateAcceptance, Random, SimulatedAnnealing)
FAMILY = Family.of("sampler", ALL, needs=("propose",), call=False, example='"late-acceptance"')

__all__ = ["ALL", "FAMILY", "Genetic", "LateAcceptance", "Random", "SimulatedAnnealing"]
