"""How many at least stay in each layer."""

from __future__ import annotations

import math
from collections.abc import Mapping

from budbreak.checks import as_number, check_count, check_fraction, exact
from budbreak.errors import InvalidValue


def check_floor(floor: object, name: str = "floor") -> None:
    """Refuse what is neither a count nor a share.

    Raises:
        InvalidValue: with the range.
    """
    if isinstance(floor, float) or as_number(floor)[1]:
        check_fraction(name, floor)  # pyright: ignore[reportArgumentType]
    else:
        check_count(name, floor, least=0)  # pyright: ignore[reportArgumentType]


def floors_of(floor: int | float, sizes: Mapping[str, int], capacities: Mapping[str, int]) -> dict[str, int]:
    """Name -> how many at least stay there.

    Args:
        floor: an int: so many, or all that are alive where they are fewer; a float: that share of the layer, alive or
            not, rounded up, or all that are alive.
        sizes: name -> how many there are.
        capacities: name -> how many of them are alive.

    >>> floors_of(0.25, {"a": 10, "b": 4}, {"a": 2, "b": 4})
    {'a': 2, 'b': 1}
    """
    wanted = {name: floor if isinstance(floor, int) else math.ceil(exact(floor) * size) for name, size in sizes.items()}
    return {name: min(wanted[name], capacities[name]) for name in sizes}


def check_floors(floor: int | float, floors: Mapping[str, int], keep: int, asked: str) -> None:
    """Refuse floors that are together more than is kept.

    Args:
        floor: as it was given.
        floors: name -> how many at least stay there.
        keep: how many are kept.
        asked: by what, in words.

    Raises:
        InvalidValue: with both numbers.
    """
    total = sum(floors.values())
    if total > keep:
        raise InvalidValue(
            f"{asked}; floor is {floor}: at least {total} stay in the {len(floors)} layers together",
            "as many stay as all floors together, or more",
            f"keep at least {total}, or lower the floor",
        )


def check_reached_floors(scope: object, kept: Mapping[str, int], floors: Mapping[str, int]) -> None:
    """Refuse floors above what a scope keeps, where it can keep nothing else.

    Raises:
        InvalidValue: with the layer, and both numbers.
    """
    for name in (name for name in kept if kept[name] < floors[name]):
        value = f"by the floor at least {floors[name]} stay in {name!r}"
        raise InvalidValue(value, f"{scope} keeps exactly {kept[name]} there", "lower the floor, or leave it out")
