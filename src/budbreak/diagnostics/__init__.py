"""What evidence and mask say about a network: pure values, one file each. `ALL` enrols them everywhere."""

from budbreak.diagnostics.connectivity import Connectivity
from budbreak.diagnostics.dead_units import DeadUnitRates, DeadUnits, SiteRates, dead_units
from budbreak.diagnostics.dormant_units import DormantUnits
from budbreak.diagnostics.finding import Finding
from budbreak.diagnostics.gradient_norm import GradientNorm
from budbreak.diagnostics.measurement import Diagnostic, Measurement, Quantity, joined, needed, quantities_of
from budbreak.diagnostics.rank import Rank
from budbreak.diagnostics.spectra import evenly, spectra_finding

ALL = (Connectivity, DeadUnits, DormantUnits, GradientNorm, Rank)

__all__ = [
    "ALL",
    "Connectivity",
    "DeadUnitRates",
    "DeadUnits",
    "Diagnostic",
    "DormantUnits",
    "Finding",
    "GradientNorm",
    "Measurement",
    "Quantity",
    "Rank",
    "SiteRates",
    "dead_units",
    "evenly",
    "joined",
    "needed",
    "quantities_of",
    "spectra_finding",
]
