"""The training loop behind the command, and how it computes."""

from budbreak.training.choice import Device, Engine, Precision, choose_engine, cpu_capabilities
from budbreak.training.engine import evaluate, make_sgd, steps_per_epoch, train_epoch, train_step
from budbreak.training.environment import environment

__all__ = [
    "Device",
    "Engine",
    "Precision",
    "choose_engine",
    "cpu_capabilities",
    "environment",
    "evaluate",
    "make_sgd",
    "steps_per_epoch",
    "train_epoch",
    "train_step",
]
