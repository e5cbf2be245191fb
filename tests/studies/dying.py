"""A task whose process is killed in the middle of it, for certain: it does so itself."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from budbreak.studies.task import Task
from budbreak.studies.training import carry_out_task


def die_once(folder: Path, task: Task) -> None:
    """Carry out a task; where it prunes, its first process dies while it goes on from its first checkpoint.

    Args:
        folder: gets a file for each task that has met its death, named by its kind and identity.
    """
    met = folder / task.folder.name

    def tell() -> None:
        if (task.folder / "checkpoint.safetensors").exists() and not met.exists():
            met.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    carry_out_task(task, tell if task.needs else None)
