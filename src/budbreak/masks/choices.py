"""What a selection can be made of, and which of it goes together."""

from __future__ import annotations

import re
from typing import cast

from budbreak.checks import check_function, check_granularity, check_instance, shown
from budbreak.errors import InvalidValue
from budbreak.masks.allocations import ERK, InOrder, Uniform
from budbreak.masks.blocks import Block
from budbreak.masks.contest import Scope
from budbreak.masks.floors import check_floor
from budbreak.masks.granularity import Element, Unit
from budbreak.masks.patterns import NM
from budbreak.masks.scopes import Global, Layer, Rows

SCOPES = (Global, Layer, Rows, NM)
GRANULARITIES = (Element, Unit, Block)
_MEANT = {  # what names of scopes most likely mean
    "lay|loc": "bb.masks.Layer()",
    "row|out": "bb.masks.Rows()",
    r"nm|n:m|\d": "bb.NM(2, 4)",
    "": "bb.masks.Global()",
}
ALLOCATIONS = (Uniform, ERK, InOrder)


def check_choices(*, scope: object, granularity: object, allocation: object, floor: object = 0) -> None:
    """Refuse a scope, granularity, allocation or floor that is none, and such as do not go together.

    Raises:
        InvalidValue: with what to write.
    """
    if isinstance(scope, str):
        raise _no_name(scope)
    attributes = ("divides", "elementwise", "fit", "reach", "choose")
    check_instance("scope", scope, attributes, "bb.masks.Layer()", call=False, choices=SCOPES)
    check_granularity(granularity, GRANULARITIES)
    check_floor(floor)
    _check_elementwise("scope", scope, granularity)
    if allocation is None:
        return
    check_function("allocation", allocation, "bb.masks.Uniform()")
    if not cast(Scope, scope).divides:
        raise InvalidValue(
            f"an allocation was given for scope {scope}",
            "an allocation divides a target over layers, and here the scores alone decide",
            "use scope=bb.masks.Layer(), or leave the allocation out",
        )
    _check_elementwise("allocation", allocation, granularity)


def _check_elementwise(name: str, part: object, granularity: object) -> None:
    """Refuse what is of single weights where something else goes as one."""
    if getattr(part, "elementwise", False) and not isinstance(granularity, Element):
        raise InvalidValue(
            f"{name} {part} was given with granularity {granularity}",
            f"{part} looks at the dimensions of weights: it is of single ones",
            f"use granularity=bb.Element(), or another {name}",
        )


def _no_name(scope: str) -> InvalidValue:
    rule = f"it is a value: {', '.join(f'{kind.__name__}(...)' for kind in SCOPES)} of bb.masks, or your own"
    meant = [value for pattern, value in _MEANT.items() if re.search(pattern, scope.lower())]
    return InvalidValue(f"scope is {shown(scope)}", rule, f"write scope={meant[0]}")
