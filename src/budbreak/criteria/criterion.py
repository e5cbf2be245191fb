"""What a criterion is."""

from __future__ import annotations

from typing import Protocol

from budbreak.evidence import Evidence, Need
from budbreak.masks import Scores


class Criterion(Protocol):
    """How much does each weight matter? A frozen value: ``(Evidence) -> Scores``.

    One that draws random numbers draws them from a seed of its own, and has a method ``replicate(seed)`` that gives
    the same criterion for another replicate of an experiment. One that is meant for several rounds, or for untrained
    networks, says so by an attribute ``rounds``, a whole number, or ``at_initialization = True``.
    """

    @property
    def needs(self) -> tuple[Need, ...]:
        """The probes, and observers, whose results it reads."""
        ...

    def __call__(self, evidence: Evidence, /) -> Scores:
        """Score every prunable weight; pure in the evidence."""
        ...
