"""Benchmarks against the peers, outside the wheel: each is one file; `ALL` enrols it in the command and the tests."""

from collections.abc import Sequence

from benchmarks.activation_step import ActivationStep
from benchmarks.ap_epoch import ApEpoch
from benchmarks.between_levels import BetweenLevels
from benchmarks.compaction import Compaction
from benchmarks.conv_epoch import ConvEpoch
from benchmarks.count_select import CountPrune
from benchmarks.dnr_probe import DnrProbe
from benchmarks.document import document, text_of, with_goals
from benchmarks.findings import read_all
from benchmarks.global_select import GlobalSelect
from benchmarks.input_norms import InputNormsProbe
from benchmarks.lamp_select import LampSelect
from benchmarks.mask_step import MaskStep
from benchmarks.model_trace import ModelTrace
from benchmarks.observer_step import ObserverStep
from benchmarks.packed_file import PackedFile
from benchmarks.search_trials import SearchTrials
from benchmarks.settings import Benchmark, Settings, run
from benchmarks.small_net_epoch import SmallNetEpoch
from benchmarks.sparse_layers import SparseLayers
from benchmarks.synflow_rounds import SynFlowRounds
from budbreak.errors import UnknownName, did_you_mean, one_of

ALL: tuple[Benchmark, ...] = (
    MaskStep(),
    GlobalSelect(),
    LampSelect(),
    CountPrune(),
    BetweenLevels(),
    ModelTrace(),
    Compaction(),
    PackedFile(),
    SparseLayers(),
    DnrProbe(),
    InputNormsProbe(),
    SynFlowRounds(),
    ObserverStep(),
    ActivationStep(),
    SmallNetEpoch(),
    ConvEpoch(),
    ApEpoch(),
    SearchTrials(),
)

__all__ = ["ALL", "Benchmark", "Settings", "document", "find", "read_all", "run", "text_of", "with_goals"]


def find(names: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of these names, or all if there are none.

    Raises:
        UnknownName: with the nearest known name.
    """
    known = {benchmark.name: benchmark for benchmark in ALL}
    for name in names:
        if name not in known:
            raise UnknownName(f"no benchmark named {name!r}", one_of(known), did_you_mean(name, known))
    return [known[name] for name in dict.fromkeys(names)] or list(ALL)
