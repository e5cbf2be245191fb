"""A task that is met in the middle, for certain: it waits there, and kills its process itself."""

from __future__ import annotations

import itertools
import os
import signal
import time
from pathlib import Path

from budbreak.studies.task import Task
from budbreak.studies.training import carry_out_task


def die_once(folder: Path, task: Task) -> None:
    """Carry out a task; where it prunes, its first process dies within its second epoch, once the first was seen.

    Args:
        folder: gets a file ``died NAME`` for each task that has met its death; whoever has been told of an epoch of
            it puts one there that is called as the task.
    """
    died, told = folder / f"died {task.name}", itertools.count()

    def tell() -> None:
        if next(told) == 1 and not died.exists():  # 0: what was measured before the first epoch
            while not (folder / task.name).exists():
                time.sleep(0.01)
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    carry_out_task(task, tell if task.needs else None)
