"""A figure of a report: drawn for wide screens, for narrow ones and for paper, with its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from budbreak.reporting.canvas import Drawing
from budbreak.reporting.estimate import Series

HALF, FULL, NARROW = 470.0, 900.0, 360.0
MISSING = "\u2013"


@dataclass(frozen=True)
class Table:
    """The numbers of a figure, as text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Figure:
    """One figure three times, and its table.

    Args:
        key: names the files and the elements of the page.
        heading, caption: what it shows and how to read it.
        wide, narrow, paper: for screens (without a legend: the page has one) and for files (with it).
        arms: what its legend lists, as (index, name).
    """

    key: str
    heading: str
    caption: str
    wide: Drawing
    narrow: Drawing
    paper: Drawing
    table: Table
    arms: tuple[tuple[int, str], ...] = ()


def names_of(series: Sequence[Series]) -> tuple[tuple[int, str], ...]:
    """What the legend of these series lists."""
    return tuple((line.index, line.label) for line in series)


def slug(name: str) -> str:
    """The name of a quantity in those of files and elements.

    >>> slug("dead_units_total")
    'dead-units-total'
    """
    return name.replace("_", "-").lower()
