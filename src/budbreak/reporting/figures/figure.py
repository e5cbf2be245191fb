"""A figure: what it is called, its data, how it is drawn in a given width, and the same as words and as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from budbreak.reporting.tables import Table

Row = Mapping[str, Any]
Place = Literal["half", "full", "aside"]
"""On a wide screen: half its width, all of it, or aside, among the facts at the end."""


@dataclass(frozen=True)
class Figure:
    """One figure for page and files.

    Args:
        key: names the files and the elements of the page.
        heading, caption: what it shows and how to read it; ``about`` says it to those who cannot see it.
        data: name -> rows; the same name means the same rows in all figures of a run.
        draw: the Altair chart in a width in pixels, on rows by their names; colours are variables of the theme. Charts
            are put together as LayerSpec, FacetSpec ...: LayerChart copies all its parts several times.
        table: the numbers.
        arms: label -> index of the style, of what its legend lists.
        panel: the heading under which it is one of several to choose from; "" for a figure on its own.
    """

    key: str
    heading: str
    caption: str
    about: str
    data: Mapping[str, Sequence[Row]]
    draw: Callable[[float], Any]
    table: Table
    arms: Mapping[str, int] = field(default_factory=dict[str, int])
    panel: str = ""
    place: Place = "half"


def slug(name: str) -> str:
    """The name of a quantity in those of files and elements.

    >>> slug("dead_units_total")
    'dead-units-total'
    """
    return name.replace("_", "-").lower()
