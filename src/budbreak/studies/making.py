"""What a recipe asks for, made: data, engine, plan, optimizer, learning rate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from torch import nn
from torch.optim import SGD

from budbreak import criteria, schedules
from budbreak.data import DataSet, Images, Split, load, split
from budbreak.iteration import Plan, Step
from budbreak.masks import conv_and_linear, excluding
from budbreak.studies.arms import ARMS
from budbreak.studies.names import by_name
from budbreak.studies.recipe import Recipe
from budbreak.training import Engine, Precision, choose_engine, make_sgd


@dataclass(frozen=True)
class Data:
    """The disjoint parts, on the device of the engine, and the subsets that probes see."""

    parts: Split
    train: Images
    dnr: Images
    probe: Images


def load_data(recipe: Recipe, data_dir: Path | None) -> tuple[DataSet, Split]:
    """The recipe's data set and the disjoint parts that it uses of it."""
    dataset = load(recipe.dataset, data_dir)
    parts = split(dataset, recipe.validation or None)
    if recipe.train_limit:
        parts = replace(parts, train=parts.train.first(recipe.train_limit))
    return dataset, parts


def pick_engine(recipe: Recipe, model: nn.Module, threads: int | None) -> Engine:
    """The engine for the recipe's precision; the recipe has checked that it is one of the engine's."""
    return choose_engine(model, precision=cast(Precision, recipe.precision), threads=threads)


def prepare_data(recipe: Recipe, parts: Split, engine: Engine) -> Data:
    """The subsets that a job uses, on its device; probes look at training images only."""
    train = parts.train.to(engine.device)
    placed = Split(train, parts.validation.to(engine.device), parts.test.to(engine.device))
    dnr, probe = recipe.dnr_images or len(train), recipe.probe_images or len(train)
    return Data(placed, train, train.first(dnr), train.first(probe))


def make_plan(recipe: Recipe, arm: str, *, seed: int, steps: int) -> Plan:
    """The plan of one arm; ``steps`` are the optimizer steps of an epoch."""
    rewinds: dict[str, Any] = {
        "weights": Step.of_epochs(recipe.rewind_epoch, steps_per_epoch=steps),
        "learning-rate": "learning-rate",
        "none": None,
    }
    return Plan(
        criterion=_from_recipe(by_name(criteria.ALL)[recipe.criterion], recipe, seed),
        schedule=_from_recipe(by_name(schedules.ALL)[recipe.schedule], recipe, seed),
        scope="layer" if recipe.scope == "layer" else "global",
        prunable=excluding(*recipe.exclude) if recipe.exclude else conv_and_linear,
        then=ARMS[arm](recipe.q),
        rewind_to=rewinds[recipe.rewind],
        allow_collapse=recipe.allow_collapse,
    )


def learning_rate_factor(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Step -> factor of the learning rate: linear warm-up, then drops by gamma.

    >>> from budbreak.studies.recipe import make_recipe
    >>> recipe = make_recipe({"name": "x", "dataset": "digits", "network": "mlp", "epochs": 4, "warmup": 1.0,
    ...                       "milestones": [3.0]})
    >>> [round(learning_rate_factor(recipe, 2)(step), 3) for step in range(8)]
    [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.1]
    """
    warmup = round(recipe.warmup * steps)
    drops = [round(milestone * steps) for milestone in recipe.milestones]

    def factor(step: int) -> float:
        rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
        return rising * recipe.gamma ** sum(step >= drop for drop in drops)

    return factor


def make_optimizer(recipe: Recipe, model: nn.Module) -> SGD:
    """The recipe's SGD over all parameters."""
    return make_sgd(
        model,
        recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
    )


def epochs_of(recipe: Recipe, level: int) -> int:
    """A training that starts from the rewind epoch is shorter by what lies before it."""
    return recipe.epochs - (recipe.rewind_epoch if level > 0 else 0)


def epochs_before(recipe: Recipe, plan: Plan, level: int) -> int:
    """How many epochs all trainings before a level take."""
    return sum(plan.stages(number) * epochs_of(recipe, number) for number in range(level))


def _from_recipe(kind: type, recipe: Recipe, seed: int) -> Any:
    """An instance with the recipe's fields of the same name, others at their default; ``seed`` is the job's."""
    values = {"seed": seed, **asdict(recipe)}
    return kind(**{field.name: values[field.name] for field in fields(kind) if field.init and field.name in values})
