"""A plan: which weights go, by what, how many in each level, and what follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from torch import nn

from budbreak import criteria, schedules
from budbreak.checks import check_count, check_criterion, check_instance, shown
from budbreak.criteria import Criterion, Magnitude, scope_of
from budbreak.errors import InvalidValue
from budbreak.evidence import Observer, observers_of
from budbreak.graph import count_macs
from budbreak.iteration.followups import FollowUp, Remove, Stage, Train, criteria_of, stages_of, watching
from budbreak.iteration.plancheck import (
    check_one_number,
    check_reads,
    check_rewind,
    check_single_weights,
    check_spare,
    check_then,
    check_times,
    check_untrained,
)
from budbreak.iteration.preview import Preview, preview_rows
from budbreak.iteration.step import Step
from budbreak.iteration.targets import LevelTarget, count_level
from budbreak.masks import (
    Allocation,
    Element,
    Granularity,
    Mask,
    Prunable,
    Scope,
    check_choices,
    check_exchangeable,
    check_prunable,
    check_rounds,
    check_targets,
    conv_and_linear,
    count_removable,
    coverage,
    has_budget,
    prunable_parameters,
    spared_among,
    unwrap,
)
from budbreak.schedules import NotForeseen, Progress, Schedule, foresee, reads_of

RewindTo = Step | Literal["learning-rate"] | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole pruning experiment, as one frozen value; see `budbreak.iterate`.

    Args:
        schedule: the sparsity of each level; decides the survivors exactly, whatever follows the host.
        criterion: the host: what is removed first.
        scope: where scores compete, e.g. `masks.Layer`; unless given where the criterion is meant to be used
            (`criteria.Wanda`: within rows), or over all layers.
        granularity: what goes as one; for `Unit` all counts are of units, the classifier's aside.
        allocation: divides a target over layers, in scopes `masks.Layer` and `masks.Rows`; `masks.Uniform` if None.
        floor: how many weights stay in each layer at least, or which share of each, follow-ups included; units, for
            `Unit`.
        prunable: ``(name, module, parameter) -> bool``: the weights that the mask covers.
        spare: glob patterns of prunable weights of which none goes, by whatever criterion: they are counted all the
            same, where what ``prunable`` leaves out is not.
        then: the stages that follow the host within each level: `Remove`, `Train`, or a short name for several,
            e.g. ``[ActivateWhilePruning(q=0.02)]``. The level ends with one more training.
        rewind_to: after each pruning, weights and buffers, optimizer and ``resets`` return to this step
            (`Step.start` is initialization); ``"learning-rate"``: weights stay, optimizer and ``resets``
            return to the start; None: nothing returns (fine-tuning).
        allow_collapse: whether a layer may lose all its weights; if not, `LayerCollapsed` is raised.
        train_dense: whether level 0 is trained. False prunes at initialization: there is no level 0, and level 1
            begins with the network as it is.
        rounds: in how many rounds the host removes: in each, what is removed already is zero, the network is observed
            again, and about the same share of what is left goes (`masks.exponential_path`). None: as many as the
            criterion's own ``rounds``, one if it has none.
        connect: whether each class keeps a path from an input (`budbreak.graph.ModelGraph.paths`): the weights of one
            path are spared by all removals of a level, and as many others go, in the same layer or row where the scope
            divides a target. It needs batches, of which the first shows how the network is wired; each record says how
            many weights were exchanged.

    Raises:
        InvalidValue: for combinations that cannot work.
    """

    schedule: Schedule
    criterion: Criterion = Magnitude()
    scope: Scope | None = None
    granularity: Granularity = Element()
    allocation: Allocation | None = None
    floor: int | float = 0
    prunable: Prunable = conv_and_linear
    spare: Sequence[str] = ()
    then: Sequence[FollowUp] = ()
    rewind_to: RewindTo = Step(0)
    allow_collapse: bool = False
    train_dense: bool = True
    rounds: int | None = None
    connect: bool = False

    def __post_init__(self) -> None:
        _check_parts(self)
        object.__setattr__(self, "then", tuple(self.then))
        object.__setattr__(self, "spare", tuple(self.spare))
        _check_together(self)

    @property
    def arena(self) -> Scope:
        """Where the host's scores compete."""
        return scope_of(self.criterion, self.granularity, self.scope)

    @property
    def levels(self) -> int:
        """Prunings; the dense level 0 comes before them."""
        return self.schedule.levels

    @property
    def dense(self) -> Plan:
        """The plan of level 0 alone, the same for all plans that share it: see ``dense`` of `budbreak.iterate`.

        It keeps the criteria that have level 0 watched, and no others.

        Raises:
            InvalidValue: if this plan has no level 0.
        """
        if not self.train_dense:
            rule = "level 0 is not trained where a network is pruned at initialization"
            raise InvalidValue("the plan has train_dense=False", rule, "do without a dense store")
        criterion, then = watching(self.criterion, self.then)
        return Plan(
            schedule=schedules.Dense(),
            criterion=criterion,
            prunable=self.prunable,
            then=then,
            rewind_to=self.rewind_to,
        )

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What follows the host within each level, short names spelt out; one more training ends the level."""
        return stages_of(self.then)

    @property
    def removals(self) -> tuple[Remove, ...]:
        """Those of `stages` that remove weights."""
        return tuple(stage for stage in self.stages if isinstance(stage, Remove))

    def removing(self, stage: int) -> list[int]:
        """Which of `removals` act right before the training that `Level.stage` counts as ``stage``."""
        places, place, trained = list[int](), 0, 0
        for follower in self.stages:
            if isinstance(follower, Train):
                trained += 1
                continue
            places += [place] if trained == stage else []
            place += 1
        return places

    def trainings_of(self, level: int) -> int:
        """How often a level trains: once, and once more for each `Train`; level 0 once or not at all."""
        return int(self.train_dense) if level == 0 else 1 + sum(isinstance(stage, Train) for stage in self.stages)

    @property
    def trainings(self) -> list[tuple[int, int]]:
        """(level, stage) of all trainings, in their order."""
        later = [(level, stage) for level in range(1, self.levels + 1) for stage in range(self.trainings_of(1))]
        return [(0, 0), *later] if self.train_dense else later

    @property
    def observers(self) -> tuple[Observer[object], ...]:
        """What watches the trainings, since the criteria need it."""
        criteria = criteria_of(self.criterion, self.then)
        return tuple(dict.fromkeys(observer for one in criteria for observer in observers_of(one.needs)))

    def rounds_of(self, criterion: Criterion) -> int:
        """In how many rounds a criterion removes."""
        own = getattr(criterion, "rounds", 1)
        return self.rounds if self.rounds is not None and criterion == self.criterion else own

    def target(self, progress: Progress, *, total: int, alive: int) -> LevelTarget:
        """The counts of a level.

        keep = round((1 - sparsity) * total); the share of a `Remove` is floor(q * alive), with q the decimal number
        that was written; the host removes the rest. A level that removes nothing removes nothing by anybody.

        Raises:
            InvalidValue: if the schedule leaves [0, 1), revives weights, keeps none, or if what follows the
                host wants more than the level removes.
        """
        return self._target(progress.level, self.schedule(progress), total, alive)

    def _target(self, level: int, sparsity: float | Fraction, total: int, alive: int) -> LevelTarget:
        where = f"level {level} of {self.schedule}"
        shares, at_most = [removal.q for removal in self.removals], has_budget(self.granularity)
        return count_level(where, level, sparsity, shares, total=total, alive=alive, at_most=at_most)

    def targets(self, total: int, alive: int | None = None) -> list[LevelTarget]:
        """The counts of the levels that are known in advance; ``alive`` (all unless given) are left at level 0.

        They end before the first level for which the schedule looks at metrics or steps.
        """
        start = total if alive is None else alive
        targets = [LevelTarget(0, alive=start, keep=start, host=0, shares=(0,) * len(self.removals))]
        for level in range(1, self.levels + 1):
            try:
                sparsity = foresee(self.schedule, level)
            except NotForeseen:
                break
            targets.append(self._target(level, sparsity, total, targets[-1].keep))
        return targets

    def lacking(self, metrics: Mapping[str, float]) -> list[str]:
        """The metrics that the schedule looks at and a level has not recorded."""
        return [name for name in reads_of(self.schedule) if name not in metrics]

    def count(self, mask: Mask) -> tuple[int, int]:
        """(total, alive) weights of a mask; units, for `Unit`."""
        return _counted(self.granularity, mask)

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
        check_targets(mask, targets, scope=self.arena, granularity=self.granularity, floor=self.floor)

    def fit(self, model: nn.Module) -> Plan:
        """The same plan for the layers of this model: `Unit` knows where their units lie, and which are spared.

        Raises:
            UnknownName: if nothing has a name that is to be spared.
        """
        spared_among(prunable_parameters(model, self.prunable), self.spare)
        scope, granularity = self.arena.fit(model, self.prunable), self.granularity.fit(model, self.prunable)
        scope = self.scope if scope == self.arena else scope  # what nobody said tells no plan from another
        return replace(self, scope=scope, granularity=granularity, schedule=self._schedule(model, granularity))

    def _schedule(self, model: nn.Module, granularity: Granularity) -> Schedule:
        """The same schedule; one that goes by layers knows how much of what is counted may go from each."""
        if not isinstance(self.schedule, schedules.LayerByLayer):
            return self.schedule
        mask = Mask.dense(model, self.prunable)
        spared = spared_among(mask, self.spare)
        sizes = [_counted(granularity, Mask({name: entry}))[0] for name, entry in mask.items() if name not in spared]
        return self.schedule.of([size for size in sizes if size], total=_counted(granularity, mask)[0])

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
        trainings = [self.trainings_of(level) for level in range(self.levels + 1)]
        spared = tuple(plan.granularity.spared)
        whole = () if has_budget(plan.granularity) else spared
        shrinking = Mask({name: entry for name, entry in mask.items() if name not in whole})
        rows = preview_rows(plan.targets(total), shrinking, macs, trainings)
        dense_macs = None if macs is None else macs.total
        return Preview(rows, coverage(unwrap(model), mask), dense_macs, plan.granularity.counted, spared)


def _counted(granularity: Granularity, mask: Mask) -> tuple[int, int]:
    """See `Plan.count`."""
    if isinstance(granularity, Element) or has_budget(granularity):
        return mask.total, mask.kept  # which are counted already
    return count_removable(granularity, mask)


def _check_parts(plan: Plan) -> None:
    """Refuse classes, names and bare values where a plan needs instances: they would fail late, or not at all."""
    example = "bb.schedules.Geometric(rate=0.2, levels=12)"
    check_instance("schedule", plan.schedule, ("levels",), example, choices=schedules.ALL)
    check_count("schedule.levels", plan.schedule.levels, least=0)
    check_reads(plan.schedule)
    check_criterion(plan.criterion, criteria.ALL)
    check_choices(scope=plan.arena, granularity=plan.granularity, allocation=plan.allocation, floor=plan.floor)
    check_prunable(plan.prunable)
    check_then(plan.then)
    check_spare(plan.spare)
    check_rewind(plan.rewind_to)
    for name in ("allow_collapse", "train_dense", "connect"):
        value = getattr(plan, name)
        if not isinstance(value, bool):
            raise InvalidValue(f"{name} is {shown(value)}", "it is True or False", f"write {name}=True")
    if plan.rounds is not None:
        check_count("rounds", plan.rounds)


def _check_together(plan: Plan) -> None:
    """Refuse parts that cannot work together."""
    if plan.connect:
        check_exchangeable(plan.arena, plan.granularity)
    check_single_weights(plan.then, plan.granularity)
    check_one_number(plan.arena, plan.removals)
    if not plan.train_dense:
        check_untrained(plan.schedule, plan.rewind_to)
    check_times(_acting(plan), train_dense=plan.train_dense)
    check_rounds(plan.arena, plan.rounds_of(plan.criterion), plan.criterion)


def _acting(plan: Plan) -> Iterator[tuple[Criterion, bool]]:
    """The criteria that remove weights in the first two levels, each with whether a training comes before it."""
    for level in range(1, min(plan.levels, 2) + 1):
        for stage in range(plan.trainings_of(level)):
            trained = plan.train_dense or (level, stage) > (1, 0)
            removing = [plan.removals[place].criterion for place in plan.removing(stage)]
            for criterion in [*([None] if stage == 0 else []), *removing]:
                yield plan.criterion if criterion is None else criterion, trained
