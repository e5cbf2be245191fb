"""Numbers as they were written: 0.1 is one tenth, whatever the nearest float is."""

from __future__ import annotations

from fractions import Fraction


def exact(number: float | Fraction) -> Fraction:
    """The decimal number whose shortest digits a float shows; a fraction is exact as it is.

    Counts that come from floats miss the decimal by one where they fall on a half or a whole.

    >>> exact(0.1), exact(0.1) * 3 == exact(0.3), 0.1 * 3 == 0.3
    (Fraction(1, 10), True, False)
    """
    return number if isinstance(number, Fraction) else Fraction(repr(float(number)))
