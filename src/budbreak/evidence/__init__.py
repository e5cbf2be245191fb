"""What is observed of a network between trainings (the probes in `ALL`), and watched during them (`OBSERVERS`)."""

from budbreak.evidence.activation_counts import ActivationCounts, Event, Increment, UnitActivity
from budbreak.evidence.averaging import WeightedMean
from budbreak.evidence.evidence import Evidence, Need, Probe, ProbeContext, observers_of, probes_of
from budbreak.evidence.examples import drawn, drawn_like
from budbreak.evidence.following import check_not_handed_out
from budbreak.evidence.gradients import Gradients
from budbreak.evidence.hessian_gradients import HessianGradients
from budbreak.evidence.input_norms import ColumnNorms, InputNorms
from budbreak.evidence.mean_activations import MeanActivations, SiteMeans
from budbreak.evidence.movement_sums import MovementSums
from budbreak.evidence.observer import Observer, ObserverState, Reset, Training
from budbreak.evidence.passes import gradients_of
from budbreak.evidence.probing import check_inputs, check_rereadable, probe
from budbreak.evidence.reached import reached
from budbreak.evidence.synaptic_flow import SynapticFlow
from budbreak.evidence.traced import Graph
from budbreak.evidence.unfoldings import Unfoldings
from budbreak.evidence.unit_counts import SiteCounts, UnitCounts, count_active
from budbreak.evidence.unseen import Unseen
from budbreak.evidence.watch import States, Watch, rehearse
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
    Unfoldings,
    UnitCounts,
    Unseen,
    Wiring,
)
OBSERVERS = (ActivationCounts, MovementSums)

__all__ = [
    "ALL",
    "OBSERVERS",
    "ActivationCounts",
    "ColumnNorms",
    "Event",
    "Evidence",
    "Gradients",
    "Graph",
    "HessianGradients",
    "Increment",
    "InputNorms",
    "MeanActivations",
    "MovementSums",
    "Need",
    "Observer",
    "ObserverState",
    "Probe",
    "ProbeContext",
    "Reset",
    "Samples",
    "SiteCounts",
    "SiteMeans",
    "StartWeights",
    "States",
    "SynapticFlow",
    "Training",
    "Unfoldings",
    "UnitActivity",
    "UnitCounts",
    "Unseen",
    "Watch",
    "WeightedMean",
    "Weights",
    "Wired",
    "Wiring",
    "check_inputs",
    "check_not_handed_out",
    "check_rereadable",
    "count_active",
    "drawn",
    "drawn_like",
    "gradients_of",
    "observers_of",
    "probe",
    "probes_of",
    "reached",
    "rehearse",
]
