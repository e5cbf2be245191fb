"""What later levels rewind to: a model after step k, and what trains it just before step k + 1."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from budbreak.errors import InvalidValue
from budbreak.files import corrupt
from budbreak.iteration.checkpoint import check_keys, check_ranks, check_tensors, training_from
from budbreak.iteration.step import Step
from budbreak.live import Resettable, Snapshot, TrainingState, state_digest

NO_REWIND_POINT = "restore it from a copy, or begin again in another folder: no later level can do without it"


class RewindPoint:
    """Weights and buffers after step k; optimizer and ``resets`` just before step k + 1.

    The scheduler of step k runs after the optimizer's step, and the forward pass of step k + 1 already moves the
    buffers: so the two halves are copied at two moments.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.snapshot: Snapshot | None = None
        self.training: TrainingState | None = None
        self.ranks: Sequence[Any] = ()  # what the other processes have otherwise, see `SharedStore`

    @property
    def complete(self) -> bool:
        """Whether both halves are there."""
        return self.training is not None

    def after_step(self, steps: int, model: nn.Module) -> None:
        """Copy the model if this is the moment."""
        if self.snapshot is None and steps == self.step.count:
            self.snapshot = Snapshot.of(model)

    def settle(self, optimizers: Sequence[Optimizer], resets: Sequence[Resettable]) -> None:
        """Copy the rest if the model has been copied: before the next step, or at an epoch's or level's end.

        Raises:
            InvalidValue: if an optimizer has other groups by now, which could not be put back.
        """
        if self.training is not None:
            self.training.check_groups(optimizers)
        elif self.snapshot is not None:
            self.training = TrainingState.of(optimizers, resets)

    def get(self) -> tuple[Snapshot, TrainingState]:
        """Both halves.

        Raises:
            InvalidValue: if level 0 ended before the step came.
        """
        if self.snapshot is None or self.training is None:
            raise InvalidValue(
                f"rewind_to is {self.step}, but level 0 ended earlier",
                "the step to rewind to lies within the training of level 0",
                "rewind to an earlier step, or train level 0 for longer",
            )
        return self.snapshot, self.training

    def tree(self) -> dict[str, Any]:
        """What `from_tree` takes."""
        snapshot, training = self.get()
        return {
            "step": self.step.count,
            "state": dict(snapshot.state),
            "digest": snapshot.digest,
            "extra": dict(snapshot.extra),
            "optimizers": training.optimizers,
            "resets": training.resets,
            "ranks": list(self.ranks),
        }

    @classmethod
    def from_tree(cls, tree: Any, path: Path) -> RewindPoint:
        """The point that was stored in the file ``path``.

        Raises:
            CorruptFile: if it has not the structure of one, or its state not the digest that it had.
        """
        check_keys(tree, {"step", "state", "extra", "digest", "optimizers", "resets", "ranks"}, path, NO_REWIND_POINT)
        check_tensors(tree, ("state",), path, NO_REWIND_POINT)
        known = isinstance(tree["step"], int) and tree["step"] >= 0 and isinstance(tree["extra"], dict)
        if not known or state_digest(tree["state"], tree["extra"]) != tree["digest"]:
            raise corrupt(path, "its state is not the one of its step and digest", NO_REWIND_POINT)
        check_ranks(tree, path, NO_REWIND_POINT)
        point = cls(Step(tree["step"]))
        point.ranks = tree["ranks"]
        point.snapshot = Snapshot(tree["state"], tree["digest"], tree["extra"])
        point.training = training_from(tree, path, NO_REWIND_POINT)
        return point
