"""What goes before a training: the host's removal, then those that follow it, each within what is left."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak import schedules
from budbreak.criteria import Criterion
from budbreak.errors import InvalidValue
from budbreak.evidence import Evidence, Observer, StartWeights, probe
from budbreak.iteration.identity import Setup
from budbreak.iteration.plan import Plan
from budbreak.iteration.state import State, target_of, upcoming
from budbreak.iteration.targets import LevelTarget, Removal
from budbreak.live import emptying
from budbreak.masks import (
    Asked,
    Global,
    Mask,
    Scores,
    check_collapse,
    competing,
    exponential_path,
    keeps_one_number,
    prunable_parameters,
    select,
)

Choose = Callable[[Scores, int, Mask], Mask]
"""(scores, how many stay, what is alive) -> mask."""


@dataclass(frozen=True)
class Before:
    """What is known of the training before.

    Args:
        start_weights: those that it started from; none before the first training.
        watched: what an observer has seen; of several processes, all ask together.
    """

    start_weights: Mapping[str, Tensor]
    watched: Callable[[Observer[object]], object]


def remove(setup: Setup, state: State, before: Before) -> Removal:
    """What goes before the next training; the network is as it was afterwards.

    Args:
        setup: what the user gave.
        state: the training before is over.
        before: what is known of it.

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
    check_moved(setup, state, acting, before.start_weights)
    remover = _Remover(setup, before, observe(setup, [plan.criterion, *acting], before), state.mask, level)
    removal = _remove(plan, remover, state.mask, target, stage=stage)
    check_collapse(removal.mask, before=state.mask, allowed=plan.allow_collapse)
    return removal


def observe(setup: Setup, criteria: Sequence[Criterion], before: Before) -> Evidence:
    """What these criteria need."""
    return probe(
        setup.model,
        [need for criterion in criteria for need in criterion.needs],
        batches=setup.batches,
        loss=setup.loss,
        forward=setup.forward,
        samples=setup.samples,
        prunable=setup.plan.prunable,
        start=before.start_weights or None,
        watched=before.watched,
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
    looking = [criterion for criterion in acting if StartWeights() in criterion.needs]
    if not looking:
        return
    now = prunable_parameters(setup.model, setup.plan.prunable)
    if not all(torch.equal(weight.detach(), start_weights[name]) for name, weight in now.items()):
        return
    value = f"{looking[0]} is to remove weights, but none has moved in the training before"
    rule = "it looks at how far weights moved: where none did, their index alone decides"
    if state.here.steps == state.here.first_step:
        raise InvalidValue(value, rule, "train first, in level 0 too, or use a criterion that does not look at it")
    if not setup.plan.allow_collapse:
        warnings.warn(f"{value}: {rule}. Is the network dead, the learning rate 0, or all of it frozen?", stacklevel=6)


def _acting(plan: Plan, target: LevelTarget, stage: int) -> list[Criterion]:
    """The criteria that remove something before a stage; what they leave over, the host takes."""
    host = [plan.criterion] if stage == 0 and target.host else []
    acting = [plan.removals[place] for place in plan.removing(stage) if target.shares[place]]
    return [*host, *(plan.criterion if removal.criterion is None else removal.criterion for removal in acting)]


def _remove(plan: Plan, remover: _Remover, alive: Mask, target: LevelTarget, *, stage: int) -> Removal:
    """The host's removal before the first stage, then those that follow, each within what is left."""
    host = target.host if stage == 0 else 0
    mask = remover.by_host(alive, host)
    gone, removed, short = plan.count(alive)[1] - plan.count(mask)[1], [0] * len(plan.removals), 0
    for place in plan.removing(stage):
        own, share, before = plan.removals[place].criterion, target.shares[place], plan.count(mask)[1]
        mask = remover.by_host(mask, share) if own is None else remover.by(own, mask, share)
        removed[place] = before - plan.count(mask)[1]  # may be more, where a budget of weights is not used up
        short += max(0, share - removed[place])
    mask = remover.by_host(mask, short, rest=True)
    return Removal(mask, gone + short, tuple(removed), short)


@dataclass(frozen=True)
class _Remover:
    """Removes by criteria, each in as many rounds as it has.

    Args:
        setup: what the user gave.
        before: what is known of the training before.
        evidence: of the network as it is: what each criterion looks at in its first round, unless it has several and
            something is gone by then.
        alive: what is alive in the network as it is.
        level: which begins.
    """

    setup: Setup
    before: Before
    evidence: Evidence
    alive: Mask
    level: int

    def by_host(self, alive: Mask, count: int, *, rest: bool = False) -> Mask:
        """Remove ``count`` weights (units) by the host's criterion; ``rest``: some more than its scope says."""
        if count == 0:
            return alive
        plan, left = self.setup.plan, self.setup.plan.count(alive)[1]
        path = exponential_path(left, left - count, plan.rounds_of(plan.criterion))
        if self.level == 1 and not rest:
            self._check_last_level(alive)
        choose = _asked(plan, self.level, rest=rest).select
        return self._in_rounds(plan.criterion, alive, path=path, choose=choose)

    def _check_last_level(self, alive: Mask) -> None:
        """Refuse now what a later level will refuse, where the host spares the same weights in all of them."""
        plan = self.setup.plan
        alike = getattr(plan.criterion, "spares_alike", False) and not plan.removals
        if alike and isinstance(plan.schedule, schedules.ALL):
            last = plan.targets(*plan.count(alive))[-1]
            _asked(plan, last.level, rest=False).check(plan.criterion(self.evidence), last.keep, alive)

    def by(self, criterion: Criterion, alive: Mask, share: int) -> Mask:
        """Remove up to ``share`` weights by another criterion, globally: as many as it can."""
        if share == 0:
            return alive
        scores = criterion(self.evidence)
        plan = self.setup.plan
        count = min(share, competing(scores, alive, floor=plan.floor))
        path = exponential_path(alive.kept, alive.kept - count, plan.rounds_of(criterion))
        return self._in_rounds(criterion, alive, path=path, choose=_globally(plan))

    def _in_rounds(self, criterion: Criterion, alive: Mask, *, path: Sequence[int], choose: Choose) -> Mask:
        """Each round looks at the network without what is gone by then."""
        with emptying(self.setup.model) as empty:

            def scores_of(mask: Mask) -> Scores:
                empty(mask)
                return criterion(observe(self.setup, [criterion], self.before))

            untouched = len(path) == 1 or alive.kept == self.alive.kept
            mask = choose(criterion(self.evidence) if untouched else scores_of(alive), path[0], alive)
            for before, keep in itertools.pairwise(path):
                if keep < before:
                    mask = choose(scores_of(mask), keep, mask)
        return mask


def _asked(plan: Plan, level: int, *, rest: bool) -> Asked:
    """Select where, and what, the plan says; the rest globally, where N:M has removed all that it does."""
    scope = Global() if rest and keeps_one_number(plan.arena) else plan.arena
    words = f"level {level} of {plan.schedule}"
    return Asked(words, plan.criterion, scope, plan.granularity, plan.allocation, plan.floor)


def _globally(plan: Plan) -> Choose:
    """Select among all single weights, down to the plan's floor."""
    return lambda scores, keep, within: select(scores, keep, floor=plan.floor, within=within)
