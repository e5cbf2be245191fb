"""sparse-layers: forward passes of multilayer perceptrons with zeros, through sparse rows and dense kernels."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.settings import Settings
from benchmarks.work import MNIST
from budbreak.errors import InvariantBroken
from budbreak.exporting import SparseLinear, sparsify
from budbreak.measuring import Contender
from budbreak.networks import mlp

DENSE = "dense"
WIDTHS = ((300, 200, 100, 50), (300, 100))
SPARSITIES = (0.8, 0.9, 0.95, 0.98, 0.99)
BATCHES = (1, 64)
NAMES = (
    DENSE,
    *(f"{at:.0%} zero, {how}" for at in SPARSITIES for how in ("all layers sparse", "chosen by measurement")),
)


@dataclass(frozen=True)
class SparseLayers:
    """The same weights in dense layers, in sparse ones, and each in what was measured to be faster."""

    name = "sparse-layers"
    about = "Forward passes on the CPU with linear layers of sparse rows, all of them or by choice, beside dense ones."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        widths = settings.pick(WIDTHS[1:], WIDTHS, WIDTHS)
        tables = [_table(settings, one, batch) for one in widths for batch in BATCHES]
        goals = [goal for measured in tables for goal in _goals(measured)]
        remarks = (
            "Zeros lie anywhere, equally many in each layer but the last, which is dense. The dense row is the same "
            "with zeros and without.",
            "Blocks of 4x4 (torch's BSR) were slower than sparse rows at every size: 0.01x to 0.3x of the dense speed "
            "at batch 1, up to 1.9x at batch 64 where sparse rows reach 4x.",
        )
        checks = ("Each model gives what the dense one with its zeros gives, to 1e-4.",)
        return Findings(tuple(tables), tuple(goals), checks, remarks)


def _table(settings: Settings, widths: Sequence[int], batch: int) -> Table:
    images = torch.randn(batch, *MNIST)
    models: dict[str, nn.Module] = {DENSE: mlp(MNIST, 10, widths).eval()}
    meter = settings.meter(quick=5, full=11)
    for at in SPARSITIES:
        zeros = _with_zeros(models[DENSE], at)
        models[f"{at:.0%} zero, all layers sparse"] = _all_sparse(zeros)
        models[f"{at:.0%} zero, chosen by measurement"] = sparsify(zeros, images, meter=meter).model
        _check(zeros, [*models.values()][-2:], images)
    contenders = [Contender(name, _forward(model, images)) for name, model in models.items()]
    return table(f"MLP {'-'.join(map(str, (784, *widths, 10)))}, batch {batch}", DENSE, meter(contenders))


def _with_zeros(dense: nn.Module, sparsity: float) -> nn.Module:
    model = copy.deepcopy(dense)
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for layer in layers[:-1]:
            count = layer.weight.numel()
            layer.weight.view(-1)[torch.randperm(count)[: round(sparsity * count)]] = 0
    return model


def _all_sparse(model: nn.Module) -> nn.Module:
    model = copy.deepcopy(model)
    layers = [(parent, name, child) for parent in model.modules() for name, child in parent.named_children()]
    linear = [(parent, name, child) for parent, name, child in layers if isinstance(child, nn.Linear)]
    for parent, name, child in linear[:-1]:
        setattr(parent, name, SparseLinear(child))
    return model


def _check(zeros: nn.Module, models: Sequence[nn.Module], images: Tensor) -> None:
    with torch.no_grad():
        apart = max(float((model(images) - zeros(images)).abs().max()) for model in models)
    if apart > 1e-4:
        raise InvariantBroken(f"outputs are {apart:.2g} apart", "sparse layers give what dense ones give")


def _forward(model: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    def run() -> Tensor:
        with torch.inference_mode():
            return model(images)

    return run


def _goals(measured: Table) -> list[Goal]:
    chosen = [row for row in measured.rows if row.name.endswith("chosen by measurement")]
    slowest = max(row.ratio for row in chosen)
    goals = [Goal(f"{measured.title}: the choice takes at most 1.05x of dense", slowest, 1.05, at_least=False)]
    if measured.title.endswith("batch 64"):
        at95 = measured.row("95% zero, chosen by measurement")
        goals.append(Goal(f"{measured.title}, 95 % zero: at least 1.5x faster", 1 / at95.ratio, 1.5))
    return goals
