"""What is recorded of one training of one level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class LevelRecord:
    """One training of one level.

    Args:
        level: 0 is dense; ``stage``: which of its level's trainings, 0 or after as many `Train`; ``last_stage``:
            whether the level ends here.
        kept: weights that stay, of ``total`` prunable ones; ``density`` = kept / total.
        density_all: parameters that are not pruned / all parameters of the model.
        counted: what the schedule counts, "weights", "units" or "blocks", of which ``counted_kept`` of
            ``counted_total`` stay; "weights at most": a budget, where ``kept`` says what was reached; ``spared``: the
            weights whose units are never pruned, and are not counted (the classifier's).
        host_removed: by the host before this training; ``follow_ups_removed``: by each `Remove` of the plan, in
            their order; ``shortfall``: what they could not remove, and the host took instead.
        exchanged: so many weights came in for others before this training, so that each class keeps a path from an
            input; None where the plan does not ask for that, or nothing was removed.
        steps: optimizer steps in this training (of several optimizers, those that all of them made); ``epochs``:
            those that `Level.epochs` counted, fewer than were planned where it was stopped; ``seconds``: its wall-clock
            time over all sessions.
        rewound: SHA-256 of the state after rewinding; None where nothing was rewound.
        mask_digest, end_digest: SHA-256 of the mask, and of the state at the end.
        metrics: what the user recorded.
        invariants: what was asserted, and held.
        ending: what a rule that ends trainings says was not reached, e.g. a gate; empty where nothing is amiss.
        world_size: how many processes trained together; the record is that of rank 0, on all of them.
        closes: whether the iteration ended with this training, before its last level.
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
    world_size: int
    ending: str = ""
    closes: bool = False
    exchanged: int | None = None
