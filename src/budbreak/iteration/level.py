"""One training of one level, as the user's loop sees it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Protocol

from budbreak.checks import check_count
from budbreak.errors import InvalidValue, NotFinite
from budbreak.iteration.record import LevelRecord
from budbreak.masks import Mask


class Session(Protocol):
    """What a level asks of the iteration behind it."""

    @property
    def mask(self) -> Mask: ...  # noqa: D102
    @property
    def history(self) -> tuple[LevelRecord, ...]: ...  # noqa: D102
    def check_running(self, level: int, stage: int, what: str) -> None: ...  # noqa: D102
    def plan_epochs(self, count: int) -> None: ...  # noqa: D102
    def go_on(self) -> int: ...  # noqa: D102
    def epoch_done(self, epochs: int, *, checkpoint: bool) -> None: ...  # noqa: D102
    def note(self, metrics: dict[str, float], *, in_epochs: bool) -> None: ...  # noqa: D102


class Level:
    """One training of one level: weights are pruned, rewound and held when the loop body gets it.

    Attributes:
        number: the level; 0 is dense.
        stage: 0, or 1 and on where a follow-up retrains within the level (AP pro).
        last_stage: whether the level ends with this training.
        start_step: the optimizer step that this training starts from: that of ``rewind_to``, 0 in level 0.
    """

    def __init__(self, session: Session, number: int, stage: int, *, last_stage: bool, start_step: int) -> None:
        self._session, self._mask = session, session.mask
        self.number, self.stage, self.last_stage, self.start_step = number, stage, last_stage, start_step
        self._given = self._in_epochs = False

    def __repr__(self) -> str:
        return f"Level({self.number}, stage {self.stage}, density {self.density:.4f})"

    @property
    def mask(self) -> Mask:
        """What stays in this level."""
        return self._mask

    @property
    def density(self) -> float:
        """Kept / prunable."""
        return self.mask.density

    @property
    def sparsity(self) -> float:
        """Pruned / prunable."""
        return self.mask.sparsity

    @property
    def history(self) -> tuple[LevelRecord, ...]:
        """The records of all trainings that are over, also of those that an earlier session ran."""
        return self._session.history

    def epochs(self, count: int, *, checkpoint_every: int = 1) -> Iterator[int]:
        """The epochs 0 .. count - 1 that are still to do, with a checkpoint after every ``checkpoint_every``-th.

        A resumed level goes on after the last checkpoint, with every generator where it was then.

        Raises:
            InvalidValue: if it is called twice, or with another ``count`` than before the level was killed; at the
                end, if the optimizer that `iterate` was given made no step.
            NotFinite: if a prunable weight is NaN or infinite after an epoch; that epoch is not stored.
        """
        check_count("count", count)
        check_count("checkpoint_every", checkpoint_every)
        self._session.check_running(self.number, self.stage, f"epochs({count})")
        if self._given:
            raise InvalidValue(
                f"epochs({count}), the second time in level {self.number}",
                "a level's epochs are counted from 0 to the number that is given once",
                "give them all in one call",
            )
        self._session.plan_epochs(count)
        self._given = True
        return self._count_epochs(count, checkpoint_every)

    def _count_epochs(self, count: int, checkpoint_every: int) -> Iterator[int]:
        self._in_epochs = True
        try:
            for epoch in range(self._session.go_on(), count):
                yield epoch
                last = epoch + 1 == count
                self._session.epoch_done(epoch + 1, checkpoint=last or (epoch + 1) % checkpoint_every == 0)
        finally:
            self._in_epochs = False

    def record(self, **metrics: float) -> None:
        """Keep measured numbers with this level, e.g. ``level.record(accuracy=0.98)``.

        Raises:
            InvalidValue: if a value is no number, or the level is over.
            NotFinite: if it is NaN or infinite.
        """
        checked = {name: _number(name, value) for name, value in metrics.items()}
        self._session.check_running(self.number, self.stage, "record()")
        self._session.note(checked, in_epochs=self._in_epochs)


def _number(name: str, value: object) -> float:
    try:
        number = float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        raise InvalidValue(f"record({name}={value!r})", "a metric is a number", f"give {name}=float(...)") from None
    if not math.isfinite(number):
        raise NotFinite(
            f"record({name}={number})", "a metric is finite", "the training diverged: lower the learning rate"
        )
    return number
