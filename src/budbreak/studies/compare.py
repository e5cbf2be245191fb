"""Paired comparison of arms: differences by seed, with t-intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from budbreak.errors import InvalidValue
from budbreak.studies.intervals import estimate
from budbreak.studies.result import LevelResult, PairedDifference

METRICS = ("test_accuracy", "validation_accuracy", "dnr_total", "dnr_static", "dnr_dynamic")


def paired_differences(levels: Sequence[LevelResult], arms: Sequence[str]) -> list[PairedDifference]:
    """Each arm minus the first, level by level, over the seeds that both have.

    Raises:
        InvalidValue: if two arms kept different numbers of weights at the same level and seed: each keeps what its plan
            says, exactly, so their plans differ in what they count.
    """
    cells = {(one.arm, one.seed, one.level): one for one in levels}
    found: list[PairedDifference] = []
    for arm in arms[1:]:
        for level in sorted({one.level for one in levels}):
            pairs = [
                (cells[arms[0], seed, level], cells[arm, seed, level])
                for seed in sorted({one.seed for one in levels})
                if (arms[0], seed, level) in cells and (arm, seed, level) in cells
            ]
            _check_equal_survivors(pairs)
            found.extend(_differences(pairs, metric) for metric in METRICS if pairs and _all_have(pairs, metric))
    return found


def _all_have(pairs: Sequence[tuple[LevelResult, LevelResult]], metric: str) -> bool:
    """A network whose activations are not seen has no dead neuron rates."""
    return all(metric in one.metrics for pair in pairs for one in pair)


def _differences(pairs: Sequence[tuple[LevelResult, LevelResult]], metric: str) -> PairedDifference:
    reference, other = pairs[0]
    values = [b.metrics[metric] - a.metrics[metric] for a, b in pairs]
    found = estimate(values)
    return PairedDifference(
        level=other.level,
        density=other.density,
        arm=other.arm,
        reference=reference.arm,
        metric=metric,
        n=found.n,
        mean=found.mean,
        low=found.low,
        high=found.high,
    )


def _check_equal_survivors(pairs: Iterable[tuple[LevelResult, LevelResult]]) -> None:
    for a, b in pairs:
        if a.kept != b.kept:
            raise InvalidValue(
                f"at level {a.level}, seed {a.seed}, arm {a.arm} keeps {a.kept} of {a.total} weights, "
                f"{b.arm} {b.kept} of {b.total}",
                "arms are compared at the same number of surviving weights, and the plans of these count differently: "
                "single weights and whole units, other schedules, or other prunable weights",
                "give both arms the same granularity, schedule and prunable, or run them as two runs",
            )
