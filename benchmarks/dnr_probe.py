"""dnr-probe: what it costs to count dead outputs per unit, beside a plain evaluation pass."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.peers import CountingHooks
from benchmarks.settings import Settings
from benchmarks.work import CIFAR, network
from budbreak.errors import InvariantBroken
from budbreak.live import dead_neurons
from budbreak.measuring import Contender

PLAIN, AGAIN, OURS = "plain evaluation pass", "the same again (noise)", "budbreak dead_neurons"
COUNT, MEAN = "hook: count_nonzero(x, dim=0)", "hook: (x <= 0).float().mean(0)"


@dataclass(frozen=True)
class DnrProbe:
    """Counts per unit and position on ResNet-20."""

    name = "dnr-probe"
    about = (
        "Dead neuron rate with counts per unit and position: ResNet-20, batch 128, beside a plain evaluation pass; its "
        "ReLUs as modules, and as calls of F.relu."
    )

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        arithmetics = ("float32", "bf16, channels last")
        tables = (
            *(_table(arithmetic, settings) for arithmetic in arithmetics),
            *(_functional_table(arithmetic, settings) for arithmetic in arithmetics),
        )
        goals = tuple(
            Goal(
                f"{measured.title}: at most 1.25x of a plain pass",
                measured.row(OURS).ratio,
                1.25,
                False,
                _noise(measured),
            )
            for measured in tables
        )
        checks = ("The total rate equals that of both textbook hooks, and is the same of modules and of functions.",)
        remarks = (
            "budbreak's row is the whole verb: hooks on and off, counting, and the rates per site at the end; "
            "the textbook rows keep sums per output and no rates.",
            "Its first batch is recorded call by call (about 20 ms); 16 batches of 128 are as many images as the "
            "recipes look at.",
        )
        return Findings(tables, goals, checks, remarks)


def _noise(measured: Table) -> float:
    again = measured.row(AGAIN)
    return max(abs(again.ratio_low - 1), abs(again.ratio_high - 1))


def _table(arithmetic: str, settings: Settings) -> Table:
    model, batches = _subject(arithmetic, settings)
    _check(model, batches)
    runs: dict[str, Callable[[], object]] = {
        PLAIN: lambda: _evaluate(model, batches),
        AGAIN: lambda: _evaluate(model, batches),
        OURS: lambda: dead_neurons(model, batches),
        COUNT: lambda: _hooked(model, batches, "count_nonzero"),
        MEAN: lambda: _hooked(model, batches, "mean"),
    }
    timings = settings.meter(full=7)([Contender(name, run) for name, run in runs.items()])
    return table(f"ResNet-20, {arithmetic}", PLAIN, timings)


def _functional_table(arithmetic: str, settings: Settings) -> Table:
    modules, batches = _subject(arithmetic, settings)
    model = Functional(modules).eval()
    if dead_neurons(model, batches).total != dead_neurons(modules, batches).total:
        raise InvariantBroken("the rates of F.relu and nn.ReLU differ", "both are the same network")
    runs: dict[str, Callable[[], object]] = {
        PLAIN: lambda: _evaluate(model, batches),
        AGAIN: lambda: _evaluate(model, batches),
        OURS: lambda: dead_neurons(model, batches),
    }
    timings = settings.meter(full=7)([Contender(name, run) for name, run in runs.items()])
    return table(f"ResNet-20 with F.relu, {arithmetic}", PLAIN, timings)


class Functional(nn.Module):
    """ResNet-20 with calls of F.relu in the place of its modules.

    Args:
        network: whose layers it calls; it is copied.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = copy.deepcopy(network)
        for path, module in list(self.network.named_modules()):
            if isinstance(module, nn.ReLU):  # one that is never called would be waited for, batch after batch
                parent, _, name = path.rpartition(".")
                delattr(self.network.get_submodule(parent), name)

    def forward(self, x: Tensor) -> Tensor:
        """As that of the network."""
        net = self.network
        y = functional.relu(net.bn(net.conv(x)))
        for block in (*net.stage1, *net.stage2, *net.stage3):
            z = functional.relu(block.bn1(block.conv1(y)))
            y = functional.relu(block.bn2(block.conv2(z)) + block.shortcut(y))
        return net.fc(net.flatten(net.pool(y)))


def _subject(arithmetic: str, settings: Settings) -> tuple[nn.Module, list[Tensor]]:
    model = network("ResNet-20", settings.device).eval()
    count, size = settings.pick((2, 2), (4, 128), (16, 128))
    batches = [torch.randn(size, *CIFAR).to(settings.device) for _ in range(count)]
    if arithmetic == "float32":
        return model, batches
    model.to(torch.bfloat16).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return model, [batch.to(torch.bfloat16).contiguous(memory_format=torch.channels_last) for batch in batches]


def _evaluate(model: nn.Module, batches: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for batch in batches:
            model(batch)


def _hooked(model: nn.Module, batches: Sequence[Tensor], how: str) -> float:
    hooks = CountingHooks(model, how)
    _evaluate(model, batches)
    return hooks.total(sum(len(batch) for batch in batches))


def _check(model: nn.Module, batches: Sequence[Tensor]) -> None:
    ours = dead_neurons(model, batches).total
    for how in ("count_nonzero", "mean"):
        theirs = _hooked(model, batches, how)
        if abs(ours - theirs) > 1e-5:  # the mean hook rounds each batch to float32
            raise InvariantBroken(f"dead_neurons says {ours}, the hook {how} says {theirs}", "both count zeros")
