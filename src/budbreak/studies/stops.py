"""The rule by which a trial of a search ends early, as the rule of a training."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.iteration import Ending, SoFar
from budbreak.results import VALIDATION_ACCURACY
from budbreak.search import History, StoppingRule


@dataclass(frozen=True)
class Stops:
    """An `EndingRule` that asks a `StoppingRule` after each epoch.

    Args:
        rule: what ends trials early.
        history: the trials that are known.
        number: of this trial; ``seed``: of the search.
    """

    rule: StoppingRule
    history: History
    number: int
    seed: int

    @property
    def reads(self) -> tuple[str, ...]:
        """See `EndingRule.reads`."""
        return (VALIDATION_ACCURACY.name,)

    @property
    def together(self) -> bool:
        """See `EndingRule.together`."""
        return False

    def check(self, levels: int, /) -> None:
        """See `EndingRule.check`: there is one training."""

    def ends(self, so_far: SoFar, /) -> Ending | None:
        """See `EndingRule.ends`."""
        values = tuple(enumerate(so_far.numbers(VALIDATION_ACCURACY.name, own=True), 1))
        return Ending() if self.rule.stops(self.history, values, self.number, self.seed) else None
