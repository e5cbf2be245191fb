"""input-norms: what it costs to observe the norms of all layers' inputs, beside a plain evaluation pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.settings import Settings
from benchmarks.work import network, shape_of
from budbreak.errors import InvariantBroken
from budbreak.evidence import InputNorms, probe
from budbreak.measuring import Contender

PLAIN, AGAIN, OURS = "plain evaluation pass", "the same again (noise)", "budbreak probe of InputNorms"
UNFOLDED = "hook: unfold each input, square, sum"
_BF16 = "bf16, channels last"
_CASES = (("MLP 784-1024-1024-10", "float32"), ("ResNet-20", "float32"), ("ResNet-20", _BF16))


@dataclass(frozen=True)
class InputNormsProbe:
    """The norms that Wanda and RIA read."""

    name = "input-norms"
    about = "The norms of what each weight is multiplied with, as Wanda reads them, beside a plain evaluation pass."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        tables = [_table(*case, settings) for case in _CASES]
        goals = [_goal(measured) for measured in tables]
        checks = ("The norms equal those of unfolded inputs, but for rounding.",)
        remarks = ("16 batches of 128 are as many images as the recipes look at.",)
        return Findings(tuple(tables), tuple(goals), checks, remarks)


def _goal(measured: Table) -> Goal:
    again = measured.row(AGAIN)
    noise = max(abs(again.ratio_low - 1), abs(again.ratio_high - 1))
    return Goal(f"{measured.title}: at most 1.15x of a plain pass", measured.row(OURS).ratio, 1.15, False, noise)


def _table(name: str, arithmetic: str, settings: Settings) -> Table:
    model, batches = _subject(name, arithmetic, settings)
    _check(model, batches)
    runs: dict[str, Callable[[], object]] = {
        PLAIN: lambda: _evaluate(model, batches),
        AGAIN: lambda: _evaluate(model, batches),
        OURS: lambda: probe(model, [InputNorms()], batches=batches),
        UNFOLDED: lambda: by_unfolding(model, batches),
    }
    most = 2  # of what takes twelve times as long
    contenders = [Contender(way, run, most=most if way == UNFOLDED else None) for way, run in runs.items()]
    return table(f"{name}, batch {len(batches[0])}, {arithmetic}", PLAIN, settings.meter(full=7)(contenders))


def _subject(name: str, arithmetic: str, settings: Settings) -> tuple[nn.Module, list[Tensor]]:
    model = network(name, settings.device).eval()
    count, size = settings.pick((2, 4), (4 if name == "ResNet-20" else 16, 128), (16, 128))
    batches = [torch.randn(size, *shape_of(name)).to(settings.device) for _ in range(count)]
    if arithmetic == "float32":
        return model, batches
    model.to(torch.bfloat16).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return model, [batch.to(torch.bfloat16).contiguous(memory_format=torch.channels_last) for batch in batches]


def by_unfolding(model: nn.Module, batches: Sequence[Tensor]) -> Mapping[str, Tensor]:
    """The norms as Wanda's code for linear layers carries over to convolutions."""
    sums: dict[str, Tensor] = {}

    def hook(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def add(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
            squares = _columns(layer, given[0].float()).square().sum(0)
            sums[name] = sums[name] + squares if name in sums else squares

        return add

    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    handles = [layer.register_forward_pre_hook(hook(f"{name}.weight")) for name, layer in layers.items()]
    _evaluate(model, batches)
    for handle in handles:
        handle.remove()
    return {name: total.sqrt() for name, total in sums.items()}


def _columns(layer: nn.Module, x: Tensor) -> Tensor:
    if not isinstance(layer, nn.Conv2d):
        return x
    kernel, padding, stride = layer.weight.shape[2:], layer.padding, layer.stride
    return functional.unfold(x, tuple(kernel), padding=padding, stride=stride).transpose(1, 2).flatten(0, 1)  # pyright: ignore[reportArgumentType]


def _evaluate(model: nn.Module, batches: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for batch in batches:
            model(batch)


def _check(model: nn.Module, batches: Sequence[Tensor]) -> None:
    found, expected = probe(model, [InputNorms()], batches=batches)[InputNorms()], by_unfolding(model, batches)
    for name, norms in found.items():
        if not torch.allclose(norms.norms[0], expected[name], rtol=1e-4, atol=1e-4):
            raise InvariantBroken(f"the norms of {name} differ", "they are those of unfolded inputs, but for rounding")
