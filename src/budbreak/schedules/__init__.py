"""How sparse, when? Each schedule is one file; `ALL` enrols it in the contract tests."""

from budbreak.schedules.cubic import Cubic
from budbreak.schedules.decaying import Decaying
from budbreak.schedules.dense import Dense
from budbreak.schedules.geometric import Geometric
from budbreak.schedules.layer_by_layer import LayerByLayer
from budbreak.schedules.one_shot import OneShot
from budbreak.schedules.progress import NotForeseen, Progress, Schedule, foresee, reads_of

ALL = (Cubic, Decaying, Dense, Geometric, LayerByLayer, OneShot)

__all__ = [
    "ALL",
    "Cubic",
    "Decaying",
    "Dense",
    "Geometric",
    "LayerByLayer",
    "NotForeseen",
    "OneShot",
    "Progress",
    "Schedule",
    "foresee",
    "reads_of",
]
