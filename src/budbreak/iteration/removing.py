"""What goes before a training: the host's removal, then those that follow it, each within what is left."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from budbreak.criteria import Criterion
from budbreak.errors import InvalidValue
from budbreak.evidence import Evidence, StartWeights, probe
from budbreak.iteration.followups import Remove
from budbreak.iteration.identity import Setup
from budbreak.iteration.plan import Plan
from budbreak.iteration.state import State, target_of, upcoming
from budbreak.iteration.targets import LevelTarget, Removal
from budbreak.masks import Mask, check_collapse, competing, prunable_parameters, select


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
    acting = _acting(plan, target, stage)
    if not acting:
        return Removal(state.mask, 0, (0,) * len(plan.removals), 0)
    check_moved(setup, state, acting, start_weights)
    evidence = observe(setup, [plan.criterion, *acting], start_weights)
    removal = _remove(plan, evidence, state.mask, target, stage=stage)
    check_collapse(removal.mask, before=state.mask, allowed=plan.allow_collapse)
    return removal


def observe(setup: Setup, criteria: Sequence[Criterion], start_weights: Mapping[str, Tensor]) -> Evidence:
    """What these criteria need."""
    return probe(
        setup.model,
        [need for criterion in criteria for need in criterion.needs],
        batches=setup.batches,
        loss=setup.loss,
        forward=setup.forward,
        samples=setup.samples,
        prunable=setup.plan.prunable,
        start=start_weights,
        group=setup.processes,
    )


def check_moved(setup: Setup, state: State, acting: Sequence[Criterion], start_weights: Mapping[str, Tensor]) -> None:
    """Refuse to remove by displacement what was not trained: all scores would be equal, and the index would decide.

    Args:
        setup: what the user gave.
        state: the training before is over.
        acting: the criteria that are about to remove something.
        start_weights: from the start of that training.

    Raises:
        InvalidValue: if one of them looks at start weights, and no step was taken.
    """
    now, before = prunable_parameters(setup.model, setup.plan.prunable), state.here
    looking = [criterion for criterion in acting if StartWeights() in criterion.needs]
    if not looking or not all(torch.equal(weight.detach(), start_weights[name]) for name, weight in now.items()):
        return
    value = f"{looking[0]} is to remove weights, but none has moved in the training before"
    rule = "it looks at how far weights moved: where none did, their index alone decides"
    if before.steps == before.first_step:
        raise InvalidValue(value, rule, "train first, in level 0 too, or use a criterion that does not look at it")
    if not setup.plan.allow_collapse:
        warnings.warn(f"{value}: {rule}. Is the network dead, the learning rate 0, or all of it frozen?", stacklevel=6)


def _acting(plan: Plan, target: LevelTarget, stage: int) -> list[Criterion]:
    """The criteria that remove something before a stage; what they leave over, the host takes."""
    host = [plan.criterion] if stage == 0 and target.host else []
    acting = [plan.removals[place] for place in plan.removing(stage) if target.shares[place]]
    return [*host, *(plan.criterion if removal.criterion is None else removal.criterion for removal in acting)]


def _remove(plan: Plan, evidence: Evidence, alive: Mask, target: LevelTarget, *, stage: int) -> Removal:
    """The host's removal before the first stage, then those that follow, each within what is left."""
    host = target.host if stage == 0 else 0
    mask = _host_removes(plan, evidence, alive, host)
    removed, short = [0] * len(plan.removals), 0
    for place in plan.removing(stage):
        share = target.shares[place]
        mask, removed[place] = _follow_up_removes(plan, plan.removals[place], evidence, mask, share=share)
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


def _follow_up_removes(plan: Plan, removal: Remove, evidence: Evidence, alive: Mask, *, share: int) -> tuple[Mask, int]:
    """Remove up to ``share`` weights, globally; also how many it could remove."""
    if share == 0:
        return alive, 0
    if removal.criterion is None:
        return _host_removes(plan, evidence, alive, share), share
    scores = removal.criterion(evidence)
    count = min(share, competing(scores, alive, floor=plan.floor))
    return select(scores, alive.kept - count, floor=plan.floor, within=alive), count
