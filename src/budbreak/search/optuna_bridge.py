"""One of our samplers as one of Optuna's."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from budbreak.checks import shown
from budbreak.errors import InvalidValue, StoreMismatch, UnknownName, did_you_mean, one_of
from budbreak.files import digest
from budbreak.iteration import describe
from budbreak.search.optuna_studies import distribution
from budbreak.search.parameters import Candidate, drawn
from budbreak.search.sampler import Sampler, generator
from budbreak.search.scores import score_of
from budbreak.search.space import SearchSpace
from budbreak.search.translation import Translation
from budbreak.search.trial import History, Trial
from budbreak.search.tuning_space import TuningSpace

_OVER = (TrialState.COMPLETE, TrialState.PRUNED)
_LOG = logging.getLogger(__name__)
_ASK = "ask by bb.search.suggest(trial, space)"
_KEY = "budbreak: search"  # of the attribute of a study that says whose it is


class Bridge(optuna.samplers.BaseSampler):
    """See `optuna_sampler`."""

    def __init__(self, sampler: Sampler, space: SearchSpace | TuningSpace, seed: int) -> None:
        self._sampler, self._space, self._seed = sampler, space, seed
        self._translation = Translation.of(space)

    def __repr__(self) -> str:
        return f"optuna_sampler({self._sampler!r}, ..., seed={self._seed})"

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Take a study that is new, and refuse one that is another's."""
        if study.directions != [optuna.study.StudyDirection.MAXIMIZE]:
            aims = ", ".join(f"{direction.name.lower()}s" for direction in study.directions)
            value, rule = f"the study {study.study_name!r} {aims}", "a study has accuracies, the higher the better"
            raise InvalidValue(value, rule, 'create it with direction="maximize"')
        own, stored = self._identity(), study.user_attrs.get(_KEY)
        if stored is None:
            study.set_user_attr(_KEY, own)
        elif stored != own:
            changed = next(name for name in own if own[name] != stored.get(name))
            raise StoreMismatch(
                f"the study {study.study_name!r} is of another search: {changed} was {stored.get(changed)}, "
                f"is {own[changed]}",
                "a study belongs to one space, sampler and seed",
                "give it another study_name, or what it was made with",
            )

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All parameters; those that are not active have no value."""
        return {parameter.name: distribution(parameter) for parameter in self._translation.parameters}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the sampler proposes; where it has stopped, something drawn."""
        trials = study.get_trials(deepcopy=False)
        number = _number(trial, trials)
        candidate = self._propose(self._history(trials), number)
        if candidate is None:
            candidate = drawn(self._space, generator(self._seed, number, "after the end"))
        return self._translation.words(candidate)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Refuse what is not in the space."""
        known = [parameter.name for parameter in self._translation.parameters]
        fix = did_you_mean(param_name, known) or _ASK
        rule = f"what it asks for is of the space: {one_of(known)}"
        raise UnknownName(f"the objective asks for {param_name!r}", rule, fix)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """End the study where the sampler proposes nothing more."""
        if state is TrialState.FAIL:
            _LOG.warning(
                "trial %d failed, and what it tried is tried again; of a training that diverges, return -math.inf",
                trial.number,
            )
        trials = study.get_trials(deepcopy=False)
        history = self._history([one for one in trials if one.number != trial.number])
        if state in _OVER:
            history = history.then(self._trial(trial, state, values))
        if self._propose(history, len([one for one in trials if one.state is not TrialState.FAIL])) is None:
            with contextlib.suppress(RuntimeError):  # it is asked and told: there is no loop to end
                study.stop()

    def _propose(self, history: History, number: int) -> Candidate | None:
        return self._sampler.propose(self._space, history, self._seed, max(number, len(history)))

    def _history(self, trials: Sequence[FrozenTrial]) -> History:
        over = [one for one in trials if one.state in _OVER]
        over.sort(key=lambda one: (one.datetime_complete or datetime.max, one.number))
        return History(tuple(self._trial(one, one.state, one.values) for one in over))

    def _trial(self, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> Trial:
        stopped, said = state is TrialState.PRUNED, f"the trial {trial.number} of the study has the value"
        reported = tuple(sorted(trial.intermediate_values.items()))
        score = score_of(values[0], said) if values else (reported[-1][1] if reported else None)
        candidate = self._translation.candidate(trial.params)
        if candidate not in self._space.candidates:
            value = f"the trial {trial.number} of the study chose {shown(trial.params)}"
            fix = "take another study_name" if trial.params else f"{_ASK}; else take another study_name"
            raise StoreMismatch(value, "all trials of a study are of the space of its sampler", fix)
        return Trial(candidate=candidate, score=score, seconds=0.0, values=reported, stopped=stopped)

    def _identity(self) -> dict[str, str]:
        space = self._space
        plain = (
            space.plain() if isinstance(space, TuningSpace) else {site: describe(own) for site, own in space.items()}
        )
        return {"sampler": repr(self._sampler), "seed": str(self._seed), "space": digest(plain)}


def _number(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """How many trials came before it, without those that failed."""
    return sum(one.number < trial.number and one.state is not TrialState.FAIL for one in trials)
