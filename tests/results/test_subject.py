"""The first line of a report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from budbreak.recipes import make_recipe
from budbreak.results import ArmResult, LevelResult, RunResult, is_ap, subject

BASE: dict[str, Any] = {"data": {"name": "digits"}, "network": {"name": "mlp"}, "train": {"epochs": 1}}
RECIPES = Path(__file__).parents[2] / "recipes"


def run_of(arms: dict[str, Any], *, seeds: int = 5, levels: int = 2, **sections: Any) -> RunResult:
    recipe = make_recipe({**BASE, **sections, "arms": arms})
    plain = {"arms": {arm.name: arm.setup.plain() for arm in recipe.arms}}
    results = tuple(ArmResult(arm.name, arm.reference, arm.overrides) for arm in recipe.arms)
    rows = tuple(level(arm.name, seed, n) for arm in results for seed in range(seeds) for n in range(levels))
    return RunResult("mine", "0", plain, {}, results, tuple(range(seeds)), True, 1.0, (), rows, ())


def level(arm: str, seed: int, number: int) -> LevelResult:
    return LevelResult(arm, seed, number, 1, 2, 0.5, 0.5, 1, 1, 1.0, {}, {}, layers=(), curve=())


def test_the_demo_says_what_was_pruned_on_what_by_what() -> None:
    schedule = {"is": "geometric", "rate": 0.2, "levels": 12}
    run = run_of({"host": {}, "ap": {"prune.then": ["ap"]}}, prune={"schedule": schedule})
    assert subject(run) == "MLP on digits, global magnitude, 12 prunings of 20 %, 5 seeds"
    assert [is_ap(run, arm) for arm in ("host", "ap")] == [False, True]


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        ({"a": {}, "b": {"prune.criterion": "taylor"}}, "MLP on digits, global magnitude or taylor,"),
        ({"a": {}, "b": {"prune.scope": "layer"}}, "MLP on digits, global magnitude or layer-wise magnitude,"),
        ({"a": {"prune.scope": {"is": "nm", "n": 2, "of": 4}}}, "2:4 magnitude,"),
        ({"a": {"prune.granularity": "unit"}}, "global magnitude of units,"),
        ({"a": {"data.name": "fashion-mnist", "network.name": "lenet-300-100"}}, "LeNet-300-100 on Fashion-MNIST,"),
        ({"a": {"data.name": "cifar10", "network.name": "resnet-20"}}, "ResNet-20 on CIFAR-10,"),
        ({"a": {"prune.schedule": {"is": "one-shot", "sparsity": 0.9}}}, "global magnitude, 1 pruning, 1 seed"),
        ({str(n): {"prune.criterion": {"is": "random", "seed": n}} for n in range(9)}, "global random,"),
        (
            {name: {"prune.criterion": name} for name in ("magnitude", "taylor", "gradient", "random", "lamp")},
            "5 criteria",
        ),
    ],
)
def test_what_differs_between_arms_is_listed(arms: dict[str, Any], said: str) -> None:
    assert said in f"{subject(run_of(arms, seeds=1))},"


def test_a_run_without_a_recipe_is_named() -> None:
    assert subject(replace(run_of({"a": {}}), recipe={})) == "mine, 1 pruning, 5 seeds"
