"""One codec for everything pluggable: value <-> plain form, and what tells a value from all others.

A pluggable value (a criterion, a schedule, an optimizer, a diagnostic) is a frozen dataclass. A `Family` gives the
classes of one kind their short names; anybody's class goes by ``package.module:Class``. Plain forms are what TOML and
JSON hold::

    "magnitude"    {is = "geometric", rate = 0.2, levels = 12}    "mine:Mine"    {is = "mine:Mine", alpha = 0.3}

Metadata of a field that is read here:

``family``: a function without arguments that gives the `Family` of a field that is pluggable itself, as in
``criterion: Criterion = field(metadata={"family": criteria_family})``; in ``Criterion | None`` and tuples of it too.

``introduced``: the default that the field had when it was new, where the default was changed later, as in
``alpha: float = field(default=0.5, metadata={"introduced": 0.3})``. Identities leave out a field that holds this
value, so results keep theirs; `dataclasses.MISSING` for a field that had no default when it was new.
"""

from budbreak.values.classes import naming
from budbreak.values.decoding import decode
from budbreak.values.encoding import encode
from budbreak.values.family import Family
from budbreak.values.identities import identity, telling, telling_fields
from budbreak.values.sources import check_unchanged
from budbreak.values.toml import inline, inline_key, shown_plain

__all__ = [
    "Family",
    "check_unchanged",
    "decode",
    "encode",
    "identity",
    "inline",
    "inline_key",
    "naming",
    "shown_plain",
    "telling",
    "telling_fields",
]
