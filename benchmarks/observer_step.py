"""observer-step: what it costs to watch a training, beside bare steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.settings import Settings
from benchmarks.work import network, shape_of
from budbreak.errors import InvariantBroken
from budbreak.evidence import ActivationCounts, MovementSums, Observer, Watch
from budbreak.masks import prunable_parameters
from budbreak.measuring import Contender

BARE, AGAIN = "bare step", "bare again (noise)"
MOVEMENT, SAMPLED, COUNTS = "movement sums", "movement sums, every 2nd step", "activation counts"
OBSERVERS: dict[str, Observer[object]] = {
    MOVEMENT: MovementSums(),
    SAMPLED: MovementSums(every=2),
    COUNTS: ActivationCounts(),
}
CASES = (("MLP 784-1024-1024-10", 128), ("ResNet-20", 64))
BOUND = 1.05


@dataclass(frozen=True)
class ObserverStep:
    """Whole training steps, watched by one observer each."""

    name = "observer-step"
    about = "Watching a training: whole float32 steps with an observer attached, beside bare ones."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        cases = settings.pick(CASES[:1], CASES, CASES)
        tables = tuple(_table(name, batch, settings) for name, batch in cases)
        goals = tuple(_goal(measured, way) for measured in tables for way in OBSERVERS)
        checks = ("Watched steps leave the weights of bare ones, bit for bit.",)
        remarks = (
            "SGD with momentum 0.9, fused, which makes the bare step the faster yardstick.",
            "Movement sums read weights and gradients once more in each step: bound by memory, where weights are many "
            "and batches small.",
        )
        return Findings(tables, goals, checks, remarks)


def _table(name: str, batch: int, settings: Settings) -> Table:
    ways = (BARE, AGAIN, *OBSERVERS)
    made = {way: _step(name, batch, settings, OBSERVERS.get(way)) for way in ways}
    _check({way: model for way, (model, _) in made.items()}, {way: step for way, (_, step) in made.items()})
    timings = settings.meter(full=15)([Contender(way, step) for way, (_, step) in made.items()])
    return table(f"{name}, batch {batch}", BARE, timings)


def _step(
    name: str, batch: int, settings: Settings, observer: Observer[object] | None
) -> tuple[nn.Module, Callable[[], object]]:
    model = network(name, settings.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, fused=True)
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(batch, *shape_of(name), generator=generator).to(settings.device)
    labels = torch.randint(0, 10, (batch,), generator=generator).to(settings.device)
    if observer is not None:
        watch = Watch(model, prunable_parameters(model), [observer], is_on=lambda: True).__enter__()
        watch.begin()
        optimizer.register_step_pre_hook(lambda *_: watch.step(optimizer, has_closure=False))

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return model, step


def _check(models: dict[str, nn.Module], steps: dict[str, Callable[[], object]]) -> None:
    for step in steps.values():
        step()
        step()
    bare = list(models[BARE].parameters())
    for way, model in models.items():
        if not all(torch.equal(mine, theirs) for mine, theirs in zip(model.parameters(), bare, strict=True)):
            raise InvariantBroken(f"steps with {way} end elsewhere", "who watches changes nothing")


def _goal(measured: Table, way: str) -> Goal:
    again = measured.row(AGAIN)
    noise = max(abs(again.ratio_low - 1), abs(again.ratio_high - 1))
    aim = f"{measured.title}: a step with {way} at most {BOUND:.2f}x of a bare one"
    return Goal(aim, measured.row(way).ratio, BOUND, at_least=False, noise=noise)
