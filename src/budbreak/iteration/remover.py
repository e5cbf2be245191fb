"""Remove by a criterion, in rounds, within what is alive, and keep classes connected if the plan says so."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak import schedules
from budbreak.criteria import Criterion
from budbreak.errors import InvalidValue
from budbreak.evidence import Evidence, Need, Observer, probe
from budbreak.iteration.identity import Setup
from budbreak.iteration.plan import Plan
from budbreak.live import emptying, find_paths
from budbreak.masks import (
    ERK,
    Asked,
    Global,
    Mask,
    Quotas,
    Scope,
    Scores,
    Uniform,
    competing,
    exponential_path,
    keeps_one_number,
    kept_in_any_case,
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


@dataclass(frozen=True)
class Left:
    """What a removal leaves; ``exchanged``: so many weights of it would have gone, if they were on no path."""

    mask: Mask
    exchanged: int = 0


@dataclass(frozen=True)
class Remover:
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

    def by_host(self, alive: Mask, count: int, *, rest: bool = False) -> Left:
        """Remove ``count`` weights (units) by the host's criterion; ``rest``: some more than its scope says."""
        if count == 0:
            return Left(alive)
        plan, left = self.setup.plan, self.setup.plan.count(alive)[1]
        path = exponential_path(left, left - count, plan.rounds_of(plan.criterion))
        if self.level == 1 and not rest:
            check_last_level(plan, alive, lambda: self._scores(plan.criterion, self.evidence))
            check_last_paths(plan, alive, lambda: self._scores(plan.criterion, self.evidence), lambda: self.evidence)
        asked = asked_of(plan, self.level, rest=rest)

        def remove(spared: Mask | None) -> Mask:
            return self._in_rounds(plan.criterion, alive, path=path, choose=asked.select, spared=spared)

        return self._connected(remove, alive, lambda: self._scores(plan.criterion, self.evidence), asked.scope)

    def by(self, criterion: Criterion, alive: Mask, share: int) -> Left:
        """Remove up to ``share`` weights by another criterion, globally: as many as it can."""
        if share == 0:
            return Left(alive)
        plan = self.setup.plan

        def remove(spared: Mask | None) -> Mask:
            scores = self._scores(criterion, self.evidence, spared)
            count = min(share, competing(scores, alive, floor=plan.floor))
            path = exponential_path(alive.kept, alive.kept - count, plan.rounds_of(criterion))
            return self._in_rounds(criterion, alive, path=path, choose=_globally(plan), spared=spared)

        return self._connected(remove, alive, None, Global())

    def _connected(
        self, remove: Callable[[Mask | None], Mask], alive: Mask, scores: Callable[[], Scores] | None, scope: Scope
    ) -> Left:
        """What a removal leaves; if the plan says so, once more with a path to each class spared, if one is broken.

        Args:
            remove: removes anything but the weights of a mask.
            alive: before it.
            scores: gives those by which it keeps the same number in each arena of ``scope``; None: it may leave more.
            scope: fitted to the model.
        """
        mask, floor = remove(None), self.setup.plan.floor
        if not self.setup.plan.connect:
            return Left(mask)
        quotas = Quotas.of(alive if scores is None else mask, scope, floor)
        sure = None if scores is None else kept_in_any_case(scores(), mask)
        paths = find_paths(self.evidence, mask, quotas, within=alive, sure=sure)
        lacking = paths.kept - (paths & mask).kept
        return Left(remove(paths) if lacking else mask, lacking)

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


def check_last_paths(plan: Plan, alive: Mask, scores: Callable[[], Scores], evidence: Callable[[], Evidence]) -> None:
    """Refuse now that classes stay connected, where what the last level keeps is too little for paths to all.

    As far as that is known: not where others remove as well, or an allocation looks at what earlier levels left.

    Args:
        plan: fitted to the model.
        alive: before the first level.
        scores: gives those of the host; asked for, as ``evidence`` is, if the plan says that classes stay connected.
        evidence: gives that of `PATH_NEEDS`.

    Raises:
        InvalidValue: with the last level that is known in advance.
    """
    plain = isinstance(plan.schedule, schedules.ALL) and isinstance(plan.allocation, Uniform | ERK | None)
    if not plan.connect or plan.removals or not plain:
        return
    last, asked = plan.targets(*plan.count(alive))[-1], scores()
    selection = asked_of(plan, last.level)
    mask = selection.select(asked, last.keep, alive)
    try:
        quotas, sure = Quotas.of(mask, plan.arena, plan.floor), kept_in_any_case(asked, mask)
        find_paths(evidence(), mask, quotas, within=alive, sure=sure)
    except InvalidValue as error:
        raise type(error)(f"{selection.words}: {error.value}", error.rule, error.fix) from None


def asked_of(plan: Plan, level: int, *, rest: bool = False) -> Asked:
    """Select where, and what, the plan says; the rest globally, where N:M has removed all that it does."""
    scope = Global() if rest and keeps_one_number(plan.arena) else plan.arena
    words = f"level {level} of {plan.schedule}"
    sparing_too = f"{plan.criterion} with spare={list(plan.spare)}" if plan.spare else plan.criterion
    return Asked(words, sparing_too, scope, plan.granularity, plan.allocation, plan.floor)


def _globally(plan: Plan) -> Choose:
    """Select among all single weights, down to the plan's floor."""
    return lambda scores, keep, within: select(scores, keep, floor=plan.floor, within=within)
