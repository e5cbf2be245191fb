"""Which activation sits at which site: what a search proposes, and what surgery puts in."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from budbreak.activations.activation import Activation, Per
from budbreak.activations.families import FAMILY
from budbreak.checks import check_known, shown
from budbreak.errors import InvalidValue, MissingData
from budbreak.files import read_json, write_json
from budbreak.values import decode, encode

KIND = "activation plan 1"
_RULE = "a plan maps the names of sites to activations"
_FIX = 'write bb.activations.ActivationPlan({"relu1": bb.activations.Swish()})'


class ActivationPlan(Mapping[str, Activation]):
    """Site name -> activation, frozen; it fits every network in which sites have these names.

    Sites are named as ``bb.trace(model, example)`` prints them. A site that it does not name keeps what it has.

    >>> from budbreak.activations import GELU, Swish
    >>> plan = ActivationPlan({"relu1": Swish(), "relu2": GELU(trainable=True)})
    >>> plan.plain()
    {'relu1': 'swish', 'relu2': {'is': 'gelu', 'trainable': True}}
    """

    def __init__(self, entries: Mapping[str, Activation]) -> None:
        _check_entries(entries)
        self._entries = dict(entries)

    @classmethod
    def uniform(cls, sites: Iterable[str], activation: Activation) -> ActivationPlan:
        """The same activation at each of these sites."""
        if isinstance(sites, str):
            raise InvalidValue(f"sites is {sites!r}", "it must be names of sites", f"write [{sites!r}]")
        return cls(dict.fromkeys(sites, activation))

    def trained(self, trainable: bool = True, *, per: Per | None = None) -> ActivationPlan:
        """The same operators, their scalars trainable or not: the second stage of SAFS, from what the first one found.

        Args:
            trainable: whether modules hold them as parameters.
            per: one of each for the "site" or for each "unit"; as it is unless given.
        """
        change: dict[str, Any] = {"trainable": trainable} | ({} if per is None else {"per": per})
        return ActivationPlan({name: dataclasses.replace(one, **change) for name, one in self._entries.items()})

    def plain(self) -> dict[str, Any]:
        """What TOML and JSON can hold, from which `from_plain` makes an equal plan."""
        return {name: encode(activation, FAMILY) for name, activation in self._entries.items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], *, field: str = "activations") -> ActivationPlan:
        """The plan of a plain form.

        Args:
            plain: site -> a short name, or a table with the name as ``is`` and its arguments.
            field: where it stands, as messages name it.

        Raises:
            UnknownName, InvalidValue: see `budbreak.values.decode`.
        """
        if not isinstance(plain, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(f"{field} is {shown(plain)}", _RULE, 'write {relu1 = "swish"}')
        return cls({name: decode(form, FAMILY, field=f"{field}.{name}") for name, form in plain.items()})

    def save(self, path: str | Path) -> None:
        """Write a JSON file, atomically, with a checksum.

        Raises:
            CannotWrite: on a full disk or a forbidden folder.
        """
        write_json(Path(path), {"sites": self.plain()}, KIND)

    @classmethod
    def load(cls, path: str | Path) -> ActivationPlan:
        """Read what `save` wrote.

        Raises:
            MissingData: if there is no such file.
            CorruptFile: if it was changed, or is no plan.
            UnknownName, InvalidValue: if it names an activation that there is not.
        """
        try:
            stored = read_json(Path(path), KIND, _Stored)
        except FileNotFoundError:
            raise MissingData(f"no file {path}", "a plan is what plan.save(path) wrote", "check the path") from None
        return cls.from_plain(stored.sites)

    def __getitem__(self, site: str) -> Activation:
        check_known(f"the plan has no site {site!r}", site, self._entries)
        return self._entries[site]

    def __contains__(self, site: object) -> bool:
        return site in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ActivationPlan) and self._entries == other._entries

    def __hash__(self) -> int:
        return hash(frozenset(self._entries.items()))

    def __repr__(self) -> str:
        return f"ActivationPlan({self._entries!r})"


@dataclass(frozen=True)
class _Stored:
    """The file."""

    sites: dict[str, Any] = field(default_factory=dict[str, Any])


def _check_entries(entries: object) -> None:
    if not isinstance(entries, Mapping):
        raise InvalidValue(f"the entries of a plan are {shown(entries)}", _RULE, _FIX)
    for name, activation in cast("Mapping[object, object]", entries).items():
        if not isinstance(name, str):
            raise InvalidValue(f"a site is named {shown(name)}", _RULE, _FIX)
        if not isinstance(activation, Activation):
            raise InvalidValue(f"the activation of {name!r} is {shown(activation)}", _RULE, _nearest(name, activation))


def _nearest(name: str, given: object) -> str:
    if isinstance(given, str) and given in FAMILY.names:
        return f'write {{"{name}": bb.activations.{FAMILY.names[given].__name__}()}}, or ActivationPlan.from_plain(...)'
    if isinstance(given, type) and issubclass(given, Activation):
        return f"write {given.__name__}(), an instance"
    return _FIX
