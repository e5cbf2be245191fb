"""Comparison of arms: differences, by seed where there are pairs, with t-intervals and corrected p-values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import replace

from budbreak.diagnostics import Quantity
from budbreak.errors import InvalidValue
from budbreak.results.compacting import is_compaction
from budbreak.results.intervals import estimate, holm, welch
from budbreak.results.result import ArmResult, Counted, Difference, LevelResult

_Sides = tuple[Sequence[LevelResult], Sequence[LevelResult]]  # of the reference and the arm, at one level


def paired_differences(
    levels: Sequence[LevelResult], arms: Sequence[ArmResult], quantities: Sequence[Quantity]
) -> list[Difference]:
    """Each arm minus its reference, level by level, over the seeds that both have.

    Holm's correction goes over all differences of one quantity: every arm at every level. A dense level that two
    arms share is one and the same training: there is nothing to compare, and it has no row.

    Args:
        levels: of all arms and seeds.
        arms: an arm without a reference is compared with none.
        quantities: what is compared; one that an arm lacks at a level has no row there.

    Raises:
        InvalidValue: if an arm and its reference kept different numbers of weights (of units, where whole units go)
            at the same level and seed: each keeps what its plan says, exactly, so their plans differ in what they
            count.
    """
    sides = list(_compared(levels, arms, {arm.name for arm in arms}))
    for base, own in sides:
        _check_pairs(zip(base, own, strict=True))
    return _rows(sides, {arm.name for arm in arms}, quantities)


def differences_of_strangers(
    levels: Sequence[LevelResult],
    arms: Sequence[ArmResult],
    quantities: Sequence[Quantity],
    *,
    unlike: Set[str] = frozenset(),
) -> list[Difference]:
    """`paired_differences` of arms that were not planned together: of several runs, or of somebody's own loops.

    An arm is paired with its reference by seed where all seeds that both have start from the same dense training: it
    took equally many steps to the same numbers. Others are two groups: their difference is `welch`'s. Where they keep
    different numbers of weights they are not compared, and there is no row.

    Args:
        levels: of all arms and seeds.
        arms: an arm without a reference is compared with none.
        quantities: what is compared.
        unlike: arms that are no pairs with their reference, whatever their numbers: trained in another way.
    """
    paired = {arm.name for arm in arms if arm.name not in unlike and _same_dense(levels, arm)}
    sides = [(base, own) for base, own in _compared(levels, arms, paired) if _survivors(base) == _survivors(own)]
    return _rows(sides, paired, quantities)


def _same_dense(levels: Sequence[LevelResult], arm: ArmResult) -> bool:
    base, own = _at(levels, arm.reference, 0), _at(levels, arm.name, 0)
    common = base.keys() & own.keys()
    return bool(common) and all(_same_training(base[seed], own[seed]) for seed in common)


def _survivors(side: Sequence[LevelResult]) -> set[Counted]:
    return {level.survivors for level in side}


def _at(levels: Iterable[LevelResult], arm: str | None, number: int) -> dict[int, LevelResult]:
    """The results of an arm at a level, by seed."""
    here = (level for level in levels if (level.arm, level.level) == (arm, number))
    return {level.seed: level for level in sorted(here, key=lambda level: level.seed)}


def _compared(levels: Sequence[LevelResult], arms: Sequence[ArmResult], paired: Set[str]) -> Iterator[_Sides]:
    """For each arm with a reference, level by level, the reference's results and its own; pairs are side by side."""
    for arm in arms:
        for number in sorted({level.level for level in levels}):
            base, own = _at(levels, arm.reference, number), _at(levels, arm.name, number)
            if arm.name in paired:
                both = base.keys() & own.keys()
                base, own = ({seed: row for seed, row in side.items() if seed in both} for side in (base, own))
                if number == 0 and all(_same_training(base[seed], own[seed]) for seed in both):
                    continue
            if base and own:
                yield tuple(base.values()), tuple(own.values())


def _same_training(base: LevelResult, own: LevelResult) -> bool:
    """Whether all that was measured of both is the same; times, which never are, are not looked at."""
    both = {name for name in base.numbers.keys() & own.numbers.keys() if not is_compaction(name)}
    return base.steps == own.steps and bool(both) and all(base.numbers[name] == own.numbers[name] for name in both)


def _rows(sides: Sequence[_Sides], paired: Set[str], quantities: Sequence[Quantity]) -> list[Difference]:
    def has(side: _Sides, name: str) -> bool:
        """A network whose activations are not seen has no dead neuron rates."""
        return all(name in level.numbers for levels in side for level in levels)

    return [
        row
        for quantity in quantities
        for row in _corrected([_difference(side, quantity.name, paired) for side in sides if has(side, quantity.name)])
    ]


def _difference(sides: _Sides, name: str, paired: Set[str]) -> Difference:
    base, own = sides
    theirs, ours = ([level.numbers[name] for level in side] for side in sides)
    pairs = own[0].arm in paired
    found = estimate([b - a for a, b in zip(theirs, ours, strict=True)]) if pairs else welch(ours, theirs)
    return Difference(
        level=own[0].level,
        density=own[0].density,
        arm=own[0].arm,
        reference=base[0].arm,
        quantity=name,
        n=len(own),
        mean=found.mean,
        low=found.low,
        high=found.high,
        p=found.p if found.p is not None and math.isfinite(found.p) else None,
        p_adjusted=None,
        n_reference=None if pairs else len(base),
    )


def _corrected(rows: Sequence[Difference]) -> list[Difference]:
    """The rows of one quantity with their adjusted p-values; rows without p stay without."""
    adjusted = iter(holm([row.p for row in rows if row.p is not None]))
    return [row if row.p is None else replace(row, p_adjusted=next(adjusted)) for row in rows]


def _check_pairs(pairs: Iterable[tuple[LevelResult, LevelResult]]) -> None:
    for a, b in pairs:
        check_equal_survivors(f"level {a.level}, seed {a.seed}", (a.arm, a.survivors), (b.arm, b.survivors))


def check_equal_survivors(where: str, base: tuple[str, Counted], own: tuple[str, Counted]) -> None:
    """Refuse to compare two arms, each by name, that keep other numbers of weights: by plan, as they are exact.

    Raises:
        InvalidValue: with both numbers.
    """
    (reference, theirs), (arm, ours) = base, own
    if theirs == ours:
        return
    unit = "" if theirs.what == ours.what else f" {ours.what}"
    raise InvalidValue(
        f"at {where}, arm {reference} keeps {theirs.kept} of {theirs.total} {theirs.what}, "
        f"{arm} {ours.kept} of {ours.total}{unit}",
        "arms are compared at the same number of survivors, and the plans of these count differently: single weights "
        "and whole units, other schedules, other networks, or other prunable weights",
        'give both arms the same, or write reference = "none" for one of them',
    )
