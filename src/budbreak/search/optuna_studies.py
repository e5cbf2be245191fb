"""Optuna's studies made of our histories: nothing is kept in them, so that the history alone decides."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from budbreak.errors import InvalidValue
from budbreak.search.parameters import Candidate, Parameter, Range, Space, named
from budbreak.search.trial import History, Trial

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

_DIVERGED = -1.0  # below every score


def check_optuna(what: str) -> None:
    """Refuse to go on where Optuna is not installed.

    Raises:
        InvalidValue: with what to install.
    """
    try:
        import optuna  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        rule = "it needs Optuna, which is an extra"
        raise InvalidValue(f"{what} is asked for, and Optuna is not installed", rule, INSTALL) from None


INSTALL = "pip install 'budbreak[tune]'"


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Neither Optuna's lines on each study and trial nor its warnings of what may change in it."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


def replayed(space: Space, history: History, sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    """A new study in memory that holds the trials of a history; more is better."""
    import optuna

    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([_frozen(space, trial) for trial in history])
    return study


def asked(space: Space, study: optuna.Study) -> Candidate:
    """What the sampler of a study proposes: each parameter after another, those alone that are active."""
    trial, chosen = study.ask(), dict[str, Any]()
    for parameter in space.parameters:
        chosen[parameter.name] = suggested(trial, parameter) if parameter.active(chosen) else None
    return tuple(chosen.values())


def suggested(trial: optuna.Trial, parameter: Parameter) -> Any:
    """What a trial of Optuna suggests for a parameter."""
    domain = parameter.domain
    if not isinstance(domain, Range):
        return trial.suggest_categorical(parameter.name, domain.values)
    if domain.whole:
        return trial.suggest_int(parameter.name, int(domain.low), int(domain.high), log=domain.log)
    return trial.suggest_float(parameter.name, domain.low, domain.high, log=domain.log)


def distribution(parameter: Parameter) -> BaseDistribution:
    """A parameter in Optuna's words."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    domain = parameter.domain
    if not isinstance(domain, Range):
        return CategoricalDistribution(domain.values)
    if domain.whole:
        return IntDistribution(int(domain.low), int(domain.high), log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def _frozen(space: Space, trial: Trial) -> optuna.trial.FrozenTrial:
    import optuna

    chosen: Mapping[str, Any] = named(space.parameters, trial.candidate)
    active = [parameter for parameter in space.parameters if parameter.active(chosen)]
    states = optuna.trial.TrialState
    return optuna.trial.create_trial(
        state=states.PRUNED if trial.stopped else states.COMPLETE,
        value=_DIVERGED if trial.score is None else trial.score,
        intermediate_values=dict(trial.values),
        params={parameter.name: chosen[parameter.name] for parameter in active},
        distributions={parameter.name: distribution(parameter) for parameter in active},
    )
