"""synflow: what pruning in rounds costs beside the passes that it cannot do without."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.findings import Findings, Goal, table
from benchmarks.settings import Settings
from benchmarks.work import SPARSITY, network, shape_of
from budbreak.criteria import SynFlow
from budbreak.errors import InvariantBroken
from budbreak.live import prune
from budbreak.masks import Mask, survivors
from budbreak.measuring import Contender

PASSES, OURS = "a forward and a backward pass per round", "budbreak prune by SynFlow"
_NAME = "ResNet-20"


@dataclass(frozen=True)
class SynFlowRounds:
    """SynFlow on an untrained network."""

    name = "synflow"
    about = "SynFlow at 90 % sparsity on ResNet-20: measuring the flow, selecting and masking, in each of many rounds."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        rounds = settings.pick(3, 100, 100)
        model = network(_NAME, settings.device)
        bare = copy.deepcopy(model).double().eval()
        ones = torch.ones(1, *shape_of(_NAME), dtype=torch.float64, device=settings.device)
        contenders = [
            Contender(PASSES, lambda: _passes(bare, ones, rounds)),
            Contender(OURS, lambda: pruned(model, rounds)),
        ]
        measured = table(f"{_NAME}, {rounds} rounds", PASSES, settings.meter(full=5)(contenders))
        goal = Goal(f"at most 10x of {rounds} bare passes", measured.row(OURS).ratio, 10, at_least=False)
        mask = pruned(model, rounds)
        if mask.kept != survivors(SPARSITY, mask.total):
            raise InvariantBroken(f"{mask.kept} of {mask.total} weights stay", "the last round keeps the exact count")
        remark = "A bare pass has batch 1 and float64, as SynFlow's has; ours copies the network first."
        return Findings((measured,), (goal,), (f"{mask.kept} of {mask.total} weights stay.",), (remark,))


def pruned(model: nn.Module, rounds: int) -> Mask:
    """The mask of a copy."""
    criterion = SynFlow(rounds, shape=shape_of(_NAME))
    return prune(copy.deepcopy(model), sparsity=SPARSITY, criterion=criterion, allow_collapse=True)


def _passes(model: nn.Module, ones: Tensor, rounds: int) -> None:
    weights = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    for _ in range(rounds):
        torch.autograd.grad(model(ones).sum(), weights)
