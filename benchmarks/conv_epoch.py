"""conv-epoch: a training pass of ResNet-20 in the engine's best arithmetic beside a plain float32 loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from benchmarks.findings import Findings, Goal, table
from benchmarks.peers import train_plainly
from benchmarks.settings import Settings
from benchmarks.work import CIFAR, images, in_memory_batches, network
from budbreak.data import Images
from budbreak.measuring import Contender
from budbreak.training import SGD, Engine, cpu_capabilities, train_epoch

OURS, FLOAT, PLAIN = "budbreak train_epoch", "budbreak train_epoch, float32", "plain float32 loop"
_BATCH = 128


@dataclass(frozen=True)
class ConvEpoch:
    """One pass of ResNet-20."""

    name = "conv-epoch"
    about = "One training pass of ResNet-20 at batch 128 in the engine's best arithmetic, beside a plain float32 loop."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        data = images(settings.pick(16, 256, 640), CIFAR)
        engine = settings.engine(network("ResNet-20"))
        contenders = [
            Contender(OURS, _ours(data, engine)),
            Contender(FLOAT, _ours(data, replace(engine, bf16=False))),
            Contender(PLAIN, _plain(data, settings.device)),
        ]
        epochs = table(f"ResNet-20, {len(data)} images", OURS, settings.meter(full=7)(contenders))
        goal = Goal("at least 2.3x the plain loop (with AMX)", epochs.row(PLAIN).ratio, 2.3, not_judged=without_amx())
        remarks = (
            f"The engine: {engine.summary()}.",
            "The plain loop: float32, NCHW, torch's default SGD with momentum, batches indexed from memory: no "
            "DataLoader, which would slow it further.",
        )
        return Findings((epochs,), (goal,), (), remarks)


def without_amx() -> str:
    """Why a goal stated for AMX is not judged here; empty where the processor has it."""
    return "" if cpu_capabilities().get("amx_bf16") else "the goal is stated for processors with AMX, this one has none"


def _ours(data: Images, engine: Engine) -> Callable[[], object]:
    model = engine.prepare(network("ResNet-20"))
    sgd, placed = SGD(0.01, momentum=0.9, weight_decay=0.0).build(model), data.to(engine.device)
    return lambda: train_epoch(model, sgd, placed, engine=engine, batch_size=_BATCH)


def _plain(data: Images, device: str) -> Callable[[], object]:
    model = network("ResNet-20", device)
    sgd = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    return lambda: train_plainly(model, sgd, in_memory_batches(data, _BATCH, device), device)
