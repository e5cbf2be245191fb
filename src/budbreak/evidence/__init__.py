"""What is observed of a network between trainings. Each probe is one file; `ALL` enrols it in the contract tests."""

from budbreak.evidence.averaging import WeightedMean
from budbreak.evidence.evidence import Evidence, Probe, ProbeContext
from budbreak.evidence.examples import drawn, drawn_like
from budbreak.evidence.gradients import Gradients
from budbreak.evidence.hessian_gradients import HessianGradients
from budbreak.evidence.input_norms import ColumnNorms, InputNorms
from budbreak.evidence.mean_activations import MeanActivations, SiteMeans
from budbreak.evidence.passes import gradients_of
from budbreak.evidence.probing import check_inputs, check_rereadable, probe
from budbreak.evidence.synaptic_flow import SynapticFlow
from budbreak.evidence.traced import Graph
from budbreak.evidence.unit_counts import SiteCounts, UnitCounts, count_active
from budbreak.evidence.unseen import Unseen
from budbreak.evidence.weighing import Samples
from budbreak.evidence.weights import StartWeights, Weights
from budbreak.evidence.wiring import Wired, Wiring

ALL = (
    Weights,
    StartWeights,
    Gradients,
    Graph,
    HessianGradients,
    InputNorms,
    MeanActivations,
    SynapticFlow,
    UnitCounts,
    Unseen,
    Wiring,
)

__all__ = [
    "ALL",
    "ColumnNorms",
    "Evidence",
    "Gradients",
    "Graph",
    "HessianGradients",
    "InputNorms",
    "MeanActivations",
    "Probe",
    "ProbeContext",
    "Samples",
    "SiteCounts",
    "SiteMeans",
    "StartWeights",
    "SynapticFlow",
    "UnitCounts",
    "Unseen",
    "WeightedMean",
    "Weights",
    "Wired",
    "Wiring",
    "check_inputs",
    "check_rereadable",
    "count_active",
    "drawn",
    "drawn_like",
    "gradients_of",
    "probe",
]
