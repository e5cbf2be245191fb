"""Plausible runs that nobody ran: ResNet-20-like, the same numbers for the same arguments."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

from budbreak.report.estimate import estimate
from budbreak.studies import LayerResult, LevelResult, PairedDifference, RunResult
from budbreak.studies.result import EpochResult

ARMS = ("host", "ap-lite", "ap-pro", "host-split", "host-retrain")
GAINS = {"host": 0.0, "ap-lite": 0.004, "ap-pro": 0.008, "host-split": 0.0, "host-retrain": 0.003}
RECIPE: Mapping[str, Any] = {
    "data": {"name": "cifar10", "split": [45000, 5000, 10000], "augment": True},
    "network": "resnet20",
    "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4},
    "schedule": {"rate": 0.2, "levels": 12},
    "then": [{"name": "activate_while_pruning", "q": 0.02}],
}
ENVIRONMENT = {"torch": "2.13.0+cpu", "processor": "a fake one", "threads": 2, "precision": "bf16"}
METRICS = ("test_accuracy", "dnr_total", "dnr_static", "dnr_dynamic")


def layer_shapes() -> list[tuple[str, int, int]]:
    """Name, weights and units of the 22 prunable layers of a ResNet-20 with projections."""
    shapes = [("conv1.weight", 432, 16)]
    for stage, width in enumerate((16, 32, 64), start=1):
        for block in range(3):
            first = width if stage == 1 or block else width // 2
            shapes.append((f"layer{stage}.{block}.conv1.weight", 9 * first * width, width))
            shapes.append((f"layer{stage}.{block}.conv2.weight", 9 * width * width, width))
            if first != width:
                shapes.append((f"layer{stage}.{block}.shortcut.0.weight", first * width, width))
    return [*shapes, ("fc.weight", 640, 10)]


def fake_run(
    arms: Sequence[str] = ARMS,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    levels: int = 13,
    *,
    name: str = "ResNet-20 on CIFAR-10",
    epochs: int = 20,
    gains: Mapping[str, float] = GAINS,
    complete: bool = True,
    **changes: Any,
) -> RunResult:
    """A run whose arms differ from the first by ``gains`` at the sparsest density, plus noise shared by seed."""
    results = tuple(
        _level(arm, seed, level, epochs, gains.get(arm, 0.0) * level / max(1, levels - 1))
        for arm in arms
        for seed in seeds
        for level in range(levels)
    )
    fields: dict[str, Any] = {
        "name": name,
        "identity": f"{abs(hash((name, len(arms)))) % 16**12:012x}"[:12] * 5,
        "recipe": RECIPE,
        "environment": ENVIRONMENT,
        "arms": tuple(arms),
        "seeds": tuple(seeds),
        "complete": complete,
        "seconds": math.fsum(level.seconds for level in results),
        "levels": results,
        "differences": tuple(differences(arms, results)),
    }
    return RunResult(**{**fields, **changes})


def differences(arms: Sequence[str], results: Sequence[LevelResult]) -> list[PairedDifference]:
    """Every arm minus the first, paired by seed."""
    found = {(row.arm, row.seed, row.level): row for row in results}
    rows: list[PairedDifference] = []
    for arm in arms[1:]:
        for level in sorted({row.level for row in results}):
            pairs = [(row, found[arms[0], row.seed, level]) for row in results if (row.arm, row.level) == (arm, level)]
            for metric in METRICS:
                spread = estimate([own.metrics[metric] - other.metrics[metric] for own, other in pairs])
                place = (level, pairs[0][0].density, arm, arms[0], metric)
                rows.append(PairedDifference(*place, spread.n, spread.mean, spread.low, spread.high))
    return rows


def _level(arm: str, seed: int, level: int, epochs: int, gain: float) -> LevelResult:
    shared, own = random.Random(f"{seed}/{level}"), random.Random(f"{arm}/{seed}/{level}")
    if level == 0:
        own = random.Random(f"dense/{seed}")
    density = 0.8**level
    layers = tuple(_layer(shape, density, own) for shape in layer_shapes())
    total = sum(layer.total for layer in layers)
    kept = round(density * total)
    accuracy = 0.915 - 0.0035 * (-math.log(density)) ** 2.6 + gain + shared.gauss(0, 0.002) + own.gauss(0, 0.0012)
    static = sum(layer.static_units for layer in layers) / sum(layer.units for layer in layers)
    dynamic = max(0.05, 0.5 - 0.06 * level**0.7 - 0.5 * gain + own.gauss(0, 0.004)) * (1 - static)
    passes = 2 if arm in ("ap-pro", "host-split", "host-retrain") and level else 1
    return LevelResult(
        arm=arm,
        seed=seed,
        level=level,
        kept=kept,
        total=total,
        density=kept / total,
        density_all=(kept + 1500) / (total + 1500),
        epochs=epochs * passes,
        steps=epochs * passes * 352,
        seconds=(95 + own.random() * 6) * passes,
        metrics={
            "test_accuracy": accuracy,
            "validation_accuracy": accuracy + own.gauss(0, 0.002),
            "train_loss": 0.05 + 0.02 * level,
            "dnr_total": static + dynamic,
            "dnr_static": static,
            "dnr_dynamic": dynamic,
            "dnr_permanent": 0.0,
            "dnr_alive": dynamic / (1 - static),
        },
        invariants={"zeros held": True, "rewound to the start": True, "exact count": True, "no layer collapsed": True},
        layers=layers,
        curve=tuple(_epoch(epoch, epochs, accuracy, static, dynamic, own) for epoch in range(epochs + 1)),
        notes=("AP found too few candidates: the host took 12 more",)
        if (arm, seed, level) == ("ap-lite", 0, 12)
        else (),
    )


def _layer(shape: tuple[str, int, int], density: float, own: random.Random) -> LayerResult:
    name, total, units = shape
    share = density ** (0.35 + 1.1 * math.log(total) / math.log(36864) - 0.1)
    kept = max(1, min(total, round(total * share * (1 + own.gauss(0, 0.01))))) if density < 1 else total
    static = int(units * max(0.0, 0.22 - share) * 1.6) if units > 10 else 0
    dynamic = None if name.startswith("fc") or "shortcut" in name else max(0.02, 0.5 * share**0.25 + own.gauss(0, 0.05))
    if dynamic is not None:
        dynamic = min(dynamic, 1 - static / units)
    return LayerResult(name, kept, total, units, static, dynamic)


def _epoch(epoch: int, epochs: int, accuracy: float, static: float, dynamic: float, own: random.Random) -> EpochResult:
    done = 1 - math.exp(-5 * epoch / max(1, epochs))
    now = 0.1 + (accuracy - 0.1) * done + own.gauss(0, 0.004)
    rate = dynamic + (0.5 - dynamic) * 0.5 * (1 - done) + own.gauss(0, 0.003)
    probed = epoch % 2 == 0 or epoch == epochs
    return EpochResult(
        epoch,
        None if epoch == 0 else 2.3 * (1 - done) + 0.05,
        now,
        static + rate if probed else None,
        static if probed else None,
        rate if probed else None,
    )
