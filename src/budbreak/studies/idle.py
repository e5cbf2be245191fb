"""Fields of a recipe that have no effect beside the others: they are refused, not ignored."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from budbreak import criteria, schedules
from budbreak.errors import InvalidValue
from budbreak.evidence import StartWeights, Weights
from budbreak.studies.arms import ARMS
from budbreak.studies.names import by_name

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Rule:
    """When a field has no effect.

    Args:
        field: the field.
        because: the other field that decides.
        idle: whether ``field`` is without effect; asked with the value of ``because`` only.
        fix: what to do about it.
    """

    field: str
    because: str
    idle: Callable[[Any], bool]
    fix: str


def _schedule_lacks(field: str) -> Callable[[str], bool]:
    def lacks(schedule: str) -> bool:
        kind = by_name(schedules.ALL).get(schedule)
        return kind is not None and field not in {one.name for one in dataclasses.fields(kind)}

    return lacks


def _without_share(arms: Iterable[str]) -> bool:
    """Whether the arms are the same for every q."""
    return all(ARMS[arm](0.1) == ARMS[arm](0.2) for arm in arms if arm in ARMS)


def _data_free(criterion: str) -> bool:
    kind = by_name(criteria.ALL).get(criterion)
    return kind is not None and all(isinstance(need, Weights | StartWeights) for need in getattr(kind, "needs", ()))


_TAKE_OUT = "take it out, or choose another"

RULES = (
    Rule("rate", "schedule", _schedule_lacks("rate"), f"{_TAKE_OUT} schedule"),
    Rule("sparsity", "schedule", _schedule_lacks("sparsity"), f"{_TAKE_OUT} schedule"),
    Rule("levels", "schedule", _schedule_lacks("levels"), f"{_TAKE_OUT} schedule"),
    Rule("q", "arms", _without_share, f"{_TAKE_OUT} arm: ap-lite, ap-pro and host-split read q"),
    Rule("milestones", "gamma", lambda gamma: gamma == 1, f"{_TAKE_OUT} gamma"),
    Rule("gamma", "milestones", lambda milestones: not milestones, "take it out, or add milestones"),
    Rule("probe_images", "criterion", _data_free, f"{_TAKE_OUT} criterion: this one looks at weights only"),
    Rule("rewind_epoch", "rewind", lambda rewind: rewind != "weights", 'take it out, or write rewind = "weights"'),
)  # fmt: skip
"""All of them; each field has one at most."""


def idle_fields(values: Values) -> dict[str, Rule]:
    """Field -> why it has no effect, given the values of all fields."""
    return {rule.field: rule for rule in RULES if rule.idle(values[rule.because])}


def check_given(given: Values, values: Values) -> None:
    """Refuse what was given though it has no effect.

    Raises:
        InvalidValue: with the field, the field that decides, and the fix.
    """
    for field, rule in idle_fields(values).items():
        if field in given:
            raise InvalidValue(
                f"{field} is {given[field]!r}, with {rule.because} = {values[rule.because]!r}",
                f"{field} has no effect there, and a field without effect is refused",
                rule.fix,
            )


def set_aside(file: Values, flags: Values, values: Values) -> dict[str, Rule]:
    """The fields of a file that a flag leaves without effect: ``--arms host`` makes the file's q idle."""
    idle = idle_fields(values)
    return {
        field: rule for field, rule in idle.items() if field in file and field not in flags and rule.because in flags
    }
