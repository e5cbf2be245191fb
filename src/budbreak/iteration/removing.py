"""What goes before a training: the host's removal, then those that follow it, each within what is left."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from budbreak.criteria import Criterion
from budbreak.errors import InvalidValue, InvariantBroken
from budbreak.evidence import Graph, Need, StartWeights
from budbreak.graph import ModelGraph
from budbreak.iteration.identity import Setup
from budbreak.iteration.plan import Plan
from budbreak.iteration.remover import Before, Remover, observe
from budbreak.iteration.state import DEFECT, State, target_of, upcoming
from budbreak.iteration.targets import LevelTarget, Removal
from budbreak.live import PATH_NEEDS
from budbreak.masks import (
    Mask,
    check_collapse,
    prunable_parameters,
)


def remove(setup: Setup, state: State, before: Before) -> Removal:
    """What goes before the next training; the network is as it was afterwards.

    Args:
        setup: what the user gave.
        state: the training before is over.
        before: what is known of it.

    Raises:
        LayerCollapsed: if a layer would lose all its weights, and the plan does not allow that.
        Unreached: if a class is to stay connected, and no path leads there.
        InvalidValue: see `check_moved` and `Plan.target`; if no path fits in.
    """
    plan = setup.plan
    level, stage = upcoming(state, plan) or (plan.levels, 0)
    target = target_of(state, plan, level)
    acting = _acting(plan, target, stage)
    if not acting:
        return Removal(state.mask, 0, (0,) * len(plan.removals), 0)
    check_moved(setup, state, acting, before.start_weights)
    needs = [*needs_of([plan.criterion, *acting]), *(PATH_NEEDS if plan.connect else ())]
    remover = Remover(setup, before, observe(setup, needs, before), state.mask, level)
    removal = _remove(plan, remover, state.mask, target, stage=stage)
    check_collapse(removal.mask, before=state.mask, allowed=plan.allow_collapse)
    if plan.connect:
        _check_connected(remover.evidence[Graph()], removal.mask)
    return removal


def _check_connected(graph: ModelGraph, mask: Mask) -> None:
    """Assert that a path leads to each class.

    Raises:
        InvariantBroken: if none does.
    """
    if not all(bool(classes.all()) for classes in graph.reachable(mask).classes):
        raise InvariantBroken("a class has no path from an input", "the plan says that each keeps one", DEFECT)


def needs_of(criteria: Sequence[Criterion]) -> list[Need]:
    """What these criteria need."""
    return [need for criterion in criteria for need in criterion.needs]


def check_moved(setup: Setup, state: State, acting: Sequence[Criterion], start_weights: Mapping[str, Tensor]) -> None:
    """Refuse to remove by displacement what was not trained: all scores would be equal, and the index would decide.

    Args:
        setup: what the user gave.
        state: the training before is over.
        acting: the criteria that are about to remove something.
        start_weights: from the start of that training.

    Raises:
        InvalidValue: if one of them looks at start weights, and no step was taken, or some of the weights are frozen.
    """
    looking = [criterion for criterion in acting if StartWeights() in criterion.needs]
    if not looking:
        return
    now = prunable_parameters(setup.model, setup.plan.prunable)
    trained = state.here.steps > state.here.first_step
    frozen = [name for name, weight in now.items() if not weight.requires_grad] if trained else []
    _check_frozen(looking[0], [name for name in frozen if torch.equal(now[name], start_weights[name])])
    if not all(torch.equal(weight.detach(), start_weights[name]) for name, weight in now.items()):
        return
    value = f"{looking[0]} is to remove weights, but none has moved in the training before"
    rule = "it looks at how far weights moved: where none did, their index alone decides"
    if not trained:
        raise InvalidValue(value, rule, "train first, in level 0 too, or use a criterion that does not look at it")
    if not setup.plan.allow_collapse:
        warnings.warn(f"{value}: {rule}. Is the network dead, or the learning rate 0?", stacklevel=6)


def _check_frozen(criterion: Criterion, frozen: Sequence[str]) -> None:
    """Refuse frozen weights: however large, they would be the first to go."""
    if frozen:
        patterns = ", ".join([repr(frozen[0]), *(["..."] if frozen[1:] else [])])
        raise InvalidValue(
            f"{criterion} looks at how far weights moved, and these are frozen: {', '.join(map(repr, frozen[:3]))}",
            "what is not trained does not move, and would be the first to go",
            f"leave it out: prunable=bb.excluding({patterns}); or train it",
        )


def _acting(plan: Plan, target: LevelTarget, stage: int) -> list[Criterion]:
    """The criteria that remove something before a stage; what they leave over, the host takes."""
    host = [plan.criterion] if stage == 0 and target.host else []
    acting = [plan.removals[place] for place in plan.removing(stage) if target.shares[place]]
    return [*host, *(plan.criterion if removal.criterion is None else removal.criterion for removal in acting)]


def _remove(plan: Plan, remover: Remover, alive: Mask, target: LevelTarget, *, stage: int) -> Removal:
    """The host's removal before the first stage, then those that follow, each within what is left."""
    host = target.host if stage == 0 else 0
    left = remover.by_host(alive, host)
    exchanged = left.exchanged
    gone, removed, short = plan.count(alive)[1] - plan.count(left.mask)[1], [0] * len(plan.removals), 0
    for place in plan.removing(stage):
        own, share, before = plan.removals[place].criterion, target.shares[place], plan.count(left.mask)[1]
        left = remover.by_host(left.mask, share) if own is None else remover.by(own, left.mask, share)
        removed[place] = before - plan.count(left.mask)[1]  # may be more, where a budget of weights is not used up
        short += max(0, share - removed[place])
        exchanged += left.exchanged
    left = remover.by_host(left.mask, short, rest=True)
    exchanged += left.exchanged
    return Removal(left.mask, gone + short, tuple(removed), short, exchanged if plan.connect else None)
