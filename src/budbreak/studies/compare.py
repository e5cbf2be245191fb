"""Paired comparison of arms: differences by seed, with t-intervals, and p-values corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from budbreak.diagnostics import Quantity
from budbreak.errors import InvalidValue
from budbreak.studies.intervals import estimate, holm
from budbreak.studies.result import ArmResult, Counted, LevelResult, PairedDifference

_Pairs = Sequence[tuple[LevelResult, LevelResult]]


def paired_differences(
    levels: Sequence[LevelResult], arms: Sequence[ArmResult], quantities: Sequence[Quantity]
) -> list[PairedDifference]:
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
    pairs = list(_compared(levels, arms))
    for pair in pairs:
        _check_pairs(pair)
    return [
        row
        for quantity in quantities
        for row in _corrected([_difference(pair, quantity.name) for pair in pairs if _all_have(pair, quantity.name)])
    ]


def _compared(levels: Sequence[LevelResult], arms: Sequence[ArmResult]) -> Iterator[_Pairs]:
    """For each arm with a reference, level by level, its results beside the reference's."""
    cells = {(level.arm, level.seed, level.level): level for level in levels}
    seeds = sorted({level.seed for level in levels})
    for arm in arms:
        for number in sorted({level.level for level in levels}):
            pairs = [_pair(cells, arm, seed, number) for seed in seeds]
            both = [pair for pair in pairs if pair is not None]
            if both and not (number == 0 and all(_same_training(*pair) for pair in both)):
                yield both


def _pair(
    cells: Mapping[tuple[str, int, int], LevelResult], arm: ArmResult, seed: int, number: int
) -> tuple[LevelResult, LevelResult] | None:
    if arm.reference is None:
        return None
    base, own = cells.get((arm.reference, seed, number)), cells.get((arm.name, seed, number))
    return None if base is None or own is None else (base, own)


def _same_training(base: LevelResult, own: LevelResult) -> bool:
    return base.numbers == own.numbers and base.steps == own.steps


def _all_have(pairs: _Pairs, name: str) -> bool:
    """A network whose activations are not seen has no dead neuron rates."""
    return all(name in level.numbers for pair in pairs for level in pair)


def _difference(pairs: _Pairs, name: str) -> PairedDifference:
    base, own = pairs[0]
    estimated = estimate([other.numbers[name] - reference.numbers[name] for reference, other in pairs])
    p = estimated.p if estimated.p is not None and math.isfinite(estimated.p) else None
    return PairedDifference(
        level=own.level,
        density=own.density,
        arm=own.arm,
        reference=base.arm,
        quantity=name,
        n=estimated.n,
        mean=estimated.mean,
        low=estimated.low,
        high=estimated.high,
        p=p,
        p_adjusted=None,
    )


def _corrected(rows: Sequence[PairedDifference]) -> list[PairedDifference]:
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
