"""Numbers and lists as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from budbreak.results import Difference, Estimate

NOTHING = "-"


def percent(share: float | None, digits: int = 2) -> str:
    """A share in percent.

    >>> percent(0.98214), percent(None)
    ('98.21', '-')
    """
    return NOTHING if share is None else f"{100 * share:.{digits}f}"


def with_spread(values: Sequence[float], *, factor: float = 100.0, digits: int = 2) -> str:
    """The mean of some numbers, with their standard deviation where there are two or more.

    >>> with_spread([0.87, 0.89]), with_spread([0.87]), with_spread([]), with_spread([46.0, 47.0], factor=1, digits=1)
    ('88.00 +- 1.41', '87.00', '-', '46.5 +- 0.7')
    """
    if not values:
        return NOTHING
    mean = f"{factor * fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} +- {factor * stdev(values):.{digits}f}"


def density(share: float) -> str:
    """A density as tables head their columns with it.

    >>> density(0.0281480)
    '2.8 %'
    """
    return f"{100 * share:.1f} %"


def points(found: Estimate | Difference) -> str:
    """A difference of shares in points, with its 95 % interval where there is one.

    >>> points(Estimate(5, 0.0012, -0.0001, 0.0025))
    '+0.12 [-0.01, +0.25]'
    """
    mean = _signed(found.mean)
    if found.low is None or found.high is None:
        return f"{mean} (n={found.n})"
    return f"{mean} [{_signed(found.low)}, {_signed(found.high)}]"


def p_text(p: float | None) -> str:
    """A p-value.

    >>> p_text(0.5), p_text(0.00001), p_text(None)
    ('0.5', '< 0.001', '-')
    """
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.2g}"


def listed(names: Iterable[str], *, none: str = "none") -> str:
    """Names in a sentence.

    >>> listed(["a", "b", "c"]), listed([])
    ('a, b and c', 'none')
    """
    *rest, last = list(names) or [none]
    return f"{', '.join(rest)} and {last}" if rest else last


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _signed(share: float) -> str:
    text = f"{100 * share:+.2f}"
    return "+0.00" if text == "-0.00" else text
