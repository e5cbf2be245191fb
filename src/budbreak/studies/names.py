"""Names of pluggable classes, as a recipe spells them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from budbreak.errors import UnknownName, did_you_mean, one_of


def by_name(classes: Iterable[type]) -> Mapping[str, type]:
    """Kebab-case name -> class.

    >>> from budbreak.schedules import OneShot
    >>> list(by_name([OneShot]))
    ['one-shot']
    """
    return {re.sub(r"(?<!^)(?=[A-Z])", "-", one.__name__).lower(): one for one in classes}


def check_name(field: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is not known.

    Raises:
        UnknownName: with the nearest known name.
    """
    names = list(known)
    if name not in names:
        raise UnknownName(f"{field} is {name!r}", one_of(names, most=len(names)), did_you_mean(name, names))
