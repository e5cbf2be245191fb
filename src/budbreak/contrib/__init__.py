"""What belongs to studies and not to the library: rules with one part exchanged, and published scripts as they are.

Nothing of the library imports it; recipes name its values as ``budbreak.contrib:Class``.
"""

from budbreak.contrib.ap_script import ApScript, ScriptLevel, Trainee, follow
from budbreak.contrib.dead_first import DeadFirst
from budbreak.contrib.dead_unit_waker import DeadUnitWaker
from budbreak.contrib.fisher import FisherInformation
from budbreak.contrib.negatives_first import NegativesFirst
from budbreak.contrib.preactivations import PreActivations, SiteSpread
from budbreak.contrib.signed_order import SignedOrder
from budbreak.contrib.synaptic_stripping import SynapticStripping
from budbreak.contrib.waking_slopes import WakingSlopes

__all__ = [
    "ApScript",
    "DeadFirst",
    "DeadUnitWaker",
    "FisherInformation",
    "NegativesFirst",
    "PreActivations",
    "ScriptLevel",
    "SignedOrder",
    "SiteSpread",
    "SynapticStripping",
    "Trainee",
    "WakingSlopes",
    "follow",
]
