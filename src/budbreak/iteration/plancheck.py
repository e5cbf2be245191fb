"""What a plan refuses: parts that are none, and combinations that cannot work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from budbreak.checks import check_count, check_instance, shown
from budbreak.criteria import Criterion, Snip
from budbreak.errors import InvalidValue
from budbreak.evidence import Observer, StartWeights
from budbreak.iteration import followups
from budbreak.iteration.followups import FollowUp, Remove, Stage
from budbreak.iteration.step import Step
from budbreak.masks import Element, Granularity, Scope, keeps_one_number
from budbreak.schedules import Schedule, reads_of


def check_reads(schedule: Schedule) -> None:
    """Refuse a schedule that does not say as a tuple which metrics it looks at.

    Raises:
        InvalidValue: with what to write.
    """
    reads = getattr(schedule, "reads", ())
    if not isinstance(reads, list | tuple) or not all(isinstance(name, str) for name in cast(Sequence[object], reads)):
        example = f"({reads!r},)" if isinstance(reads, str) else '("accuracy",)'
        value = f"schedule.reads is {shown(reads)}"
        raise InvalidValue(value, "it is a tuple of the names of metrics", f"write reads = {example}")


def check_then(then: object) -> None:
    """Refuse what is no list of stages and short names of stages.

    Raises:
        InvalidValue: with what to write.
    """
    if not isinstance(then, list | tuple):
        own = then if isinstance(then, followups.ALL) else "bb.ActivateWhilePruning(q=0.02)"
        raise InvalidValue(f"then is {shown(then)}", "it is a list of stages", f"write then=[{own}]")
    for follow_up in cast(Sequence[object], then):
        example = "[bb.ActivateWhilePruning(q=0.02)]"
        check_instance("then", follow_up, ("stages",), example, call=False, choices=followups.ALL)
        stages = cast(object, cast(FollowUp, follow_up).stages)
        if not isinstance(stages, tuple) or not all(isinstance(s, Stage) for s in cast(Sequence[object], stages)):
            value = f"stages of {type(follow_up).__name__} is {shown(stages)}"
            raise InvalidValue(
                value, "it is a tuple of values of Remove and Train", "give such a tuple, of one value at least"
            )


def check_spare(spare: object) -> None:
    """Refuse what is no list of patterns.

    Raises:
        InvalidValue: with what to write.
    """
    listed = isinstance(spare, list | tuple)
    if not listed or not all(isinstance(pattern, str) for pattern in cast(Sequence[object], spare)):
        example = f"[{spare!r}]" if isinstance(spare, str) else '["fc3.*"]'
        raise InvalidValue(f"spare is {shown(spare)}", "it is a list of glob patterns", f"write spare={example}")


def check_single_weights(then: Iterable[FollowUp], granularity: Granularity) -> None:
    """Refuse to let a criterion of its own follow a host that removes anything but single weights.

    Raises:
        InvalidValue: with what follows.
    """
    for follow_up in then:
        own = any(isinstance(stage, Remove) and stage.criterion is not None for stage in follow_up.stages)
        if own and not isinstance(granularity, Element):
            raise InvalidValue(
                f"{follow_up} after a host of granularity {granularity}",
                "a criterion of its own removes single weights: it goes with Element() only",
                "write granularity=bb.Element(), or leave it out of then",
            )


def check_one_number(scope: Scope, removals: Sequence[Remove]) -> None:
    """Refuse to let the host remove twice in a level, where its scope leaves one number of weights only.

    Raises:
        InvalidValue: with the removal.
    """
    again = [removal for removal in removals if removal.criterion is None and removal.q > 0]
    if again and keeps_one_number(scope):
        rule = "the host removes all at once in a scope that leaves one number of weights"
        raise InvalidValue(f"{again[0]} after a host of scope {scope}", rule, "leave it out of then")


def check_rewind(rewind_to: object) -> None:
    """Refuse what is nothing to rewind to.

    Raises:
        InvalidValue: with what to write.
    """
    if not (rewind_to is None or isinstance(rewind_to, Step) or _is(rewind_to, "learning-rate")):
        near = f"bb.Step({max(0, int(rewind_to))})" if isinstance(rewind_to, int) else "bb.Step(0)"
        near = "'learning-rate'" if _is(rewind_to, "lr") else near
        rule = "it must be a Step, 'learning-rate' or None"
        raise InvalidValue(f"rewind_to is {shown(rewind_to)}", rule, f"write rewind_to={near}")


def check_times(acting: Iterable[tuple[Criterion, bool]], *, train_dense: bool) -> None:
    """Refuse criteria that act before what they look at, or after what they are made for.

    Args:
        acting: criteria, each with whether a training comes before it removes weights.
        train_dense: of the plan.

    Raises:
        InvalidValue: with what to do about it.
    """
    for criterion, trained in acting:
        check_count(f"rounds of {criterion}", getattr(criterion, "rounds", 1))
        lacking = [] if trained else [need for need in criterion.needs if isinstance(need, StartWeights | Observer)]
        if lacking:
            raise InvalidValue(
                f"{criterion} is to remove weights before the first training (train_dense=False)",
                "it looks at a training that is over, and there is none yet",
                "leave train_dense out, or let a Train() come before it",
            )
        if trained and getattr(criterion, "at_initialization", False):
            value = f"{criterion} is to remove weights after a training"
            raise InvalidValue(value, "it scores a network at initialization", _initially(criterion, train_dense))


def _initially(criterion: Criterion, train_dense: bool) -> str:
    """What to do with a criterion that scores a network at initialization."""
    if train_dense and isinstance(criterion, Snip):
        return "write train_dense=False; after a training, SNIP's formula is that of criteria.Taylor()"
    if train_dense:
        return "write train_dense=False, or choose another criterion, criteria.Taylor() say"
    return "prune in one level, once, and after a Train() by another criterion"


def check_untrained(schedule: Schedule, rewind_to: object) -> None:
    """Refuse what there is not without a level 0.

    Raises:
        InvalidValue: with what to write.
    """
    if schedule.levels == 0:
        rule = "without level 0 and without a pruning, nothing would be trained"
        raise InvalidValue("train_dense is False with a schedule of no levels", rule, "leave train_dense out")
    if isinstance(rewind_to, Step) and rewind_to.count > 0:
        rule = "the step to rewind to lies within the training of level 0, and there is none"
        raise InvalidValue(f"rewind_to is {rewind_to}, train_dense False", rule, "write rewind_to=bb.Step(0)")
    if reads := reads_of(schedule):
        value = f"train_dense is False, and {schedule} looks at {', '.join(reads)}"
        raise InvalidValue(value, "nothing is recorded before level 1", "choose one that looks at the level alone")


def _is(value: object, text: str) -> bool:
    """Equal, for values whose own ``==`` is no bool (tensors)."""
    return isinstance(value, str) and value == text
