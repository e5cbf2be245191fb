"""What can be observed. Each probe is one file; `ALL` enrols it in the contract tests."""

from budbreak.probes.gradients import Gradients
from budbreak.probes.unit_counts import SiteCounts, UnitCounts
from budbreak.probes.unseen import Unseen
from budbreak.probes.weights import StartWeights, Weights

ALL = (Weights, StartWeights, Gradients, UnitCounts, Unseen)

__all__ = ["ALL", "Gradients", "SiteCounts", "StartWeights", "UnitCounts", "Unseen", "Weights"]
