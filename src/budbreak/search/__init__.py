"""Search activations for each site of a network, and settings of its training: the two stages of SAFS.

`ALL` enrols samplers everywhere. Who drives trials otherwise (tasks, Optuna) builds on `Objective`, which says what
a plan is worth, and on `Sampler`, `History` and `Trial`, which know nothing of training.
"""

from budbreak.search.findings import activation_name, operators_finding, search_finding
from budbreak.search.loop import search_activations
from budbreak.search.objective import (
    Evaluate,
    Judge,
    Objective,
    Outcome,
    Train,
    TrainBySettings,
    TuningObjective,
)
from budbreak.search.parameters import Candidate, Candidates, Options, Parameter, Range, Space, drawn
from budbreak.search.result import SearchResult
from budbreak.search.sampler import Sampler, generator, moved
from budbreak.search.samplers import (
    ALL,
    FAMILY,
    SMAC,
    TPE,
    TUNER_FAMILY,
    TUNERS,
    Genetic,
    LateAcceptance,
    RandomSearch,
    SimulatedAnnealing,
)
from budbreak.search.sharing import optuna_sampler, suggest
from budbreak.search.space import Choices, SearchSpace
from budbreak.search.stopping import STOPPING, STOPPING_FAMILY, Hyperband, Lagging, StoppingRule
from budbreak.search.trial import History, Trial, Values
from budbreak.search.tuning import TuningResult, tune_training
from budbreak.search.tuning_space import Settings, TuningChoices, TuningSpace
from budbreak.search.tuning_spaces import TUNING_SPACES, named_form
from budbreak.search.watching import Report, TrialEnds, Watch

__all__ = [
    "ALL",
    "FAMILY",
    "SMAC",
    "STOPPING",
    "STOPPING_FAMILY",
    "TPE",
    "TUNERS",
    "TUNER_FAMILY",
    "TUNING_SPACES",
    "Candidate",
    "Candidates",
    "Choices",
    "Evaluate",
    "Genetic",
    "History",
    "Hyperband",
    "Judge",
    "Lagging",
    "LateAcceptance",
    "Objective",
    "Options",
    "Outcome",
    "Parameter",
    "RandomSearch",
    "Range",
    "Report",
    "Sampler",
    "SearchResult",
    "SearchSpace",
    "Settings",
    "SimulatedAnnealing",
    "Space",
    "StoppingRule",
    "Train",
    "TrainBySettings",
    "Trial",
    "TrialEnds",
    "TuningChoices",
    "TuningObjective",
    "TuningResult",
    "TuningSpace",
    "Values",
    "Watch",
    "activation_name",
    "drawn",
    "generator",
    "moved",
    "named_form",
    "operators_finding",
    "optuna_sampler",
    "search_activations",
    "search_finding",
    "suggest",
    "tune_training",
]
