"""How the learning rate goes over a training. Each schedule is one file; `ALL` enrols it in the contract tests."""

from budbreak.training.rates.constant import Constant
from budbreak.training.rates.cosine import Cosine
from budbreak.training.rates.linear import Linear
from budbreak.training.rates.one_cycle import OneCycle
from budbreak.training.rates.plateau import Plateau
from budbreak.training.rates.scheduler import Foreseen, RateSchedule, RateScheduler
from budbreak.training.rates.steps import Steps

ALL = (Constant, Cosine, Linear, OneCycle, Plateau, Steps)

__all__ = [
    "ALL",
    "Constant",
    "Cosine",
    "Foreseen",
    "Linear",
    "OneCycle",
    "Plateau",
    "RateSchedule",
    "RateScheduler",
    "Steps",
]
