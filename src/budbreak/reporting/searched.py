"""What searches before a last training cost, and promised, as a table for the page."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from statistics import fmean

from budbreak.reporting.tables import Table, pivot
from budbreak.reporting.wording import number
from budbreak.results import RunResult
from budbreak.studies import is_search

_WIDE = 20  # letters in a line of a heading
_NOTE = (
    "Means over seeds; time is that of all trainings of a search, one after the other, and differs from run to run. "
    "Arms that search for the same share its trials. The accuracy is that by which the chosen one was chosen: as the "
    "best of several it flatters."
)


def searched(run: RunResult) -> Table:
    """A row for each arm that searched; empty where none did."""
    cells: dict[tuple[tuple[str, ...], str], str] = {}
    own = [quantity for quantity in run.quantities if is_search(quantity.name)]
    for arm in run.arm_names:
        for quantity in own:
            found = [
                one.numbers[quantity.name] for one in run.levels if one.arm == arm and quantity.name in one.numbers
            ]
            if found:
                cells[(arm,), textwrap.fill(quantity.label, _WIDE)] = number(quantity, fmean(found))
    table = pivot(("arm",), list(dict.fromkeys(column for _, column in cells)), cells)
    return replace(table, key="searches", heading="What searches cost", note=_NOTE)
