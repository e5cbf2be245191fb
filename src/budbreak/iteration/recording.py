"""The end of a training: what must hold then, and its record."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.optim import Optimizer

from budbreak.errors import InvariantBroken, NotFinite
from budbreak.iteration.identity import Setup, mask_digest
from budbreak.iteration.levelrecord import LevelRecord
from budbreak.iteration.state import DEFECT, State, target_of
from budbreak.live import check_ownership, check_zeros, model_digest
from budbreak.masks import has_budget, unwrap


def make_record(setup: Setup, state: State, optimizers: Sequence[Optimizer], *, seconds: float) -> LevelRecord:
    """The record of the training that is over, once what must hold was asserted.

    Args:
        setup: with the live model.
        state: with the training.
        optimizers: that trained it; none where none was attached.
        seconds: that it took.

    Raises:
        InvariantBroken, ForeignParameter, NotFinite: with what does not hold.
    """
    here, mask, model, plan = state.here, state.mask, setup.model, setup.plan
    everything = sum(parameter.numel() for parameter in model.parameters())
    total, alive = plan.count(mask)
    last = here.stage + 1 == plan.trainings_of(here.level)
    target = target_of(state, plan, here.level)
    return LevelRecord(
        level=here.level,
        stage=here.stage,
        last_stage=last,
        kept=mask.kept,
        total=mask.total,
        density=mask.density,
        density_all=(everything - mask.total + mask.kept) / everything,
        counted=plan.granularity.counted,
        counted_kept=target.keep if last and has_budget(plan.granularity) else alive,
        counted_total=total,
        spared=tuple(plan.granularity.spared),
        host_removed=here.host,
        follow_ups_removed=here.follow_ups,
        shortfall=here.shortfall,
        steps=here.steps - here.first_step,
        epochs=here.epochs,
        seconds=seconds,
        rewound=here.rewound,
        mask_digest=mask_digest(mask),
        end_digest=model_digest(model),
        metrics=dict(here.metrics or {}),
        invariants=assert_invariants(setup, state, optimizers, keep=target.keep if last else alive),
        world_size=setup.processes.size,
        ending=here.ending,
        closes=here.closes == "now",
        exchanged=here.exchanged,
    )


def assert_invariants(setup: Setup, state: State, optimizers: Sequence[Optimizer], *, keep: int) -> dict[str, bool]:
    """Assert what must hold after a training; every entry of the result is True.

    Args:
        setup: with the live model.
        state: with the mask of this training, and the one before.
        optimizers: that trained it; none where none was attached, and nothing has moved.
        keep: how many weights (units) should stay.

    Raises:
        InvariantBroken, ForeignParameter, NotFinite: with what does not hold.
    """
    mask = state.mask
    check_zeros(setup.model, mask)
    if optimizers:
        check_ownership(optimizers, mask.parameters(setup.model))
    check_finite(setup.model)
    _, kept = setup.plan.count(mask)
    exact = not has_budget(setup.plan.granularity)
    if keep < kept or (exact and keep != kept):
        raise InvariantBroken(f"{kept} stay", f"the schedule says {keep}", DEFECT)
    if not mask.is_within(state.before):
        raise InvariantBroken("a pruned weight came back", "masks only shrink", DEFECT)
    invariants = {
        "zeros held": True,
        **({"optimizer holds the live parameters": True} if optimizers else {}),
        "parameters finite": True,
        "exact count" if exact else "within budget": True,
        "nothing revived": True,
        "no layer collapsed": not mask.collapsed(),
        **({"classes connected": True} if state.here.exchanged is not None else {}),
    }
    return invariants if state.here.rewound is None else {**invariants, "rewinding verified": True}


def check_finite(model: nn.Module) -> None:
    """Assert that no parameter is NaN or infinite.

    Raises:
        NotFinite: with the layer.
    """
    for name, parameter in unwrap(model).named_parameters():
        if not bool(torch.isfinite(parameter.detach()).all()):
            raise NotFinite(
                f"{name!r} holds NaN or infinite numbers",
                "a training that diverged is neither stored nor pruned",
                "lower the learning rate; the store keeps everything before this epoch",
            )
