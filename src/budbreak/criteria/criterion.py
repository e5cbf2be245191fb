"""What a criterion is."""

from __future__ import annotations

from typing import Any, Protocol

from budbreak.evidence import Evidence, Need
from budbreak.masks import Element, Global, Granularity, Scope, Scores


class Criterion(Protocol):
    """How much does each weight matter? A frozen value: ``(Evidence) -> Scores``.

    One that draws random numbers draws them from a seed of its own, and has a method ``replicate(seed)`` that gives
    the same criterion for another replicate of an experiment. One that is meant for several rounds, or for untrained
    networks, says so by an attribute ``rounds``, a whole number, or ``at_initialization = True``; one whose scores of
    single weights are meant to compete elsewhere than over all layers, by an attribute ``scope``; one that spares the
    same weights (+inf) of a network whatever it has learned, by ``spares_alike = True``, so that a target which it
    cannot reach is refused before the first level.
    """

    @property
    def needs(self) -> tuple[Need, ...]:
        """The probes, and observers, whose results it reads."""
        ...

    def __call__(self, evidence: Evidence, /) -> Scores:
        """Score every prunable weight; pure in the evidence."""
        ...


def scope_of(criterion: Criterion, granularity: Granularity, scope: Scope | None) -> Scope:
    """Where a criterion's scores compete: ``scope`` if there is one, else where they are meant to, else globally."""
    meant: Any = getattr(criterion, "scope", None)
    if scope is None and meant is not None and isinstance(granularity, Element):
        return meant
    return Global() if scope is None else scope
