"""The tree-structured Parzen estimator of Optuna."""

from __future__ import annotations

from dataclasses import dataclass

from budbreak.checks import check_count
from budbreak.iteration import derive_seed
from budbreak.search.optuna_studies import asked, check_optuna, quiet, replayed
from budbreak.search.parameters import Candidate, Space
from budbreak.search.trial import History

_SEEDS = 2**32  # numpy takes seeds below it


@dataclass(frozen=True)
class TPE:
    """Propose what is likelier among the best trials than among the rest; of activations, and of settings.

    The first trials are drawn. Then two densities are fitted to the trials that are known, one to the best tenth, one
    to all others, each over all parameters that are active together; of 24 draws from the first the one with the
    highest ratio of the two is proposed. Trials that diverged count as worse than any.

    Optuna does it, on a study that is made anew for each proposal out of the history alone. Needs the extra ``tune``.

    Args:
        trials: after which it stops; 20 is the number of SAFS's code.
        startup: trials that are drawn.

    Source: Bergstra et al. 2011; Falkner et al. 2018, arXiv 1807.01774, for densities of all parameters together.
    """

    trials: int = 20
    startup: int = 10

    def __post_init__(self) -> None:
        check_count("trials", self.trials)
        check_count("startup", self.startup)

    def propose(self, space: Space, history: History, seed: int, number: int) -> Candidate | None:
        """See `Sampler.propose`.

        Raises:
            InvalidValue: where Optuna is not installed.
        """
        if number >= self.trials:
            return None
        check_optuna("the sampler TPE")
        from optuna.samplers import TPESampler

        own = derive_seed(seed, "proposal", number) % _SEEDS
        with quiet():
            sampler = TPESampler(seed=own, n_startup_trials=self.startup, multivariate=True, group=True)
            return asked(space, replayed(space, history, sampler))
