"""What is observed of a network between trainings. Each probe is one file; `ALL` enrols it in the contract tests."""

from budbreak.evidence.evidence import Evidence, Probe, ProbeContext
from budbreak.evidence.examples import drawn, drawn_like
from budbreak.evidence.gradients import Gradients
from budbreak.evidence.input_norms import ColumnNorms, InputNorms
from budbreak.evidence.mean_activations import MeanActivations, SiteMeans
from budbreak.evidence.probing import check_inputs, check_rereadable, probe
from budbreak.evidence.unit_counts import SiteCounts, UnitCounts, count_active
from budbreak.evidence.unseen import Unseen
from budbreak.evidence.weighing import Samples
from budbreak.evidence.weights import StartWeights, Weights

ALL = (Weights, StartWeights, Gradients, InputNorms, MeanActivations, UnitCounts, Unseen)

__all__ = [
    "ALL",
    "ColumnNorms",
    "Evidence",
    "Gradients",
    "InputNorms",
    "MeanActivations",
    "Probe",
    "ProbeContext",
    "Samples",
    "SiteCounts",
    "SiteMeans",
    "StartWeights",
    "UnitCounts",
    "Unseen",
    "Weights",
    "check_inputs",
    "check_rereadable",
    "count_active",
    "drawn",
    "drawn_like",
    "probe",
]
