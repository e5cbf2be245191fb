"""Numbers of survivors that cannot be reached, refused before anything is scored or trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from budbreak.errors import InvalidValue
from budbreak.masks.contest import Scope
from budbreak.masks.counts import sparsity_of
from budbreak.masks.floors import check_floors, check_reached_floors, floors_of
from budbreak.masks.granularity import Granularity, has_budget
from budbreak.masks.mask import Mask


def check_targets(
    alive: Mask, targets: Mapping[str, tuple[int, int]], *, scope: Scope, granularity: Granularity, floor: int | float
) -> None:
    """Refuse to keep what cannot be kept.

    Args:
        alive: what competes.
        targets: what is asked, in words -> (how many the scope is to keep, how many stay in the end, once follow-ups
            have removed more), of what the granularity counts.
        scope: fitted to the model.
        granularity: fitted to the model.
        floor: as in `select`.

    Raises:
        InvalidValue: if the floor wants more to stay, or the scope can keep another number only.
    """
    shrunk = {name: granularity.shrink(name, entry) for name, entry in alive.items()}
    sizes = {name: entry.numel() for name, entry in shrunk.items()}
    floors = floors_of(floor, sizes, {name: int(entry.count_nonzero()) for name, entry in shrunk.items()})
    if has_budget(granularity):
        _check_budgets(alive, shrunk, targets)
        _check_fitting(alive, granularity, floor, floors, targets)
    else:
        for asked, (_, keep) in targets.items():
            check_floors(floor, floors, keep, asked)
    reached = scope.reach(shrunk)
    if reached is not None:
        check_reached_floors(scope, reached, floors)
        _check_reached(scope, sum(reached.values()), targets, sum(sizes.values()))


def check_rounds(scope: Scope, rounds: int, criterion: object) -> None:
    """Refuse several rounds of removal where a scope can keep one number only.

    Raises:
        InvalidValue: with what to write.
    """
    if rounds > 1 and keeps_one_number(scope):
        rule = "the numbers that stay after each round but the last are none that it can keep"
        raise InvalidValue(f"{criterion} removes in {rounds} rounds, in scope {scope}", rule, "write rounds=1")


def keeps_one_number(scope: Scope) -> bool:
    """Whether a scope can keep one number of what is alive only, as N:M does."""
    return scope.reach({}) is not None


def _check_budgets(alive: Mask, shrunk: Mapping[str, Tensor], targets: Mapping[str, tuple[int, int]]) -> None:
    """Refuse budgets that what is spared uses up."""
    spared = [name for name, entry in shrunk.items() if not entry.numel()]
    held = sum(alive.kept_in(name) for name in spared)
    for asked in (asked for asked, (keep, _) in targets.items() if keep <= held):
        rule = f"{held} weights of {', '.join(spared)} stay in any case: units of the network's outputs"
        raise InvalidValue(asked, rule, "keep more, or give outputs=() to prune them as well")


def _check_fitting(
    alive: Mask,
    granularity: Granularity,
    floor: int | float,
    floors: Mapping[str, int],
    targets: Mapping[str, tuple[int, int]],
) -> None:
    """Refuse budgets in which the smallest of what stays by the floors, and what is spared, do not fit."""
    sizes = {name: cast(Any, granularity).weigh(name, alive[name]) for name in alive}
    spared = alive.kept - sum(int(size.sum()) for size in sizes.values())
    least = spared + sum(
        int(size[size > 0].sort().values[: floors[name]].sum()) for name, size in sizes.items() if size.numel()
    )
    for asked in (asked for asked, (_, keep) in targets.items() if keep < least):
        rule = f"{least} weights stay at least: whole units, or blocks, by the floor of {floor}, and what is spared"
        raise InvalidValue(asked, rule, f"keep at least {least}, or lower the floor")


def _check_reached(scope: Scope, reached: int, targets: Mapping[str, tuple[int, int]], total: int) -> None:
    for asked, (keep, end) in targets.items():
        if keep != reached:
            more = f", where follow-ups remove {keep - end}" if end < keep else ""
            sparsity = sparsity_of(reached - keep + end, total)
            rule = f"{scope} keeps exactly {reached} of these {total}{more}"
            raise InvalidValue(asked, rule, f"give the sparsity that it reaches: {sparsity}")
