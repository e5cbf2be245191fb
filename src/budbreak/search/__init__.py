"""Search activations for each site of a network: space, samplers, trials, the loop. Stage 1 of SAFS.

`ALL` enrols samplers everywhere. Who drives trials otherwise (tasks, Optuna) builds on `Objective`, which says what
a plan is worth, and on `Sampler`, `History` and `Trial`, which know nothing of training.
"""

from budbreak.search.findings import activation_name, operators_finding, search_finding
from budbreak.search.loop import search_activations
from budbreak.search.objective import Evaluate, Objective, Outcome, Train
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
    Random,
    SimulatedAnnealing,
)
from budbreak.search.space import Choices, SearchSpace
from budbreak.search.stopping import STOPPING, STOPPING_FAMILY, Hyperband, Lagging, StoppingRule
from budbreak.search.trial import History, Trial, Values
from budbreak.search.tuning_space import Settings, TuningChoices, TuningSpace
from budbreak.search.tuning_spaces import TUNING_SPACES, named_form

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
    "Lagging",
    "LateAcceptance",
    "Objective",
    "Options",
    "Outcome",
    "Parameter",
    "Random",
    "Range",
    "Sampler",
    "SearchResult",
    "SearchSpace",
    "Settings",
    "SimulatedAnnealing",
    "Space",
    "StoppingRule",
    "Train",
    "Trial",
    "TuningChoices",
    "TuningSpace",
    "Values",
    "activation_name",
    "drawn",
    "generator",
    "moved",
    "named_form",
    "operators_finding",
    "search_activations",
    "search_finding",
]
