"""Dead units found, folded and cut out: smaller models with equal outputs."""

from budbreak.compaction.choosing import Left
from budbreak.compaction.compacted import Compacted
from budbreak.compaction.compacting import compact
from budbreak.compaction.gains import Cost, Gains, Latency, measure_gains, sized
from budbreak.compaction.heads import FewerHeads
from budbreak.compaction.on_data import OnData
from budbreak.compaction.plan import CompactionPlan
from budbreak.compaction.propagation import Propagation, propagate
from budbreak.compaction.storing import holds_compact, load_compact, read_compact
from budbreak.compaction.surgery import Kept, Setting

__all__ = [
    "Compacted",
    "CompactionPlan",
    "Cost",
    "FewerHeads",
    "Gains",
    "Kept",
    "Latency",
    "Left",
    "OnData",
    "Propagation",
    "Setting",
    "compact",
    "holds_compact",
    "load_compact",
    "measure_gains",
    "propagate",
    "read_compact",
    "sized",
]
