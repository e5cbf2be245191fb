"""The tuner of SAFS: SMAC's random forests."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budbreak.checks import check_count
from budbreak.errors import InvalidValue
from budbreak.iteration import derive_seed
from budbreak.search.parameters import Candidate, Options, Parameter, Range, Space
from budbreak.search.trial import History, Trial

_SEEDS = 2**31  # SMAC takes seeds below it
_DIVERGED = 2.0  # above every 1 - score


@dataclass(frozen=True)
class SMAC:
    """Propose where a random forest expects the most: what SAFS tunes with, with its numbers.

    A quarter of the trials is spread over the space (Sobol); then a forest of 10 trees is fitted to the trials that are
    known, and proposes by the expected improvement of the logarithm of 1 - score; a fifth of the proposals is drawn.
    Trials that diverged count as 2. Where it finds no candidate that is new it stops. SMAC is asked and told all trials
    anew for each proposal, so that the history alone decides. Needs the extra ``smac``.

    Args:
        trials: after which it stops; 20 is the number of SAFS's code.

    Source: Hutter et al. 2011; Lindauer et al. 2022, whose ``HyperparameterOptimizationFacade`` with deterministic=True
    it is: otherwise it tries candidates twice. Differs: local searches begin in one order, alike in all processes.
    """

    trials: int = 20

    def __post_init__(self) -> None:
        check_count("trials", self.trials)

    def propose(self, space: Space, history: History, seed: int, number: int) -> Candidate | None:
        """See `Sampler.propose`.

        Raises:
            InvalidValue: where SMAC is not installed.
        """
        if number >= self.trials:
            return None
        check_smac()
        from smac.main.exceptions import ConfigurationSpaceExhaustedException  # pyright: ignore[reportMissingImports]

        with (
            contextlib.suppress(ConfigurationSpaceExhaustedException),
            forest(space, self.trials, derive_seed(seed, "proposal") % _SEEDS) as replayed,
        ):
            for trial in history:
                replayed.tell(trial, replayed.ask())
            for _ in range(len(history), number):  # these run now
                replayed.ask()
            return replayed.read(replayed.ask().config)
        return None


def check_smac() -> None:
    """Refuse to go on where SMAC is not installed.

    Raises:
        InvalidValue: with what to install.
    """
    try:
        import smac  # noqa: F401  # pyright: ignore[reportMissingImports, reportUnusedImport]
    except ModuleNotFoundError as error:
        if error.name != "smac":
            raise
        value, rule = "the sampler SMAC is asked for, and SMAC is not installed", "it is an extra"
        raise InvalidValue(value, rule, "pip install 'budbreak[smac]'") from None


@contextlib.contextmanager
def forest(space: Space, trials: int, seed: int) -> Generator[_Forest]:
    """SMAC over a space, while a folder that it wants is there; without numpy's warnings of means that it only logs."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield _Forest(space, trials, seed, Path(folder))


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Without SMAC's lines on how often it looked for a candidate that is new."""
    logger = logging.getLogger("smac")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


class _Forest:
    """SMAC over a space of ours; parameters go by their place, options by theirs."""

    def __init__(self, space: Space, trials: int, seed: int, folder: Path) -> None:
        from smac import HyperparameterOptimizationFacade, Scenario  # pyright: ignore[reportMissingImports]

        self._parameters = space.parameters
        self._configurations = self._made_space(seed)
        scenario = Scenario(
            self._configurations, output_directory=folder, n_trials=trials, deterministic=True, seed=seed
        )
        maximizer = _in_order(HyperparameterOptimizationFacade.get_acquisition_maximizer(scenario))
        self._facade: Any = HyperparameterOptimizationFacade(
            scenario,
            lambda config, seed: 0.0,
            acquisition_maximizer=maximizer,
            overwrite=True,
            logging_level=False,
        )

    def ask(self) -> Any:
        return self._facade.ask()

    def tell(self, trial: Trial, asked: Any) -> None:
        """Take a trial for what was asked; for another one, where it was proposed when fewer were known."""
        from smac.runhistory import TrialInfo, TrialValue  # pyright: ignore[reportMissingImports]

        info = asked
        if self.read(asked.config) != trial.candidate:
            info = TrialInfo(self._written(trial.candidate), seed=asked.seed)
        cost = _DIVERGED if trial.score is None else 1 - trial.score
        self._facade.tell(info, TrialValue(cost=cost), save=False)

    def read(self, configuration: Mapping[str, Any]) -> Candidate:
        values = list[Any]()
        for place, parameter in enumerate(self._parameters):
            value, domain = dict(configuration).get(str(place)), parameter.domain
            if value is None:
                values.append(None)
            elif isinstance(domain, Range):
                values.append(domain.nearest(float(value)))  # what is rounded there stays inside
            else:
                values.append(domain.values[int(value)])
        return tuple(values)

    def _written(self, candidate: Candidate) -> Any:
        from ConfigSpace import Configuration  # pyright: ignore[reportMissingImports]

        values = dict[str, Any]()
        for place, (parameter, value) in enumerate(zip(self._parameters, candidate, strict=True)):
            if value is not None:
                domain = parameter.domain
                values[str(place)] = value if isinstance(domain, Range) else domain.place(value)
        return Configuration(self._configurations, values=values)

    def _made_space(self, seed: int) -> Any:
        from ConfigSpace import ConfigurationSpace  # pyright: ignore[reportMissingImports]

        made = ConfigurationSpace(seed=seed)
        theirs = {one.name: _hyperparameter(str(place), one.domain) for place, one in enumerate(self._parameters)}
        domains = {one.name: one.domain for one in self._parameters}
        made.add(*theirs.values())
        made.add(*[_condition(one, theirs, domains) for one in self._parameters if one.when])
        return made


def _in_order(maximizer: Any) -> Any:
    """Begin its local searches in one order: SMAC takes that of a set of texts, which is another in each process."""
    local = maximizer._local_search
    search = local._search
    local._search = lambda points: search(sorted(points, key=repr))
    return maximizer


def _hyperparameter(name: str, domain: Range | Options) -> Any:
    from ConfigSpace import CategoricalHyperparameter, Float, Integer  # pyright: ignore[reportMissingImports]

    if isinstance(domain, Options):
        return CategoricalHyperparameter(name, list(range(len(domain.values))))
    return (Integer if domain.whole else Float)(name, (domain.low, domain.high), log=domain.log)


def _condition(parameter: Parameter, theirs: Mapping[str, Any], domains: Mapping[str, Range | Options]) -> Any:
    from ConfigSpace import AndConjunction, InCondition  # pyright: ignore[reportMissingImports]

    conditions = list[Any]()
    for name, values in parameter.when:
        domain = domains[name]
        known = [domain.place(value) if isinstance(domain, Options) else value for value in values]
        conditions.append(InCondition(theirs[parameter.name], theirs[name], known))
    return conditions[0] if len(conditions) == 1 else AndConjunction(*conditions)
