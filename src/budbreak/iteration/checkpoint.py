"""Where an iteration stands, and all that is needed to go on from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from budbreak.iteration.rates import Rates
from budbreak.iteration.record import LevelRecord
from budbreak.iteration.removal import Removal
from budbreak.mask import Mask
from budbreak.rewinding import TrainingState


@dataclass(frozen=True)
class Position:
    """Where an iteration stands.

    Args:
        level, stage: the training that runs, or that ended last.
        alive: things alive before this level.
        epochs: done in this training; ``ended``: whether it is over and recorded.
        steps: optimizer steps in all trainings; ``first_step``: of them, before this training;
            ``level_step``: before this level, which is when its schedule was asked.
        host, follow_ups, shortfall: see `Removal`.
        rewound: hash of the state after rewinding, or None.
        seconds: this training took in earlier sessions.
        metrics: recorded so far in this training; ``noted``: after how many steps, outside its epochs, at last.
        planned: epochs that this training has, where it was said.
        first_rates: learning rates at the first step of level 0; see `budbreak.iteration.rates`.
    """

    level: int
    stage: int
    alive: int
    epochs: int = 0
    ended: bool = False
    steps: int = 0
    first_step: int = 0
    level_step: int = 0
    host: int = 0
    follow_ups: tuple[int, ...] = ()
    shortfall: int = 0
    rewound: str | None = None
    seconds: float = 0.0
    metrics: Mapping[str, float] | None = None
    first_rates: Rates | None = None
    noted: int | None = None
    planned: int | None = None

    @property
    def over(self) -> bool:
        """Whether the body has done all of this training, as far as can be known."""
        return not self.ended and (self.epochs == self.planned or self.noted == self.steps)


@dataclass(frozen=True)
class Checkpoint:
    """All that is needed to go on bit for bit, besides the rewind point."""

    position: Position
    mask: Mask
    records: tuple[LevelRecord, ...]
    model: Mapping[str, Tensor]
    extra: Mapping[str, Any]
    start_weights: Mapping[str, Tensor]
    training: TrainingState
    generators: dict[str, Any]

    def tree(self) -> dict[str, Any]:
        """What `from_tree` takes."""
        return {
            "position": asdict(self.position),
            "mask": dict(self.mask),
            "records": [asdict(record) for record in self.records],
            "model": dict(self.model),
            "start_weights": dict(self.start_weights),
            "extra": dict(self.extra),
            "optimizers": self.training.optimizers,
            "resets": self.training.resets,
            "generators": self.generators,
        }

    @classmethod
    def from_tree(cls, tree: dict[str, Any]) -> Checkpoint:
        """The checkpoint that was stored."""
        return cls(
            position=Position(**tree["position"]),
            mask=Mask(tree["mask"]),
            records=tuple(LevelRecord(**record) for record in tree["records"]),
            model=tree["model"],
            extra=tree["extra"],
            start_weights=tree["start_weights"],
            training=TrainingState(tuple(tree["optimizers"]), tuple(tree["resets"])),
            generators=tree["generators"],
        )


def begun(
    level: int, stage: int, *, alive: int, before: Position | None, removal: Removal | None, rewound: str | None
) -> Position:
    """The position at the beginning of a training; ``before`` is where the training before it ended."""
    steps = before.steps if before else 0
    host, follow_ups, short = (removal.host, removal.follow_ups, removal.shortfall) if removal else (0, (), 0)
    return Position(
        level,
        stage,
        alive,
        steps=steps,
        first_step=steps,
        level_step=before.level_step if before and stage > 0 else steps,
        host=host,
        follow_ups=follow_ups,
        shortfall=short,
        rewound=rewound,
        first_rates=before.first_rates if before else None,
    )
