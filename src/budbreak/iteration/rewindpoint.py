"""Takes the snapshot that later levels rewind to, at its step of level 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from budbreak.errors import InvalidValue
from budbreak.rewinding import Resettable, Snapshot, TrainingState
from budbreak.step import Step


class RewindPoint:
    """Weights and buffers after step k; optimizer and ``resets`` just before step k + 1.

    The scheduler of step k runs after the optimizer's step, and the forward pass of step k + 1 already moves the
    buffers: so the two halves are copied at two moments.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.snapshot: Snapshot | None = None
        self.training: TrainingState | None = None

    @property
    def complete(self) -> bool:
        """Whether both halves are there."""
        return self.training is not None

    def after_step(self, steps: int, model: nn.Module) -> None:
        """Copy the model if this is the moment."""
        if self.snapshot is None and steps == self.step.count:
            self.snapshot = Snapshot.of(model)

    def settle(self, optimizer: Optimizer, resets: Sequence[Resettable]) -> None:
        """Copy the rest if the model has been copied: before the next step, or at an epoch's or level's end.

        Raises:
            InvalidValue: if the optimizer has other groups by now, which could not be put back.
        """
        if self.training is not None:
            self.training.check_groups(optimizer)
        elif self.snapshot is not None:
            self.training = TrainingState.of(optimizer, resets)

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
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> RewindPoint:
        """The point that was stored."""
        point = cls(Step(tree["step"]))
        point.snapshot = Snapshot(tree["state"], tree["digest"], tree["extra"])
        point.training = TrainingState(tuple(tree["optimizers"]), tuple(tree["resets"]))
        return point
