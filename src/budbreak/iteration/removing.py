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
from budbreak.evidence import Evidence, Need, Observer, StartWeights, probe
from budbreak.iteration.identity import Setup
from budbreak.iteration.plan import Plan
from budbreak.iteration.state import State, target_of, upcoming
from budbreak.iteration.targets import LevelTarget, Removal
from budbreak.live import PATH_NEEDS, emptying, find_paths
from budbreak.masks import (
    Asked,
    Global,
    Mask,
    Scope,
    Scores,
    check_collapse,
    competing,
    exponential_path,
    keeps_one_number,
    prunable_parameters,
    select,
    sparing,
    sparing_weights,
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
        Unreached: if a class is to stay connected, and no path leads there.
        InvalidValue: see `check_moved` and `Plan.target`; if no path fits in.
    """
    plan = setup.plan
    level, stage = upcoming(state, plan) or (plan.levels, 0)
    target = target_of(state, plan, level)
    acting = _acting(plan, target, stage)
    if not acting:
        return Removal(state.mask, 0, (0,) * len(plan.removals), 0, 0 if plan.connect else None)
    check_moved(setup, state, acting, before.start_weights)
    needs = [*needs_of([plan.criterion, *acting]), *(PATH_NEEDS if plan.connect else ())]
    remover = _Remover(setup, before, observe(setup, needs, before), state.mask, level)
    removal = _remove(plan, remover, state.mask, target, stage=stage)
    check_collapse(removal.mask, before=state.mask, allowed=plan.allow_collapse)
    return removal


def needs_of(criteria: Sequence[Criterion]) -> list[Need]:
    """What these criteria need."""
    return [need for criterion in criteria for need in criterion.needs]


def observe(setup: Setup, needs: Sequence[Need], before: Before) -> Evidence:
    """What is needed of the network as it is."""
    return probe(
        setup.model,
        needs,
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


@dataclass(frozen=True)
class _Left:
    """What a removal leaves; ``exchanged``: so many weights of it would have gone, if they were on no path."""

    mask: Mask
    exchanged: int = 0


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

    def by_host(self, alive: Mask, count: int, *, rest: bool = False) -> _Left:
        """Remove ``count`` weights (units) by the host's criterion; ``rest``: some more than its scope says."""
        if count == 0:
            return _Left(alive)
        plan, left = self.setup.plan, self.setup.plan.count(alive)[1]
        path = exponential_path(left, left - count, plan.rounds_of(plan.criterion))
        if self.level == 1 and not rest:
            check_last_level(plan, alive, lambda: self._scores(plan.criterion, self.evidence))
        asked = asked_of(plan, self.level, rest=rest)

        def remove(spared: Mask | None) -> Mask:
            return self._in_rounds(plan.criterion, alive, path=path, choose=asked.select, spared=spared)

        return self._connected(remove, plan.criterion, alive, asked.scope)

    def by(self, criterion: Criterion, alive: Mask, share: int) -> _Left:
        """Remove up to ``share`` weights by another criterion, globally: as many as it can."""
        if share == 0:
            return _Left(alive)
        plan = self.setup.plan

        def remove(spared: Mask | None) -> Mask:
            scores = self._scores(criterion, self.evidence, spared)
            count = min(share, competing(scores, alive, floor=plan.floor))
            path = exponential_path(alive.kept, alive.kept - count, plan.rounds_of(criterion))
            return self._in_rounds(criterion, alive, path=path, choose=_globally(plan), spared=spared)

        return self._connected(remove, criterion, alive, Global())

    def _connected(
        self, remove: Callable[[Mask | None], Mask], criterion: Criterion, alive: Mask, scope: Scope
    ) -> _Left:
        """What a removal leaves; if the plan says so, once more with a path to each class spared, if one is broken."""
        mask = remove(None)
        if not self.setup.plan.connect:
            return _Left(mask)
        scores, floor = self._scores(criterion, self.evidence), self.setup.plan.floor
        paths = find_paths(self.evidence, mask, scores, within=alive, scope=scope, floor=floor)
        lacking = paths.kept - (paths & mask).kept
        return _Left(remove(paths) if lacking else mask, lacking)

    def _scores(self, criterion: Criterion, evidence: Evidence, spared: Mask | None = None) -> Scores:
        """With +inf for what the plan spares, and for the weights of a mask."""
        scores = sparing(criterion(evidence), self.setup.plan.spare)
        return scores if spared is None else sparing_weights(scores, spared)

    def _in_rounds(
        self, criterion: Criterion, alive: Mask, *, path: Sequence[int], choose: Choose, spared: Mask | None
    ) -> Mask:
        """Each round looks at the network without what is gone by then."""
        with emptying(self.setup.model) as empty:

            def scores_of(mask: Mask) -> Scores:
                empty(mask)
                return self._scores(criterion, observe(self.setup, criterion.needs, self.before), spared)

            untouched = len(path) == 1 or alive.kept == self.alive.kept
            scores = self._scores(criterion, self.evidence, spared) if untouched else scores_of(alive)
            mask = choose(scores, path[0], alive)
            for before, keep in itertools.pairwise(path):
                if keep < before:
                    mask = choose(scores_of(mask), keep, mask)
        return mask


def check_last_level(plan: Plan, alive: Mask, scores: Callable[[], Scores]) -> None:
    """Refuse now what a later level will refuse, where the host spares the same weights in all of them.

    Args:
        plan: fitted to the model.
        alive: before the first level.
        scores: gives those of the host; not asked for where they might be others later.

    Raises:
        TooManySpared: with the last level that is known in advance.
    """
    alike = getattr(plan.criterion, "spares_alike", False) and not plan.removals
    if alike and isinstance(plan.schedule, schedules.ALL):
        last = plan.targets(*plan.count(alive))[-1]
        asked_of(plan, last.level).check(scores(), last.keep, alive)


def asked_of(plan: Plan, level: int, *, rest: bool = False) -> Asked:
    """Select where, and what, the plan says; the rest globally, where N:M has removed all that it does."""
    scope = Global() if rest and keeps_one_number(plan.arena) else plan.arena
    words = f"level {level} of {plan.schedule}"
    sparing_too = f"{plan.criterion} with spare={list(plan.spare)}" if plan.spare else plan.criterion
    return Asked(words, sparing_too, scope, plan.granularity, plan.allocation, plan.floor)


def _globally(plan: Plan) -> Choose:
    """Select among all single weights, down to the plan's floor."""
    return lambda scores, keep, within: select(scores, keep, floor=plan.floor, within=within)
