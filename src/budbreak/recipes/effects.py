"""Fields of a recipe that have no effect beside the others: they are refused, not ignored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from budbreak.errors import InvalidValue
from budbreak.evidence import Observer, StartWeights, Weights
from budbreak.iteration import criteria_of
from budbreak.recipes.sections import Setup
from budbreak.values import shown_plain


class Arm(Protocol):
    """What is asked of an arm here."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def overrides(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def setup(self) -> Setup: ...  # noqa: D102


@dataclass(frozen=True)
class Rule:
    """When a field has no effect.

    Args:
        path: of the field.
        idle: whether it has none in a setup.
        why: what takes it away.
        fix: what to do about it.
    """

    path: str
    idle: Callable[[Setup], bool]
    why: str
    fix: str


def _data_free(setup: Setup) -> bool:
    needs = [need for criterion in criteria_of(setup.prune.criterion, setup.prune.then) for need in criterion.needs]
    return not setup.prune.connect and all(isinstance(need, Weights | StartWeights | Observer) for need in needs)


def _never_prunes(setup: Setup) -> bool:
    return setup.prune.schedule.levels == 0


def _of_pruning(name: str) -> Rule:
    return Rule(f"prune.{name}", _never_prunes, "the schedule is dense: nothing is pruned", "take it out")


def _of_search(name: str) -> Rule:
    fix = 'take it out, or write activations.space = "paper"'
    why = "no activations are searched"
    return Rule(f"activations.{name}", lambda setup: not setup.activations.searches, why, fix)


def _of_tuning(name: str) -> Rule:
    fix = 'take it out, or write tune.space = "safs"'
    return Rule(f"tune.{name}", lambda setup: not setup.tune.searches, "no hyper-parameters are searched", fix)


RULES = (
    *map(_of_search, ("sampler", "trials", "epochs", "stop", "parallel", "finalists")),
    *map(_of_tuning, ("sampler", "trials", "epochs", "stop", "parallel", "finalists")),
    Rule(
        "activations.trainable",
        lambda setup: setup.activations.use is None and setup.activations.space is None,
        "the network keeps its own activations, which have no scalars",
        'take it out, or write activations.use = "relu"',
    ),
    Rule(
        "activations.per",
        lambda setup: not setup.activations.trainable,
        "no scalars are trained",
        "take it out, or write activations.trainable = true",
    ),
    *map(_of_pruning, ("criterion", "then", "scope", "allocation", "floor", "granularity", "spare", "steps")),
    *map(_of_pruning, ("images", "allow_collapse", "rewind", "rewind_epoch", "rounds", "connect")),
    Rule(
        "prune.allocation",
        lambda setup: not setup.prune.scope.divides,
        "in this scope no target is divided over layers",
        'take it out, or write scope = "layer"',
    ),
    Rule("prune.images", _data_free, "the criterion looks at weights only", "take it out, or choose another criterion"),
    Rule(
        "prune.rewind_epoch",
        lambda setup: setup.prune.rewind != "weights",
        "the weights do not return",
        'take it out, or write rewind = "weights"',
    ),
    Rule("measure.images", lambda setup: not setup.measure.diagnostics, "nothing is measured", "take it out"),
    Rule("measure.every", lambda setup: not setup.measure.diagnostics, "nothing is measured", "take it out"),
)


def check_effects(base: Mapping[str, Any], arms: Sequence[Arm], given: Iterable[str]) -> None:
    """Refuse what was given although it has no effect: at these paths of the sections in no arm, or in an arm's own.

    Raises:
        InvalidValue: with the field, what takes its effect away, and the fix.
    """
    fields = {".".join(path.split(".")[:2]) for path in given}
    for rule in RULES:
        section, name = rule.path.split(".")
        if rule.path in fields and all(rule.idle(arm.setup) for arm in arms):
            raise _without_effect(rule, base[section][name], "")
        for arm in arms:
            if rule.path in arm.overrides and rule.idle(arm.setup):
                raise _without_effect(rule, arm.overrides[rule.path], f"arm {arm.name!r}: ")


def _without_effect(rule: Rule, value: object, where: str) -> InvalidValue:
    return InvalidValue(
        f"{where}{rule.path} is {shown_plain(value)}", f"{rule.why}: a field without effect is refused", rule.fix
    )
