"""The tables of a study: accuracies, differences and dead neuron rates at some densities."""

from __future__ import annotations

from collections.abc import Sequence

from budbreak.results import TEST_ACCURACY, Difference
from reproductions.cells import REWOUND
from reproductions.study import Pair, Study
from reproductions.wording import NOTHING, density, percent, points, table

DYNAMIC, STATIC, TOTAL = "dead_units_dynamic", "dead_units_static", "dead_units_total"


def accuracy_table(study: Study, arms: Sequence[str]) -> str:
    """Test accuracy in percent, mean and standard deviation over seeds."""
    rows = [[arm, _seeds(study, arm), *(_accuracy(study, arm, level) for level in _levels(study))] for arm in arms]
    return table(["test accuracy, %", "seeds", *(density(study.density[level]) for level in _levels(study))], rows)


def difference_table(study: Study, pairs: Sequence[Pair], quantity: str, head: str) -> str:
    """Differences in points with their uncorrected 95 % intervals; bold where Holm's p is below 0.05."""
    rows = study.differences(pairs, quantity)
    found = {(row.arm, row.reference, row.level): row for row in rows}
    lines = [[f"{arm} - {ref}", *(_cell(found.get((arm, ref, level))) for level in study.shown)] for arm, ref in pairs]
    return table([head, *(density(study.density[level]) for level in study.shown)], lines)


def dead_unit_table(study: Study, arms: Sequence[str], *, rewound: bool) -> str:
    """Static and dynamic dead neuron rates in percent, means over seeds."""
    before = REWOUND if rewound else ""
    when = "right after rewinding" if rewound else "after training"
    rows = [
        [arm, *(_rates(study, arm, level, before) for level in _levels(study))]
        for arm in arms
        if any(study.mean(arm, level, f"{before}{DYNAMIC}") is not None for level in _levels(study))
    ]
    head = f"static + dynamic DNR {when}, %"
    return table([head, *(density(study.density[level]) for level in _levels(study))], rows)


def _levels(study: Study) -> list[int]:
    return [0, *study.shown]


def _seeds(study: Study, arm: str) -> str:
    count = len(study.seeds_of(arm))
    return str(count) if count == study.seeds else f"{count} of {study.seeds}"


def _accuracy(study: Study, arm: str, level: int) -> str:
    mean, spread = (find(arm, level, TEST_ACCURACY.name) for find in (study.mean, study.spread))
    return percent(mean) if spread is None else f"{percent(mean)} +- {percent(spread)}"


def _cell(row: Difference | None) -> str:
    if row is None:
        return NOTHING
    bold = "**" if row.p_adjusted is not None and row.p_adjusted < 0.05 else ""
    return f"{bold}{points(row)}{bold}"


def _rates(study: Study, arm: str, level: int, before: str) -> str:
    static, dynamic = (study.mean(arm, level, f"{before}{name}") for name in (STATIC, DYNAMIC))
    return f"{percent(static, 1)} + {percent(dynamic, 1)}"
