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
    sparing,
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
            check_last_level(plan, alive, lambda: self._scores(plan.criterion, self.evidence))
        choose = asked_of(plan, self.level, rest=rest).select
        return self._in_rounds(plan.criterion, alive, path=path, choose=choose)

    def by(self, criterion: Criterion, alive: Mask, share: int) -> Mask:
        """Remove up to ``share`` weights by another criterion, globally: as many as it can."""
        if share == 0:
            return alive
        plan, scores = self.setup.plan, self._scores(criterion, self.evidence)
        count = min(share, competing(scores, alive, floor=plan.floor))
        path = exponential_path(alive.kept, alive.kept - count, plan.rounds_of(criterion))
        return self._in_rounds(criterion, alive, path=path, choose=_globally(plan))

    def _scores(self, criterion: Criterion, evidence: Evidence) -> Scores:
        """With +inf for what the plan spares."""
        return sparing(criterion(evidence), self.setup.plan.spare)

    def _in_rounds(self, criterion: Criterion, alive: Mask, *, path: Sequence[int], choose: Choose) -> Mask:
        """Each round looks at the network without what is gone by then."""
        with emptying(self.setup.model) as empty:

            def scores_of(mask: Mask) -> Scores:
                empty(mask)
                return self._scores(criterion, observe(self.setup, [criterion], self.before))

            untouched = len(path) == 1 or alive.kept == self.alive.kept
            scores = self._scores(criterion, self.evidence) if untouched else scores_of(alive)
            mask = choose(scores, path[0], alive)
            for before, keep in itertools.pairwise(path):
                if keep < before:
                    mask = choose(scores_of(mask), keep, mask)
        return mask


def check_last_level(plan: Plan, alive: Mask, scores: Callable[[], Scores]) -> None:
    """Refuse now what a later level will refuse, where the plan or the host spares the same weights in all of them.

    Args:
        plan: fitted to the model.
        alive: before the first level.
        scores: gives those of the host; not asked for where they might be others later.

    Raises:
        TooManySpared: with the last level that is known in advance.
    """
    alike = getattr(plan.criterion, "spares_alike", False) and not plan.removals
    if (alike or plan.spare) and isinstance(plan.schedule, schedules.ALL):
        last = plan.targets(*plan.count(alive))[-1]
        flat = Scores.of({name: torch.zeros(()).expand(entry.shape) for name, entry in alive.items()})
        asked_of(plan, last.level).check(scores() if alike else sparing(flat, plan.spare), last.keep, alive)


def asked_of(plan: Plan, level: int, *, rest: bool = False) -> Asked:
    """Select where, and what, the plan says; the rest globally, where N:M has removed all that it does."""
    scope = Global() if rest and keeps_one_number(plan.arena) else plan.arena
    words = f"level {level} of {plan.schedule}"
    sparing_too = f"{plan.criterion} with spare={list(plan.spare)}" if plan.spare else plan.criterion
    return Asked(words, sparing_too, scope, plan.granularity, plan.allocation, plan.floor)


def _globally(plan: Plan) -> Choose:
    """Select among all single weights, down to the plan's floor."""
    return lambda scores, keep, within: select(scores, keep, floor=plan.floor, within=within)
