"""Plausible runs that nobody ran: ResNet-20-like, the same numbers for the same arguments."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from budbreak.diagnostics import DeadUnits, GradientNorm
from budbreak.results import TRAINING, ArmResult, EpochResult, LayerResult, LevelResult, RunResult
from budbreak.results.compare import paired_differences

ARMS = ("host", "ap-lite", "ap-pro", "host-split", "host-retrain")
GAINS = {"host": 0.0, "ap-lite": 0.004, "ap-pro": 0.008, "host-split": 0.0, "host-retrain": 0.003}
HOSTS = ("magnitude", "taylor", "gradient", "random")
EIGHT = tuple(arm for host in HOSTS for arm in (host, f"{host}-ap"))
"""Four hosts, each without and with a follow-up."""
EIGHT_GAINS = {"magnitude-ap": 0.008, "taylor": -0.004, "taylor-ap": 0.003, "gradient": -0.02, "gradient-ap": -0.02}
EIGHT_GAINS |= {"random": -0.05, "random-ap": -0.04}
QUANTITIES = (*TRAINING, *DeadUnits.quantities)
PLAIN: Mapping[str, Any] = {
    "data": {"name": "cifar10", "split": [45000, 5000, 10000], "augment": True},
    "network": {"name": "resnet-20"},
    "train": {"optimizer": {"is": "sgd", "learning_rate": 0.1, "momentum": 0.9, "weight_decay": 1e-4}},
    "prune": {
        "criterion": "magnitude",
        "schedule": {"is": "geometric", "rate": 0.2, "levels": 12},
        "granularity": "element",
        "scope": "global",
        "then": [],
    },
}
ENVIRONMENT = {"torch": "2.13.0+cpu", "processor": "a fake one", "threads": 2, "precision": "bf16"}


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
    references: Mapping[str, str] | None = None,
    complete: bool = True,
    **changes: Any,
) -> RunResult:
    """A run whose arms differ by ``gains`` at the sparsest density, plus noise shared by seed.

    All are compared with the first, unless ``references`` says with which.
    """
    compared = dict.fromkeys(arms[1:], arms[0]) if references is None else references
    enrolled = tuple(
        ArmResult(arm, compared.get(arm), {"prune.criterion": arm} if place else {}) for place, arm in enumerate(arms)
    )
    results = tuple(
        _level(arm, seed, level, epochs, gains.get(arm, 0.0) * level / max(1, levels - 1))
        for arm in arms
        for seed in seeds
        for level in range(levels)
    )
    fields: dict[str, Any] = {
        "name": name,
        "identity": f"{abs(hash((name, len(arms)))) % 16**12:012x}"[:12] * 5,
        "recipe": {"name": name, "seeds": len(seeds), "arms": {arm: plain(arm) for arm in arms}},
        "environment": ENVIRONMENT,
        "arms": enrolled,
        "seeds": tuple(seeds),
        "complete": complete,
        "seconds": math.fsum(level.seconds for level in results),
        "quantities": QUANTITIES,
        "levels": results,
        "differences": tuple(paired_differences(results, enrolled, QUANTITIES)),
    }
    return RunResult(**{**fields, **changes})


def plain(arm: str) -> dict[str, Any]:
    """The sections of an arm; AP follows where its name says so."""
    then = [{"is": "ap", "q": 0.02}] if "ap" in arm.split("-") else []
    return {**PLAIN, "prune": {**PLAIN["prune"], "then": then}}


def eight_arms(seeds: Sequence[int] = (0, 1, 2, 3, 4), levels: int = 13, **changes: Any) -> RunResult:
    """Four hosts, each compared with itself and a follow-up, with gradients measured as well."""
    references = {f"{host}-ap": host for host in HOSTS}
    run = fake_run(EIGHT, seeds, levels, gains=EIGHT_GAINS, references=references, name="Four hosts", **changes)
    quantities = (*QUANTITIES, *GradientNorm.quantities)
    rows = tuple(replace(row, numbers={**row.numbers, "gradient_norm": _gradient(row)}) for row in run.levels)
    differences = tuple(paired_differences(rows, run.arms, quantities))
    return replace(run, levels=rows, quantities=quantities, differences=differences)


def _gradient(row: LevelResult) -> float:
    own = random.Random(f"{row.arm if row.level else 'dense'}{row.seed}{row.level}")
    return 0.003 * math.exp(-3 * row.density) * (1 + 0.02 * own.gauss(0, 1))


def _level(arm: str, seed: int, level: int, epochs: int, gain: float) -> LevelResult:
    shared, own = random.Random(f"{seed}/{level}"), random.Random(f"{arm}/{seed}/{level}")
    if level == 0:
        own = random.Random(f"dense/{seed}")
    density = 0.8**level
    layers = tuple(_layer(shape, density, shared, own) for shape in layer_shapes())
    total = sum(layer.total for layer in layers)
    kept = round(density * total)
    accuracy = 0.915 - 0.0035 * (-math.log(density)) ** 2.6 + gain + shared.gauss(0, 0.002) + own.gauss(0, 0.0012)
    static = 0.2 * max(0.0, 0.3 - density)
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
        numbers={
            "test_accuracy": accuracy,
            "validation_accuracy": accuracy + own.gauss(0, 0.002),
            "train_loss": 0.05 + 0.02 * level,
            "dead_units_total": static + dynamic,
            "dead_units_static": static,
            "dead_units_dynamic": dynamic,
            "dead_units_permanent": 0.0,
            "dead_units_dynamic_alive": dynamic / (1 - static),
        },
        invariants={"zeros held": True, "rewound to the start": True, "exact count": True, "no layer collapsed": True},
        layers=layers,
        curve=tuple(_epoch(epoch, epochs, accuracy, static, dynamic, own) for epoch in range(epochs + 1)),
        notes=("AP found too few candidates: the host took 12 more",)
        if (arm, seed, level) == ("ap-lite", 0, 12)
        else (),
    )


def _layer(shape: tuple[str, int, int], density: float, shared: random.Random, own: random.Random) -> LayerResult:
    name, total, units = shape
    share = density ** (0.35 + 1.1 * math.log(total) / math.log(36864) - 0.1)
    kept = max(1, min(total, round(total * share * (1 + shared.gauss(0, 0.01))))) if density < 1 else total
    if name.startswith("fc") or "shortcut" in name:
        return LayerResult(name, kept, total, {})
    static = int(units * max(0.0, 0.22 - share) * 1.6) / units
    dynamic = min(1 - static, max(0.02, 0.5 * share**0.25 + own.gauss(0, 0.05)))
    rates = {"total": static + dynamic, "static": static, "dynamic": dynamic}
    return LayerResult(name, kept, total, {f"dead_units_{rate}": value for rate, value in rates.items()})


def _epoch(epoch: int, epochs: int, accuracy: float, static: float, dynamic: float, own: random.Random) -> EpochResult:
    done = 1 - math.exp(-5 * epoch / max(1, epochs))
    numbers = {"validation_accuracy": 0.1 + (accuracy - 0.1) * done + own.gauss(0, 0.004)}
    if epoch:
        numbers["train_loss"] = 2.3 * (1 - done) + 0.05
    rate = dynamic + (0.5 - dynamic) * 0.5 * (1 - done) + own.gauss(0, 0.003)
    if epoch % 2 == 0 or epoch == epochs:
        numbers |= {"dead_units_total": static + rate, "dead_units_static": static, "dead_units_dynamic": rate}
    return EpochResult(epoch, numbers)
