"""A plan: which weights go, by what, how many in each level, and what follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from numbers import Real
from typing import Any, Literal, cast

from torch import nn

from budbreak import criteria, schedules
from budbreak.checks import (
    check_count,
    check_criterion,
    check_fraction,
    check_instance,
    exact,
    shown,
)
from budbreak.criteria import Criterion, Magnitude
from budbreak.errors import InvalidValue
from budbreak.graph import count_macs
from budbreak.iteration import followups
from budbreak.iteration.followups import FollowUp
from budbreak.iteration.preview import Preview, preview_rows
from budbreak.iteration.step import Step
from budbreak.masks import (
    Allocation,
    Element,
    Global,
    Granularity,
    Mask,
    Prunable,
    Scope,
    check_choices,
    check_prunable,
    check_targets,
    conv_and_linear,
    count_removable,
    coverage,
    has_budget,
    survivors,
    unwrap,
)
from budbreak.schedules import NotForeseen, Progress, Schedule, foresee, reads_of

RewindTo = Step | Literal["learning-rate"] | None


@dataclass(frozen=True)
class LevelTarget:
    """How many weights (units, for `Unit`) go in one level.

    Args:
        alive: before the level; ``keep``: after it, ``round(density * prunable)``.
        host: removed by the host criterion; ``shares``: by each follow-up. All add up to alive - keep.
    """

    level: int
    alive: int
    keep: int
    host: int
    shares: tuple[int, ...]


@dataclass(frozen=True)
class Removal:
    """The next mask, and who removed how many; ``shortfall`` is the part of ``host`` that follow-ups left over."""

    mask: Mask
    host: int
    follow_ups: tuple[int, ...]
    shortfall: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole pruning experiment, as one frozen value; see `budbreak.iterate`.

    Args:
        schedule: the sparsity of each level; decides the survivors exactly, whatever follows the host.
        criterion: the host: what is removed first.
        scope: where scores compete, e.g. `masks.Layer`.
        granularity: what goes as one; for `Unit` all counts are of units, the classifier's aside.
        allocation: divides a target over layers , for scope `masks.Layer`: `masks.Uniform` unless given.
        floor: how many weights stay in each layer at least, or which share of each, follow-ups included; units, for
            `Unit`.
        prunable: ``(name, module, parameter) -> bool``: the weights that the mask covers.
        then: what follows the host within each level, e.g. ``[ActivateWhilePruning(q=0.02)]``.
        rewind_to: after each pruning, weights and buffers, optimizer and ``resets`` return to this step
            (`Step.start` is initialization); ``"learning-rate"``: weights stay, optimizer and ``resets``
            return to the start; None: nothing returns (fine-tuning).
        allow_collapse: whether a layer may lose all its weights; if not, `LayerCollapsed` is raised.

    Raises:
        InvalidValue: for combinations that cannot work.
    """

    schedule: Schedule
    criterion: Criterion = Magnitude()
    scope: Scope = Global()
    granularity: Granularity = Element()
    allocation: Allocation | None = None
    floor: int | float = 0
    prunable: Prunable = conv_and_linear
    then: Sequence[FollowUp] = ()
    rewind_to: RewindTo = Step(0)
    allow_collapse: bool = False

    def __post_init__(self) -> None:
        _check_parts(self)
        object.__setattr__(self, "then", tuple(self.then))
        if self.then and not isinstance(self.granularity, Element):
            raise InvalidValue(
                f"{self.then[0]} after a host of granularity {self.granularity}",
                "a follow-up removes single weights: it goes with Element() only",
                "write granularity=bb.Element(), or leave then out",
            )

    @property
    def levels(self) -> int:
        """Prunings; with the dense level 0, one training more."""
        return self.schedule.levels

    @property
    def dense(self) -> Plan:
        """The plan of level 0 alone, the same for all plans that share it: see ``dense`` of `budbreak.iterate`."""
        return Plan(schedule=schedules.Dense(), prunable=self.prunable, rewind_to=self.rewind_to)

    @property
    def retraining(self) -> tuple[FollowUp, ...]:
        """The follow-ups that have a stage of their own."""
        return tuple(follow_up for follow_up in self.then if follow_up.retrains)

    def stages(self, level: int) -> int:
        """The trainings of a level: one, and one for each follow-up that retrains."""
        return 1 if level == 0 else 1 + len(self.retraining)

    @property
    def trainings(self) -> list[tuple[int, int]]:
        """(level, stage) of all trainings, in their order."""
        return [(level, stage) for level in range(self.levels + 1) for stage in range(self.stages(level))]

    def target(self, progress: Progress, *, total: int, alive: int) -> LevelTarget:
        """The counts of a level.

        keep = round((1 - sparsity) * total); a follow-up's share is floor(q * alive), with q the decimal number
        that was written; the host removes the rest. A level that removes nothing removes nothing by anybody.

        Raises:
            InvalidValue: if the schedule leaves [0, 1), revives weights, keeps none, or if the follow-ups want
                more than the level removes.
        """
        return self._target(progress.level, self.schedule(progress), total=total, alive=alive)

    def _target(self, level: int, sparsity: float | Fraction, *, total: int, alive: int) -> LevelTarget:
        number = isinstance(sparsity, Real) and not isinstance(sparsity, bool)  # pyright: ignore[reportUnnecessaryIsInstance]
        if not number or not 0 <= sparsity < 1:
            said = float(sparsity) if number else shown(sparsity)
            value = f"the schedule says sparsity {said} at level {level}"
            raise InvalidValue(value, "it is a share in [0, 1)", "write pruned / prunable, as a float or a Fraction")
        keep = survivors(sparsity, total)
        where = f"level {level} of {self.schedule}"
        if keep < 1:
            raise InvalidValue(
                f"{where} keeps none of {total}", "at least one must stay in each level", "end at a lower sparsity"
            )
        keep = min(keep, alive) if has_budget(self.granularity) else keep  # a budget is not quite used up
        if keep > alive:
            raise InvalidValue(
                f"{where} keeps {keep}, but only {alive} are alive",
                "sparsity rises from level to level: what was pruned does not come back",
                "start at a higher sparsity",
            )
        if keep == alive:
            return LevelTarget(level, alive, keep, 0, (0,) * len(self.then))
        shares = tuple(math.floor(exact(f.q) * alive) for f in self.then)
        host = alive - keep - sum(shares)
        if host < 0:
            raise InvalidValue(
                f"{where} removes {alive - keep}, its follow-ups want {sum(shares)}",
                "the host removes what the follow-ups leave of the level's total",
                "choose a smaller q",
            )
        return LevelTarget(level, alive, keep, host, shares)

    def targets(self, total: int, alive: int | None = None) -> list[LevelTarget]:
        """The counts of the levels that are known in advance; ``alive`` (all unless given) are left at level 0.

        They end before the first level for which the schedule looks at metrics or steps.
        """
        start = total if alive is None else alive
        targets = [LevelTarget(0, alive=start, keep=start, host=0, shares=(0,) * len(self.then))]
        for level in range(1, self.levels + 1):
            try:
                sparsity = foresee(self.schedule, level)
            except NotForeseen:
                break
            targets.append(self._target(level, sparsity, total=total, alive=targets[-1].keep))
        return targets

    def lacking(self, metrics: Mapping[str, float]) -> list[str]:
        """The metrics that the schedule looks at and a level has not recorded."""
        return [name for name in reads_of(self.schedule) if name not in metrics]

    def count(self, mask: Mask) -> tuple[int, int]:
        """(total, alive) weights of a mask; units, for `Unit`."""
        return count_removable(self.granularity, mask)

    def check_targets(self, mask: Mask) -> None:
        """Refuse counts that cannot work, as far as they are known in advance.

        Args:
            mask: what is alive at the start; the plan is fitted to its model.
        """
        targets = {
            f"level {target.level} of {self.schedule}: {target.keep} stay": (target.alive - target.host, target.keep)
            for target in self.targets(*self.count(mask))
            if target.keep < target.alive
        }
        check_targets(mask, targets, scope=self.scope, granularity=self.granularity, floor=self.floor)

    def fit(self, model: nn.Module) -> Plan:
        """The same plan for the layers of this model: `Unit` knows where their units lie, and which are spared."""
        scope, granularity = (part.fit(model, self.prunable) for part in (self.scope, self.granularity))
        return replace(self, scope=scope, granularity=granularity)

    def preview(self, model: nn.Module, *, example: Any = None) -> Preview:
        """The table of levels before anything is trained, and which weights stay dense.

        Levels for which the schedule looks at metrics or steps are shown as decided as it goes. Effective MACs assume
        that each layer has the density of the whole; where they fall is not known yet.

        Args:
            model: the live model; it is left as it was.
            example: a batch of inputs, batch first, for MACs as well: a tensor, a tuple (positional) or a mapping
                (by keyword).

        Raises:
            NothingToPrune: if the model has no prunable weight.
            InvalidValue: see `target`; if the model does not take the example.
        """
        mask = Mask.dense(model, self.prunable)
        plan = self.fit(model)
        plan.check_targets(mask)
        total, _ = plan.count(mask)
        macs = None if example is None else count_macs(model, example)
        trainings = [self.stages(level) for level in range(self.levels + 1)]
        spared = tuple(plan.granularity.spared)
        whole = () if has_budget(plan.granularity) else spared
        shrinking = Mask({name: entry for name, entry in mask.items() if name not in whole})
        rows = preview_rows(self.targets(total), shrinking, macs, trainings)
        dense_macs = None if macs is None else macs.total
        return Preview(rows, coverage(unwrap(model), mask), dense_macs, plan.granularity.counted, spared)


def _check_parts(plan: Plan) -> None:
    """Refuse classes, names and bare values where a plan needs instances: they would fail late, or not at all."""
    example = "bb.schedules.Geometric(rate=0.2, levels=12)"
    check_instance("schedule", plan.schedule, ("levels",), example, choices=schedules.ALL)
    check_count("schedule.levels", plan.schedule.levels, least=0)
    _check_reads(plan.schedule)
    check_criterion(plan.criterion, criteria.ALL)
    check_choices(scope=plan.scope, granularity=plan.granularity, allocation=plan.allocation, floor=plan.floor)
    check_prunable(plan.prunable)
    _check_then(plan.then)
    if not (plan.rewind_to is None or isinstance(plan.rewind_to, Step) or _is(plan.rewind_to, "learning-rate")):
        near = f"bb.Step({max(0, int(plan.rewind_to))})" if isinstance(plan.rewind_to, int) else "bb.Step(0)"
        near = "'learning-rate'" if _is(plan.rewind_to, "lr") else near
        rule = "it must be a Step, 'learning-rate' or None"
        raise InvalidValue(f"rewind_to is {shown(plan.rewind_to)}", rule, f"write rewind_to={near}")
    if not isinstance(plan.allow_collapse, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        value = f"allow_collapse is {shown(plan.allow_collapse)}"
        raise InvalidValue(value, "it is True or False", "write allow_collapse=True")


def _check_reads(schedule: Schedule) -> None:
    reads = getattr(schedule, "reads", ())
    if not isinstance(reads, list | tuple) or not all(isinstance(name, str) for name in cast(Sequence[object], reads)):
        example = f"({reads!r},)" if isinstance(reads, str) else '("accuracy",)'
        value = f"schedule.reads is {shown(reads)}"
        raise InvalidValue(value, "it is a tuple of the names of metrics", f"write reads = {example}")


def _check_then(then: object) -> None:
    if not isinstance(then, list | tuple):
        own = then if isinstance(then, followups.ALL) else "bb.ActivateWhilePruning(q=0.02)"
        raise InvalidValue(f"then is {shown(then)}", "it is a list of follow-ups", f"write then=[{own}]")
    for follow_up in cast(Sequence[object], then):
        attributes, example = ("q", "retrains", "criterion"), "[bb.ActivateWhilePruning(q=0.02)]"
        check_instance("then", follow_up, attributes, example, call=False, choices=followups.ALL)
        check_fraction(f"q of {type(follow_up).__name__}", cast(FollowUp, follow_up).q)


def _is(value: object, text: str) -> bool:
    """Equal, for values whose own ``==`` is no bool (tensors)."""
    return isinstance(value, str) and value == text
