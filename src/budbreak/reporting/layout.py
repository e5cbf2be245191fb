"""Records on a terminal, by rich: a table where there is room, a block each where there is not; nothing is cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # imported where it is used: a command that prints no table does without
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

NARROW = 80  # columns of the narrowest terminal that is usual
_GAP = 2
_NAME = 16  # columns that names keep, where they fold for the numbers beside them


@dataclass(frozen=True)
class Stacked:
    """The rows of a table, or blocks.

    Args:
        fields: their names, of one line or several; the first is that of the records.
        records: a text for each field; an empty one has no line in a block.
        stacks: on terminals of so many columns and fewer there are blocks, even if the table would fit.
        justify: the fields but the first, in the table.
        folding: places of the fields that may fold in the table; the others keep their lines.
        whole: the name of a block is not broken, however long: it is a path, to be copied.
    """

    fields: tuple[str, ...]
    records: tuple[tuple[str, ...], ...]
    stacks: int = 0
    justify: Literal["left", "right"] = "right"
    folding: tuple[int, ...] = (0,)
    whole: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Told by the width of the terminal."""
        if self.stacks < options.max_width and self.width <= options.max_width:
            yield self._table()
        else:
            for record in self.records:
                yield from self._block(record, options.max_width)

    @property
    def width(self) -> int:
        """Columns that the table needs."""
        needed = [min(width, _NAME) if place in self.folding else width for place, width in enumerate(self._widths())]
        return sum(needed) + _GAP * (len(needed) - 1)

    def _widths(self) -> list[int]:
        return [
            _widest([field, *(record[place] for record in self.records)]) for place, field in enumerate(self.fields)
        ]

    def _table(self) -> Table:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for place, (field, width) in enumerate(zip(self.fields, self._widths(), strict=True)):
            own = None if place in self.folding else width
            table.add_column(
                Text(field), justify=self.justify if place else "left", width=own, overflow="fold", vertical="top"
            )
        for record in self.records:
            table.add_row(*map(Text, record))
        return table

    def _block(self, record: Sequence[str], width: int) -> Sequence[RenderableType]:
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        names = [field.replace("\n", " ") for field in self.fields[1:]]
        left = min(_widest(names), width // 2 - _GAP)
        grid = Table.grid(padding=(0, _GAP, 0, 0))
        grid.add_column(width=left, overflow="fold", style="dim")
        grid.add_column(width=min(_widest(record[1:]), width - left - 2 * _GAP), overflow="fold")
        for name, text in zip(names, record[1:], strict=True):
            if text:
                grid.add_row(Text(name), Text(text))
        name = Text(record[0], "bold", no_wrap=self.whole, overflow="ignore" if self.whole else "fold")
        return [name, Padding(grid, (0, 0, 0, _GAP), expand=False)]


def _widest(texts: Sequence[str]) -> int:
    """Columns of the widest line."""
    from rich.cells import cell_len

    return max(cell_len(line) for text in texts for line in text.split("\n"))
