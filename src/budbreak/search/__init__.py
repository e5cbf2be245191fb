"""Search activations for each site of a network: space, samplers, trials, the loop. Stage 1 of SAFS.

`ALL` enrols samplers everywhere. Who drives trials otherwise (tasks, Optuna) builds on `Objective`, which says what
a plan is worth, and on `Sampler`, `History` and `Trial`, which know nothing of training.
"""

from budbreak.search.findings import activation_name, operators_finding, search_finding
from budbreak.search.loop import search_activations
from budbreak.search.objective import Evaluate, Objective, Outcome, Train
from budbreak.search.result import SearchResult
from budbreak.search.sampler import Sampler, drawn, generator, moved
from budbreak.search.samplers import ALL, FAMILY, Genetic, LateAcceptance, Random, SimulatedAnnealing
from budbreak.search.space import Candidate, Choices, SearchSpace
from budbreak.search.trial import History, Trial

__all__ = [
    "ALL",
    "FAMILY",
    "Candidate",
    "Choices",
    "Evaluate",
    "Genetic",
    "History",
    "LateAcceptance",
    "Objective",
    "Outcome",
    "Random",
    "Sampler",
    "SearchResult",
    "SearchSpace",
    "SimulatedAnnealing",
    "Train",
    "Trial",
    "activation_name",
    "drawn",
    "generator",
    "moved",
    "operators_finding",
    "search_activations",
    "search_finding",
]
