"""Propose, train, score, again: the loop of every search."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from budbreak.errors import InvalidValue
from budbreak.search.objective import Outcome
from budbreak.search.parameters import Candidate
from budbreak.search.sampler import Sampler
from budbreak.search.space import SearchSpace
from budbreak.search.stopping import StoppingRule
from budbreak.search.store import SearchStore
from budbreak.search.trial import History, Trial, Values
from budbreak.search.tuning_space import TuningSpace
from budbreak.search.watching import Watch

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False, kw_only=True)
class Loop:
    """Proposes and tries.

    Args:
        space: what is searched.
        sampler: proposes.
        outcome: trains and scores a candidate; its training reports to the watch.
        spelt: a candidate in one line.
        stop: which trials end early; None: none.
        seed: of sampler and rule.
        epochs: of a training, for the record.
        report: called after each trial.
    """

    space: SearchSpace | TuningSpace
    sampler: Sampler
    outcome: Callable[[Candidate, Watch], Outcome]
    spelt: Callable[[Candidate], str]
    stop: StoppingRule | None
    seed: int
    epochs: float | None
    report: Callable[[History], object] | None

    def stored(self, trials: int | None, store: str | Path | None, identity: Mapping[str, Any]) -> History:
        """Run, in a store if there is one."""
        if store is None:
            return self.run(History(), trials, None)
        folder = SearchStore(store)
        history = folder.open(dict(identity), self.space)
        try:
            return self.run(history, trials, folder)
        finally:
            folder.close()

    def run(self, history: History, trials: int | None, store: SearchStore | None) -> History:
        """Go on after these trials, until there are so many, or the sampler stops."""
        history = history[:trials]
        if history:
            _LOG.info("%d trials are there already", len(history))
        while trials is None or len(history) < trials:
            candidate = self.sampler.propose(self.space, history, self.seed, len(history))
            if candidate is None:
                break
            trial = self._try(candidate, history)
            if store is not None:
                store.add(len(history), trial)
            history = history.then(trial)
            self._tell(history)
        if not history:
            raise InvalidValue(f"{self.sampler!r} proposes nothing", "a search has one trial at least", "mend it")
        return history

    def _try(self, candidate: Candidate, history: History) -> Trial:
        spelt = self.spelt(candidate)  # refuses what is no candidate
        first = history.first_of(candidate)
        if first is not None:
            return replace(history[first], seconds=0.0, epochs=0.0, values=(), same_as=first)
        try:
            outcome = self.outcome(candidate, Watch(self._stops(history)))
        except Exception as error:
            error.add_note(f"in trial {len(history)}: {spelt}")
            raise
        return Trial(
            candidate=candidate,
            score=outcome.score,
            seconds=outcome.seconds,
            epochs=self._epochs(outcome),
            values=outcome.values,
            stopped=outcome.stopped,
            note=outcome.note,
        )

    def _stops(self, history: History) -> Callable[[Values], bool] | None:
        rule = self.stop
        return None if rule is None else lambda values: rule.stops(history, values, len(history), self.seed)

    def _epochs(self, outcome: Outcome) -> float | None:
        return float(outcome.values[-1][0]) if outcome.stopped and self.epochs is not None else self.epochs

    def _tell(self, history: History) -> None:
        trial, number = history[-1], len(history) - 1
        if trial.diverged:
            _LOG.warning("trial %d diverged (%s), and counts as the worst", number, trial.note)
        else:
            more = ", stopped" if trial.stopped else ""
            more += "" if trial.same_as is None else f", known from trial {trial.same_as}"
            best = history.best_so_far[-1]
            reached = "" if best is None else f"; best {best:.4f}"
            _LOG.info("trial %d: score %.4f%s%s", number, trial.score, more, reached)
        if self.report is not None:
            self.report(history)
