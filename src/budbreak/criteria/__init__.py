"""How much does each weight matter? Each criterion is one file; `ALL` enrols it everywhere."""

from budbreak.criteria.activation_count import ActivationCount
from budbreak.criteria.criterion import Criterion
from budbreak.criteria.displacement import Displacement
from budbreak.criteria.gradient import Gradient
from budbreak.criteria.lamp import Lamp
from budbreak.criteria.least_moved_negative import LeastMovedNegative
from budbreak.criteria.magnitude import Magnitude
from budbreak.criteria.movement import Movement
from budbreak.criteria.random import Random
from budbreak.criteria.taylor import Taylor

ALL = (ActivationCount, Displacement, Gradient, Lamp, LeastMovedNegative, Magnitude, Movement, Random, Taylor)

__all__ = [
    "ALL",
    "ActivationCount",
    "Criterion",
    "Displacement",
    "Gradient",
    "Lamp",
    "LeastMovedNegative",
    "Magnitude",
    "Movement",
    "Random",
    "Taylor",
]
