"""What a search chooses from: the activations that each site may have."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from torch import nn

from budbreak.activations import FAMILY, SPACES, Activation, ActivationPlan
from budbreak.activations import space as named_space
from budbreak.checks import check_known, check_model, shown
from budbreak.errors import InvalidValue, UnknownName, one_of
from budbreak.graph import Forward, Kind, ModelGraph, Node, trace
from budbreak.live import check_any_site
from budbreak.masks import unwrap
from budbreak.search.parameters import Candidate, Candidates, Options, Parameter

Choices = str | Sequence[Activation] | Mapping[str, Sequence[Activation]]
"""The name of a space, "paper"; activations, for every site; or site -> activations."""

_RULE = "a space maps the names of sites to activations that each may have"
_FIX = 'write {"relu1": bb.activations.space("paper")}'
_GATES = ("sigmoid", "special_expit", "hardsigmoid", "Sigmoid", "Hardsigmoid")


class SearchSpace(Mapping[str, tuple[Activation, ...]]):
    """Site name -> the activations that it may have, frozen; a search chooses one for each.

    >>> from budbreak.activations import ReLU, Swish, Tanh
    >>> space = SearchSpace({"relu1": [ReLU(), Swish()], "relu2": [ReLU(), Swish(), Tanh()]})
    >>> space.size, space.plan((1, 2)).plain()
    (6, {'relu1': 'swish', 'relu2': 'tanh'})
    """

    def __init__(self, entries: Mapping[str, Sequence[Activation]]) -> None:
        if not isinstance(entries, Mapping) or not entries:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidValue(f"the entries of a space are {shown(entries)}", _RULE, _FIX)
        self._entries = {_checked_name(site): _checked(site, choices) for site, choices in entries.items()}

    @classmethod
    def of(
        cls, model: nn.Module, choices: Choices = "paper", *, example: Any, forward: Forward | None = None
    ) -> SearchSpace:
        """The space of a model: these choices at each of its sites.

        A sigmoid by which other values are multiplied is a gate, as in squeeze-and-excitation, and none of the sites
        unless it is named.

        Args:
            model: which is traced, and left as it is.
            choices: "paper", "official-code": see `budbreak.activations.space`; activations; or site -> activations,
                where sites that are not named stay as they are.
            example: one batch as the model takes it, see `trace`.
            forward: how to run the model on the example, if not ``model(example)``.

        Raises:
            NoSites: if the model calls no activation, or gates alone.
            UnknownName: for a space, or a site, that there is not.
            CannotTrace: see `trace`.
        """
        check_model(model)
        graph = trace(unwrap(model), example, forward)
        check_any_site(graph, unwrap(model))
        if isinstance(choices, Mapping):
            return _named(cls(choices), graph, unwrap(model))
        if isinstance(choices, str):
            _check_name(choices)
            choices = named_space(choices)
        sites = [site.name for site in graph.sites]
        own = [name for name in sites if name not in _gates(graph)] or sites
        return cls(dict.fromkeys(own, choices))

    @property
    def size(self) -> int:
        """How many candidates there are: the product of how many activations each site may have."""
        return math.prod(len(choices) for choices in self.values())

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many activations each site may have, in order."""
        return tuple(len(choices) for choices in self.values())

    def plan(self, candidate: Candidate) -> ActivationPlan:
        """The activations that a candidate chooses.

        Raises:
            InvalidValue: if it is no candidate of this space.
        """
        if candidate not in self.candidates:
            rule = f"a candidate is a place for each of the {len(self)} sites, each below {list(self.lengths)}"
            raise InvalidValue(f"the candidate is {shown(candidate)}", rule, "give a tuple of whole numbers")
        return ActivationPlan({site: self[site][place] for site, place in zip(self, candidate, strict=True)})

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What is chosen: of each site the place of an activation."""
        return tuple(Parameter(site, Options(tuple(range(len(choices))))) for site, choices in self.items())

    @property
    def candidates(self) -> Candidates:
        """All candidates, to ask whether one is among them: ``(0, 1) in space.candidates``."""
        return Candidates(self.parameters)

    def __getitem__(self, site: str) -> tuple[Activation, ...]:
        check_known(f"the space has no site {site!r}", site, self._entries)
        return self._entries[site]

    def __contains__(self, site: object) -> bool:
        return site in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:  # the order counts: candidates are places in it
        return isinstance(other, SearchSpace) and tuple(self.items()) == tuple(other.items())

    def __hash__(self) -> int:
        return hash(tuple(self.items()))

    def __repr__(self) -> str:
        return f"SearchSpace({self._entries!r})"


def _check_name(name: str) -> None:
    """Refuse what is no name of a space: of an activation it says what was meant."""
    if name in FAMILY.names:
        fix = f"write several: [bb.activations.{FAMILY.names[name].__name__}(), ...]"
        raise UnknownName(f"no space named {name!r}", f"{one_of(SPACES)}; this is an activation", fix)
    check_known(f"no space named {name!r}", name, SPACES)


def _checked_name(site: object) -> str:
    if not isinstance(site, str):
        raise InvalidValue(f"a site is named {shown(site)}", _RULE, _FIX)
    return site


def _checked(site: str, choices: object) -> tuple[Activation, ...]:
    said = f"the activations of {site!r} are {shown(choices)}"
    if isinstance(choices, str) or not isinstance(choices, Sequence) or not choices:
        raise InvalidValue(said, _RULE, _FIX)
    several = tuple(cast("Sequence[object]", choices))
    for one in several:
        if not isinstance(one, Activation):
            raise InvalidValue(f"{said}; one is {shown(one)}", _RULE, _nearest(one))
        if several.count(one) > 1:
            raise InvalidValue(f"{said}; {one!r} is there twice", "each is there once", "leave one of them out")
    return cast("tuple[Activation, ...]", several)


def _nearest(given: object) -> str:
    if isinstance(given, type) and issubclass(given, Activation):
        return f"write {given.__name__}(), an instance"
    near = FAMILY.near(type(given).__name__ if isinstance(given, nn.Module) else given)
    return _FIX if near is None else f"write bb.activations.{near.__name__}()"


def _named(space: SearchSpace, graph: ModelGraph, model: nn.Module) -> SearchSpace:
    known = [site.name for site in graph.sites]
    for site in space:
        check_known(f"no site {site!r} in {type(model).__name__}", site, known)
    return space


def _gates(graph: ModelGraph) -> set[str]:
    """The sigmoids whose values do nothing but multiply others."""
    readers: dict[int, list[int]] = {node.index: [] for node in graph.nodes}
    for node in graph.nodes:
        for index in node.inputs:
            readers[index].append(node.index)

    def multiplies(index: int) -> bool:
        follow = [graph.nodes[reader] for reader in readers[index]]
        return bool(follow) and all(
            multiplies(node.index) if node.kind in (Kind.MOVE, Kind.IDENTITY) else _is_product(node) for node in follow
        )

    return {node.site.name for node in graph.nodes if node.site and node.call in _GATES and multiplies(node.index)}


def _is_product(node: Node) -> bool:
    return node.kind is Kind.MULTIPLY and len(node.inputs) > 1
