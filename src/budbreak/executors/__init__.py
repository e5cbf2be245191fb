"""Who computes tasks, in which order: this process, processes of this machine, or a Ray cluster."""

from budbreak.executors.executors import EXECUTORS, check_executor, open_executor, usual_executor
from budbreak.executors.scheduling import Failure, Task, carry_out

__all__ = [
    "EXECUTORS",
    "Failure",
    "Task",
    "carry_out",
    "check_executor",
    "open_executor",
    "usual_executor",
]
