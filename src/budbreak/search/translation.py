"""What our candidates are called in Optuna's storages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from budbreak.search.findings import activation_name
from budbreak.search.parameters import Candidate, Options, Parameter
from budbreak.search.space import SearchSpace
from budbreak.search.tuning_space import TuningSpace


@dataclass(frozen=True)
class Translation:
    """The parameters of a space as Optuna has them: activations by their names, where candidates have places."""

    parameters: tuple[Parameter, ...]
    by_place: bool

    @classmethod
    def of(cls, space: SearchSpace | TuningSpace) -> Translation:
        """That of a space."""
        if isinstance(space, TuningSpace):
            return cls(space.parameters, by_place=False)
        named = {site: Options(tuple(map(activation_name, choices))) for site, choices in space.items()}
        return cls(tuple(Parameter(site, options) for site, options in named.items()), by_place=True)

    def words(self, candidate: Candidate) -> dict[str, Any]:
        """The values of the parameters that are active."""
        pairs = [(one, value) for one, value in zip(self.parameters, candidate, strict=True) if value is not None]
        return {one.name: _word(one, value) if self.by_place else value for one, value in pairs}

    def candidate(self, words: Mapping[str, Any]) -> Candidate:
        """What these values choose; those of parameters that are not active may be missing."""
        values = [(one, words.get(one.name)) for one in self.parameters]
        return tuple(_place(one, value) if self.by_place else value for one, value in values)


def _word(parameter: Parameter, place: int) -> Any:
    return parameter.domain.values[place] if isinstance(parameter.domain, Options) else place


def _place(parameter: Parameter, word: object) -> Any:
    """None for what is not among them."""
    domain = parameter.domain
    return domain.place(word) if isinstance(domain, Options) and domain.holds(word) else None
