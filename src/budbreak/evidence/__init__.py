"""What is observed of a network between trainings. Each probe is one file; `ALL` enrols it in the contract tests."""

from budbreak.evidence.evidence import Evidence, Probe, ProbeContext
from budbreak.evidence.gradients import Gradients
from budbreak.evidence.probing import check_inputs, probe
from budbreak.evidence.unit_counts import SiteCounts, UnitCounts, count_active
from budbreak.evidence.unseen import Unseen
from budbreak.evidence.weighing import Samples
from budbreak.evidence.weights import StartWeights, Weights

ALL = (Weights, StartWeights, Gradients, UnitCounts, Unseen)

__all__ = [
    "ALL",
    "Evidence",
    "Gradients",
    "Probe",
    "ProbeContext",
    "Samples",
    "SiteCounts",
    "StartWeights",
    "UnitCounts",
    "Unseen",
    "Weights",
    "check_inputs",
    "count_active",
    "probe",
]
