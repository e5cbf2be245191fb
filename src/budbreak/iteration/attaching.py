"""Which optimizers can train the model of an iteration: given to it, or attached to one training after the other."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

from torch.optim import Optimizer

from budbreak.errors import InvalidValue
from budbreak.iteration.identity import Setup, describe_optimizer, describe_reset, differences, names_of, short_name
from budbreak.iteration.rates import is_scheduler
from budbreak.live import Resettable, check_averages, check_disjoint, check_own, check_ownership
from budbreak.masks import Mask, prunable_parameters


def check_fit(setup: Setup, optimizers: Sequence[Optimizer], resets: Sequence[Resettable]) -> None:
    """Refuse optimizers that cannot train the model together.

    Args:
        setup: with the model.
        optimizers: at least one.
        resets: all that is put back with them.

    Raises:
        InvalidValue: for a sharded optimizer, or two that hold the same parameter.
        ForeignParameter: if they lack a prunable weight, or hold what is neither the model's nor in ``resets``.
    """
    for optimizer in optimizers:
        if hasattr(optimizer, "consolidate_state_dict"):  # ZeroRedundancyOptimizer
            raise InvalidValue(
                f"optimizer is a {type(optimizer).__name__}, of whose state each rank holds a part",
                "its whole state is put back at each level",
                "give the plain optimizer that it wraps",
            )
    check_ownership(optimizers, dict(prunable_parameters(setup.model, setup.plan.prunable)))
    names = names_of(setup.model, resets)
    check_disjoint(optimizers, names)
    check_own(optimizers, names)


def check_resets(setup: Setup, resets: Sequence[Resettable]) -> None:
    """Refuse averages of the weights that cannot be masked; see `check_averages`."""
    check_averages(resets, setup.model, Mask.dense(setup.model, setup.plan.prunable))


def describe_attached(setup: Setup, optimizers: Sequence[Optimizer], resets: Sequence[Resettable]) -> dict[str, Any]:
    """What is attached to a training, before its first step: optimizers, schedulers with their settings, other classes.

    The state of anything else may depend on the weights, as that of an average does.
    """
    names = names_of(setup.model, (*setup.resets, *resets))
    others = [describe_reset(item) if is_scheduler(item) else {"is": short_name(item)} for item in resets]
    return {"optimizers": [describe_optimizer(optimizer, names) for optimizer in optimizers], "resets": others}


def check_same_as_before(now: dict[str, Any], before: dict[str, Any], where: str, *, goes_on: bool) -> None:
    """Refuse optimizers, or resets, of another kind than those of the training before.

    Args:
        now: what is attached, see `describe_attached`.
        before: what was attached before.
        where: the training, for the message.
        goes_on: whether it was killed in its middle; then learning rates and schedulers are the same as well.

    Raises:
        InvalidValue: with the first difference.
    """
    changed = differences(before, now) if goes_on else differences(_kinds(before), _kinds(now))
    if changed:
        raise InvalidValue(
            f"{where} attaches other things than {'before it was killed' if goes_on else 'the training before'}: "
            f"{changed[0]}",
            "the trainings of an iteration have optimizers and resets of one kind, made anew in each",
            "attach such as before; or give another store, where everything begins anew",
        )


def _kinds(described: dict[str, Any]) -> dict[str, Any]:
    """Without learning rates, and what schedulers make of them."""
    groups = [[{**group, "learning_rate": None} for group in one["groups"]] for one in described["optimizers"]]
    optimizers = [{**one, "groups": own} for one, own in zip(described["optimizers"], groups, strict=True)]
    return {"optimizers": optimizers, "resets": [item["is"] for item in described["resets"]]}


def references(items: Iterable[object]) -> list[weakref.ref[Any]]:
    """Weak references to those of the items that can have them."""
    found: list[weakref.ref[Any]] = []
    for item in items:
        with contextlib.suppress(TypeError):  # an object with slots, perhaps
            found.append(weakref.ref(item))
    return found
