"""Between two trainings: what must hold at the end of one, its record, and what goes before the next."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from budbreak.criteria import Criterion
from budbreak.errors import InvalidValue, InvariantBroken, NotFinite
from budbreak.evidence import Evidence, StartWeights, probe
from budbreak.iteration.followups import FollowUp
from budbreak.iteration.identity import Setup, mask_digest
from budbreak.iteration.plan import LevelTarget, Plan, Removal
from budbreak.iteration.state import DEFECT, LevelRecord, State, target_of, upcoming
from budbreak.live import check_ownership, check_zeros, model_digest
from budbreak.masks import Mask, check_collapse, competing, has_budget, prunable_parameters, select, unwrap


def make_record(setup: Setup, state: State, *, seconds: float) -> LevelRecord:
    """The record of the training that is over, once what must hold was asserted.

    Raises:
        InvariantBroken, ForeignParameter, NotFinite: with what does not hold.
    """
    here, mask, model, plan = state.here, state.mask, setup.model, setup.plan
    everything = sum(parameter.numel() for parameter in model.parameters())
    total, alive = plan.count(mask)
    last = here.stage + 1 == plan.stages(here.level)
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
        counted_kept=target.keep if has_budget(plan.granularity) else alive,
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
        invariants=assert_invariants(setup, state, keep=target.keep if last else alive),
        world_size=setup.processes.size,
    )


def assert_invariants(setup: Setup, state: State, *, keep: int) -> dict[str, bool]:
    """Assert what must hold after a training; every entry of the result is True.

    Args:
        setup: with the live model and optimizer.
        state: with the mask of this training, and the one before.
        keep: how many weights (units) should stay.

    Raises:
        InvariantBroken, ForeignParameter, NotFinite: with what does not hold.
    """
    mask = state.mask
    check_zeros(setup.model, mask)
    check_ownership(setup.optimizer, mask.parameters(setup.model))
    check_finite(setup.model)
    _, kept = setup.plan.count(mask)
    exact = not has_budget(setup.plan.granularity)
    if keep < kept or (exact and keep != kept):
        raise InvariantBroken(f"{kept} stay", f"the schedule says {keep}", DEFECT)
    if not mask.is_within(state.before):
        raise InvariantBroken("a pruned weight came back", "masks only shrink", DEFECT)
    invariants = {
        "zeros held": True,
        "optimizer holds the live parameters": True,
        "parameters finite": True,
        "exact count" if exact else "within budget": True,
        "nothing revived": True,
        "no layer collapsed": not mask.collapsed(),
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


def remove(setup: Setup, state: State, start_weights: Mapping[str, Tensor]) -> Removal:
    """What goes before the next training; the network is only looked at.

    Args:
        setup: what the user gave.
        state: the training before is over.
        start_weights: those that it started from.

    Raises:
        LayerCollapsed: if a layer would lose all its weights, and the plan does not allow that.
        InvalidValue: see `check_moved` and `Plan.target`.
    """
    plan = setup.plan
    level, stage = upcoming(state, plan) or (plan.levels, 0)
    target = target_of(state, plan, level)
    if target.keep < target.alive:
        check_moved(setup, state, target, start_weights)
    evidence = observe(setup, stage, start_weights)
    removal = _remove(plan, evidence, state.mask, target, stage=stage)
    check_collapse(removal.mask, before=state.mask, allowed=plan.allow_collapse)
    return removal


def observe(setup: Setup, stage: int, start_weights: Mapping[str, Tensor]) -> Evidence:
    """What the criteria that act before a stage need: the host's, and those of its follow-ups."""
    plan = setup.plan
    acting = [plan.then[place].criterion for place in _places(plan, stage)]
    criteria = [plan.criterion, *(criterion for criterion in acting if criterion is not None)]
    return probe(
        setup.model,
        [need for criterion in criteria for need in criterion.needs],
        batches=setup.batches,
        loss=setup.loss,
        forward=setup.forward,
        samples=setup.samples,
        prunable=plan.prunable,
        start=start_weights,
        group=setup.processes,
    )


def check_moved(setup: Setup, state: State, target: LevelTarget, start_weights: Mapping[str, Tensor]) -> None:
    """Refuse to remove by displacement what was not trained: all scores would be equal, and the index would decide.

    Args:
        setup: what the user gave.
        state: the training before is over.
        target: of the level that begins, or goes on with its next stage.
        start_weights: from the start of that training.

    Raises:
        InvalidValue: if a criterion that is about to remove something looks at start weights, and no step was taken.
    """
    now, before = prunable_parameters(setup.model, setup.plan.prunable), state.here
    stage = before.stage + 1 if target.level == before.level else 0
    looking = [criterion for criterion in _acting(setup.plan, target, stage) if StartWeights() in criterion.needs]
    if not looking or not all(torch.equal(weight.detach(), start_weights[name]) for name, weight in now.items()):
        return
    value = f"{looking[0]} is to remove weights, but none has moved in the training before"
    rule = "it looks at how far weights moved: where none did, their index alone decides"
    if before.steps == before.first_step:
        raise InvalidValue(value, rule, "train first, in level 0 too, or use a criterion that does not look at it")
    if not setup.plan.allow_collapse:
        warnings.warn(f"{value}: {rule}. Is the network dead, the learning rate 0, or all of it frozen?", stacklevel=6)


def _acting(plan: Plan, target: LevelTarget, stage: int) -> list[Criterion]:
    """The criteria that remove something before a stage."""
    host = [plan.criterion] if stage == 0 and target.host else []
    acting = [plan.then[place].criterion for place in _places(plan, stage) if target.shares[place]]
    return [*host, *(criterion for criterion in acting if criterion is not None)]


def _places(plan: Plan, stage: int) -> list[int]:
    """Which follow-ups act before a stage, by their places in the plan: those without a stage before the first."""
    places = [place for place, follow_up in enumerate(plan.then) if follow_up.retrains == (stage > 0)]
    return places if stage == 0 else [places[stage - 1]]


def _remove(plan: Plan, evidence: Evidence, alive: Mask, target: LevelTarget, *, stage: int) -> Removal:
    """The host's removal before the first stage, then that of the follow-ups, each within what is left."""
    host = target.host if stage == 0 else 0
    mask = _host_removes(plan, evidence, alive, host)
    host = plan.count(alive)[1] - plan.count(mask)[1]  # a budget of weights is not quite used up
    removed, short = [0] * len(plan.then), 0
    for place in _places(plan, stage):
        share = target.shares[place]
        mask, removed[place] = _follow_up_removes(plan, plan.then[place], evidence, mask, share=share)
        short += share - removed[place]
    mask = _host_removes(plan, evidence, mask, short)
    return Removal(mask, host + short, tuple(removed), short)


def _host_removes(plan: Plan, evidence: Evidence, alive: Mask, count: int) -> Mask:
    """Remove ``count`` weights (units) by the host's criterion."""
    if count == 0:
        return alive
    return select(
        plan.criterion(evidence),
        plan.count(alive)[1] - count,
        scope=plan.scope,
        granularity=plan.granularity,
        allocation=plan.allocation,
        floor=plan.floor,
        within=alive,
    )


def _follow_up_removes(
    plan: Plan, follow_up: FollowUp, evidence: Evidence, alive: Mask, *, share: int
) -> tuple[Mask, int]:
    """Remove up to ``share`` weights by the follow-up, globally; also how many it could remove."""
    if share == 0:
        return alive, 0
    if follow_up.criterion is None:
        return _host_removes(plan, evidence, alive, share), share
    scores = follow_up.criterion(evidence)
    count = min(share, competing(scores, alive, floor=plan.floor))
    return select(scores, alive.kept - count, floor=plan.floor, within=alive), count
