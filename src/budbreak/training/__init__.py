"""The training loop behind the command: how it computes, its optimizers and learning-rate schedules."""

from budbreak.training.choice import Device, Engine, Precision, choose_engine, cpu_capabilities
from budbreak.training.engine import evaluate, steps_per_epoch, train_epoch, train_step
from budbreak.training.environment import environment
from budbreak.training.families import OPTIMIZER_FAMILY, RATE_FAMILY, equip
from budbreak.training.fromage import Fromage, FromageOptimizer
from budbreak.training.optimizers import ALL as OPTIMIZERS
from budbreak.training.optimizers import SGD, Adam, AdamW, OptimizerValue
from budbreak.training.rates import ALL as RATES
from budbreak.training.rates import (
    Constant,
    Cosine,
    Foreseen,
    Linear,
    OneCycle,
    Plateau,
    RateSchedule,
    RateScheduler,
    Steps,
)
from budbreak.training.tadam import TAdam, TAdamOptimizer

__all__ = [
    "OPTIMIZERS",
    "OPTIMIZER_FAMILY",
    "RATES",
    "RATE_FAMILY",
    "SGD",
    "Adam",
    "AdamW",
    "Constant",
    "Cosine",
    "Device",
    "Engine",
    "Foreseen",
    "Fromage",
    "FromageOptimizer",
    "Linear",
    "OneCycle",
    "OptimizerValue",
    "Plateau",
    "Precision",
    "RateSchedule",
    "RateScheduler",
    "Steps",
    "TAdam",
    "TAdamOptimizer",
    "choose_engine",
    "cpu_capabilities",
    "environment",
    "equip",
    "evaluate",
    "steps_per_epoch",
    "train_epoch",
    "train_step",
]
