"""What was found that is no number of a level: a search, spectra, masks; as columns that a report draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from budbreak.diagnostics.measurement import Quantity
from budbreak.errors import InvalidValue

Cell = str | float | None


@dataclass(frozen=True)
class Finding:
    """Rows of one kind, by columns.

    Args:
        kind: of figure, which says what columns there are, e.g. "search": trial and value.
        label: the heading.
        quantity: what the column ``value`` holds.
        columns: name -> one value per row; ``arm`` names what rows belong to.
        labels: column -> how its axis is called, with the unit; its name if absent.
        panel: the heading under which it is one of several to choose from; "" for one on its own.

    Raises:
        InvalidValue: if columns differ in length.
    """

    kind: str
    label: str
    quantity: Quantity
    columns: Mapping[str, tuple[Cell, ...]]
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    panel: str = ""

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise InvalidValue(f"the columns have {lengths} rows", "all have one value per row", "fill gaps with None")

    def rows(self) -> list[dict[str, Cell]]:
        """One mapping per row: column -> value."""
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*self.columns.values(), strict=True)]
