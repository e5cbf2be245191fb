"""A moment in training, counted in optimizer steps."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.checks import check_count


@dataclass(frozen=True, order=True)
class Step:
    """The moment after ``count`` optimizer steps; 0 is initialization.

    >>> Step.of_epochs(2, steps_per_epoch=390)
    Step(count=780)
    """

    count: int

    def __post_init__(self) -> None:
        check_count("Step.count", self.count, least=0)

    @classmethod
    def start(cls) -> Step:
        """Initialization: before the first step."""
        return cls(0)

    @classmethod
    def of_epochs(cls, epochs: int, *, steps_per_epoch: int) -> Step:
        """The moment after whole epochs of ``steps_per_epoch`` optimizer steps each."""
        check_count("epochs", epochs, least=0)
        check_count("steps_per_epoch", steps_per_epoch)
        return cls(epochs * steps_per_epoch)
