"""The range of a number in a recipe."""

from __future__ import annotations

import math
import sys

from budbreak.checks import as_number, shown
from budbreak.errors import InvalidValue

_LARGEST = sys.float_info.max  # refuses infinity as well


def check_number(name: str, value: float, *, usual: str, zero: bool = True, most: float = _LARGEST) -> None:
    """Refuse what is no finite number of 0 or more (over 0 where ``zero`` is false), and what is over ``most``.

    Raises:
        InvalidValue: with the value, the range, and what is usual; text that holds a fitting number is spelt without
            its quotes.
    """

    def fits(number: float) -> bool:
        return (number >= 0 if zero else number > 0) and number <= most

    if isinstance(value, int | float) and not isinstance(value, bool) and fits(value):  # pyright: ignore[reportUnnecessaryIsInstance]
        return
    meant, percent = as_number(value)
    limit = "" if most == _LARGEST else f", at most {most:g}"
    fix = f"write {meant:g}" if fits(meant) and not percent and not math.isnan(meant) else f"usual is {usual}"
    raise InvalidValue(f"{name} is {shown(value)}", f"it must be a finite number {'>=' if zero else '>'} 0{limit}", fix)
