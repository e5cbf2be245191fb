"""How much does each weight matter? Each criterion is one file; `ALL` enrols it everywhere."""

from budbreak.criteria.activation_count import ActivationCount
from budbreak.criteria.apoz import APoZ
from budbreak.criteria.criterion import Criterion, scope_of
from budbreak.criteria.displacement import Displacement
from budbreak.criteria.gradient import Gradient
from budbreak.criteria.grasp import GraSP
from budbreak.criteria.lamp import Lamp
from budbreak.criteria.least_moved_negative import LeastMovedNegative
from budbreak.criteria.lookahead import Lookahead
from budbreak.criteria.magnitude import Magnitude
from budbreak.criteria.movement import Movement
from budbreak.criteria.random import Random
from budbreak.criteria.ria import RIA
from budbreak.criteria.snip import Snip
from budbreak.criteria.synflow import SynFlow
from budbreak.criteria.taylor import Taylor
from budbreak.criteria.wanda import Wanda

ALL = (
    ActivationCount,
    APoZ,
    Displacement,
    Gradient,
    GraSP,
    Lamp,
    LeastMovedNegative,
    Lookahead,
    Magnitude,
    Movement,
    Random,
    RIA,
    Snip,
    SynFlow,
    Taylor,
    Wanda,
)

__all__ = [
    "ALL",
    "RIA",
    "APoZ",
    "ActivationCount",
    "Criterion",
    "Displacement",
    "GraSP",
    "Gradient",
    "Lamp",
    "LeastMovedNegative",
    "Lookahead",
    "Magnitude",
    "Movement",
    "Random",
    "Snip",
    "SynFlow",
    "Taylor",
    "Wanda",
    "scope_of",
]
