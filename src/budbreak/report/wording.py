"""How numbers are written: one place for percentages, points, densities, intervals and durations."""

from __future__ import annotations

from budbreak.report.estimate import Estimate

METRICS = {
    "test_accuracy": "test accuracy",
    "validation_accuracy": "validation accuracy",
    "train_loss": "training loss",
    "dnr_total": "total DNR",
    "dnr_static": "static DNR",
    "dnr_dynamic": "dynamic DNR",
}


def density(value: float) -> str:
    """A density as the remaining weights in percent.

    >>> density(0.2), density(0.0072), density(1.0)
    ('20.0 %', '0.72 %', '100.0 %')
    """
    percent = 100 * value
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


def percent(value: float, digits: int = 2) -> str:
    """A share as a percentage.

    >>> percent(0.91234)
    '91.23 %'
    """
    return f"{100 * value:.{digits}f} %"


def signed(value: float, digits: int = 2) -> str:
    """A difference of shares in points, always with its sign, never "-0.00".

    >>> signed(0.00123), signed(-0.000001)
    ('+0.12', '+0.00')
    """
    text = f"{100 * value:+.{digits}f}"
    return text.replace("-", "+") if float(text) == 0 else text


def interval(found: Estimate) -> str:
    """A difference in points with its interval, if there is one.

    A bound keeps its sign where it rounds to nothing: "-0.00" lies below zero.

    >>> interval(Estimate(5, 0.004, 0.001, 0.007)), interval(Estimate(1, 0.004, None, None))
    ('+0.40 [+0.10, +0.70]', '+0.40')
    """
    if found.low is None or found.high is None:
        return signed(found.mean)
    return f"{signed(found.mean)} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"


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
