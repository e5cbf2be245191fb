"""How numbers are written: one place for percentages, points, densities, intervals and durations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev

from budbreak.diagnostics import Quantity
from budbreak.results import Estimate


def density(value: float) -> str:
    """A density as the remaining weights in percent.

    >>> density(0.2), density(0.0072), density(1.0)
    ('20.0 %', '0.72 %', '100.0 %')
    """
    percent = 100 * value
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def level_names(levels: Iterable[tuple[int, float]]) -> dict[int, str]:
    """Levels by their density, but by their number where that does not tell: other arms have another, or other levels.

    >>> level_names([(1, 0.64), (0, 1.0), (1, 0.6401)]), level_names([(1, 0.64), (1, 0.5)])
    ({0: '100.0 %', 1: '64.0 %'}, {1: 'level 1'})
    >>> level_names([(0, 1.0), (1, 0.9999), (2, 0.5)])
    {0: 'level 0', 1: 'level 1', 2: '50.0 %'}
    """
    texts: dict[int, set[str]] = {}
    for level, share in sorted(levels):
        texts.setdefault(level, set()).add(density(share))
    times = Counter(text for found in texts.values() for text in found)
    alone = {level: text for level, found in texts.items() for text in found if len(found) == times[text] == 1}
    return {level: alone.get(level, f"level {level}") for level in texts}


def titled(label: str, unit: str) -> str:
    """What an axis or a column is called.

    >>> titled("time", "s"), titled("loss", "")
    ('time (s)', 'loss')
    """
    return f"{label} ({unit})" if unit else label


def named(quantity: Quantity) -> str:
    """`titled` of a quantity."""
    return titled(quantity.label, UNITS.get(quantity.unit, ""))


def number(quantity: Quantity, value: float) -> str:
    """A number with its unit: shares in percent.

    >>> number(Quantity("a", "a", "share"), 0.91234), number(Quantity("b", "b", "count"), 1234.0)
    ('91.23 %', '1,234')
    >>> number(Quantity("c", "c", "nats"), 0.123456), number(Quantity("d", "d"), 12345678.0)
    ('0.1235 nats', '1.235e+07')
    """
    if quantity.unit == "share":
        return f"{100 * value:.2f} %"
    if quantity.unit == "seconds":
        return duration(value)
    if quantity.unit == "count":
        return f"{value:,.10g}" if math.isfinite(value) and value != int(value) else f"{value:,.0f}"
    return f"{value:.4g} {quantity.unit}".rstrip()


UNITS: Mapping[str, str] = {"share": "%", "seconds": "s", "nats": "nats"}


def spread(quantity: Quantity, values: Sequence[float], *, unit: bool = False) -> str:
    """Mean and standard deviation over seeds; the mean alone of a single one.

    >>> share = Quantity("a", "a", "share")
    >>> spread(share, [0.5, 0.6]), spread(share, [0.5], unit=True), spread(Quantity("b", "b"), [1.0, 3.0])
    ('55.00 \u00b1 7.07', '50.00 %', '2 \u00b1 1.4')
    """
    factor, mean_digits, digits = (100, ".2f", ".2f") if quantity.unit == "share" else (1, ",.4g", ",.2g")
    mean = f"{factor * fmean(values):{mean_digits}}"
    text = f"{mean} \u00b1 {factor * stdev(values):{digits}}" if len(values) > 1 else mean
    return f"{text} {UNITS.get(quantity.unit, '')}".rstrip() if unit else text


def change(quantity: Quantity, value: float) -> str:
    """A difference with its sign, never "-0.00", without its unit; of shares in points.

    >>> change(Quantity("a", "a", "share"), 0.00123), change(Quantity("b", "b"), -0.00123456)
    ('+0.12', '-0.00123')
    >>> change(Quantity("a", "a", "share"), -0.000001), change(Quantity("b", "b"), -0.0)
    ('+0.00', '+0')
    """
    text = f"{100 * value:+.2f}" if quantity.unit == "share" else f"{value:+.3g}"
    return text.replace("-", "+") if float(text) == 0 else text


def unit_of_change(quantity: Quantity) -> str:
    """The unit of a difference; empty if it has none.

    >>> unit_of_change(Quantity("a", "a", "share")), unit_of_change(Quantity("b", "b"))
    ('points', '')
    """
    return {**UNITS, "share": "points"}.get(quantity.unit, "")


def interval(quantity: Quantity, estimate: Estimate) -> str:
    """A difference with its interval, if there is one.

    A bound keeps its sign where it rounds to nothing: "-0.00" lies below zero.

    >>> share = Quantity("a", "a", "share")
    >>> interval(share, Estimate(5, 0.004, 0.001, 0.007)), interval(share, Estimate(1, 0.004, None, None))
    ('+0.40 [+0.10, +0.70]', '+0.40')
    """
    mean = change(quantity, estimate.mean)
    if estimate.low is None or estimate.high is None:
        return mean
    factor, digits = (100, ".2f") if quantity.unit == "share" else (1, ".3g")
    return f"{mean} [{factor * estimate.low:+{digits}}, {factor * estimate.high:+{digits}}]"


def with_unit(text: str, quantity: Quantity) -> str:
    """A difference with its unit.

    >>> with_unit("+0.40", Quantity("a", "a", "share")), with_unit("+0.4", Quantity("b", "b"))
    ('+0.40 points', '+0.4')
    """
    return f"{text} {unit_of_change(quantity)}".rstrip()


def chance(p: float) -> str:
    """A p-value.

    >>> chance(0.0123), chance(0.0001), chance(1.0)
    ('0.012', '<0.001', '1')
    """
    return "<0.001" if p < 0.001 else f"{p:.2g}"


def chance_words(p: float) -> str:
    """A p-value in a sentence.

    >>> chance_words(0.0123), chance_words(0.0001)
    ('p = 0.012', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {chance(p)}"


def duration(seconds: float) -> str:
    """A duration in the unit that reads best.

    >>> duration(4.21), duration(754), duration(7384)
    ('4.2 s', '12 min 34 s', '2 h 03 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def capital(text: str) -> str:
    """The text with a capital letter at its beginning.

    >>> capital("total DNR")
    'Total DNR'
    """
    return text[:1].upper() + text[1:]


def count(number: int, noun: str) -> str:
    """A number with its noun, in the plural where needed.

    >>> count(1, "seed"), count(3, "density")
    ('1 seed', '3 densities')
    """
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def listed(words: list[str]) -> str:
    """A list as prose.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def plain(text: str) -> str:
    """A name fit for a terminal: no control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def plain_lines(text: str) -> str:
    """`plain` for a text of several lines."""
    return "\n".join(plain(line) for line in text.split("\n"))
