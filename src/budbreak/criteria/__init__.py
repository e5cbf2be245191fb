"""How much does each weight matter? Each criterion is one file; `ALL` enrols it everywhere."""

from budbreak.criteria.criterion import Criterion
from budbreak.criteria.displacement import Displacement
from budbreak.criteria.gradient import Gradient
from budbreak.criteria.lamp import Lamp
from budbreak.criteria.least_moved_negative import LeastMovedNegative
from budbreak.criteria.lookahead import Lookahead
from budbreak.criteria.magnitude import Magnitude
from budbreak.criteria.random import Random
from budbreak.criteria.taylor import Taylor

ALL = (Displacement, Gradient, Lamp, LeastMovedNegative, Lookahead, Magnitude, Random, Taylor)

__all__ = [
    "ALL",
    "Criterion",
    "Displacement",
    "Gradient",
    "Lamp",
    "LeastMovedNegative",
    "Lookahead",
    "Magnitude",
    "Random",
    "Taylor",
]
