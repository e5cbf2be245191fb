"""Where an iteration stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budbreak.iteration.plan import Plan
from budbreak.iteration.rates import Rates
from budbreak.iteration.removal import Removal


@dataclass(frozen=True)
class LevelRecord:
    """One training of one level.

    Args:
        level: 0 is dense; ``stage``: 0, or 1 and on for follow-ups that retrain; ``last_stage``: whether the level
            ends here.
        kept: weights that stay, of ``total`` prunable ones; ``density`` = kept / total.
        density_all: parameters that are not pruned / all parameters of the model.
        counted: what the schedule counts, "weights" or "units", of which ``counted_kept`` of ``counted_total`` stay;
            ``spared``: the weights whose units are never pruned, and are not counted (the classifier's).
        host_removed: by the host before this training; ``follow_ups_removed``: by each follow-up, in the plan's
            order; ``shortfall``: what follow-ups could not remove, and the host took instead.
        steps: optimizer steps in this training; ``epochs``: those that `Level.epochs` counted; ``seconds``: its
            wall-clock time over all sessions.
        rewound: SHA-256 of the state after rewinding; None where nothing was rewound.
        mask_digest, end_digest: SHA-256 of the mask, and of the state at the end.
        metrics: what the user recorded.
        invariants: what was asserted, and held.
        world_size: how many processes trained together; the record is that of rank 0, on all of them.
    """

    level: int
    stage: int
    last_stage: bool
    kept: int
    total: int
    density: float
    density_all: float
    counted: str
    counted_kept: int
    counted_total: int
    spared: tuple[str, ...]
    host_removed: int
    follow_ups_removed: tuple[int, ...]
    shortfall: int
    steps: int
    epochs: int
    seconds: float
    rewound: str | None
    mask_digest: str
    end_digest: str
    metrics: Mapping[str, float]
    invariants: Mapping[str, bool]
    world_size: int = 1


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


def in_words(here: Position, plan: Plan, records: Sequence[LevelRecord]) -> str:
    """Where an earlier session had come to, and what is left."""
    of = f"level {here.level} of {plan.levels}"
    if here.ended and here.level == plan.levels and here.stage + 1 == plan.stages(here.level):
        epochs = sorted({record.epochs for record in records} - {0})
        had = f" (trainings of {' and '.join(map(str, epochs))} epochs)" if epochs else ""
        return f"going on from {of}: nothing left to train{had}"
    done = "done" if here.ended else f"{here.epochs} of its epochs are done"
    return f"going on from {of}, stage {here.stage}: {done}"
