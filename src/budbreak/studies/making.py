"""What a setup asks for, made: data, engine, network, plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from budbreak.data import DataSet, Images, Split, load, split
from budbreak.evidence import observers_of
from budbreak.iteration import AccuracyGates, EndingRule, Plan, Step, Train, criteria_of, stages_of
from budbreak.masks import conv_and_linear, excluding
from budbreak.networks import build
from budbreak.recipes import DataSection, NetworkSection, Setup
from budbreak.results import WATCHED_TOO
from budbreak.training import Engine, choose_engine


@dataclass(frozen=True)
class Data:
    """The disjoint parts, on the device of the engine, and the subsets of the training images that are looked at.

    Args:
        measured: for the diagnostics; ``criterion``: for criteria that look at data.
    """

    parts: Split
    measured: Images
    criterion: Images


def load_data(section: DataSection, data_dir: Path | None) -> tuple[DataSet, Split]:
    """The data set and the disjoint parts that are used of it."""
    dataset = load(section.name, data_dir)
    if section.scale == "unit":
        dataset = dataset.unscaled()
    parts = split(dataset, section.validation or None)
    if section.limit:
        parts = replace(parts, train=parts.train.first(section.limit))
    return dataset, parts


def make_network(section: NetworkSection, dataset: Any, seed: int) -> nn.Module:
    """A fresh network; ``dataset`` gives shape and classes."""
    return build(section.name, dataset, init=section.initialisation, seed=seed)


def pick_engine(setup: Setup, model: nn.Module, threads: int | None) -> Engine:
    """The engine for the setup's precision."""
    return choose_engine(model, precision=setup.train.precision, threads=threads)


def prepare_data(setup: Setup, parts: Split, engine: Engine) -> Data:
    """The parts on the engine's device; probes look at training images only."""
    train = parts.train.to(engine.device)
    placed = Split(train, parts.validation.to(engine.device), parts.test.to(engine.device))
    measured, criterion = setup.measure.images or len(train), setup.prune.images or len(train)
    return Data(placed, train.first(measured), train.first(criterion))


def make_plan(setup: Setup, *, seed: int, steps: int) -> Plan:
    """The plan of an arm under a seed; ``steps`` are the optimizer steps of an epoch."""
    prune = setup.prune
    rewinds: dict[str, Any] = {
        "weights": Step.of_epochs(prune.rewind_epoch, steps_per_epoch=steps),
        "learning-rate": "learning-rate",
        "none": None,
    }
    return Plan(
        criterion=_replicated(prune.criterion, seed),
        schedule=prune.schedule,
        scope=prune.scope,
        allocation=prune.allocation if prune.scope.divides else None,
        floor=prune.floor,
        granularity=prune.granularity,
        prunable=excluding(*prune.exclude) if prune.exclude else conv_and_linear,
        spare=prune.spare,
        then=tuple(_replicated(follow_up, seed) for follow_up in prune.then),
        rewind_to=rewinds[prune.rewind],
        allow_collapse=prune.allow_collapse,
        train_dense=prune.train_dense,
        rounds=prune.rounds or None,
        connect=prune.connect,
    )


def _replicated(value: Any, seed: int) -> Any:
    """A criterion or follow-up for this seed: one that draws has a method ``replicate(seed)``; see `Criterion`."""
    replicate = getattr(value, "replicate", None)
    return value if replicate is None else replicate(seed)


def until_of(setup: Setup, level: int) -> EndingRule | None:
    """What may end the trainings of a level early."""
    return None if level > 0 and setup.prune.steps else setup.train.until


def until_retrained(setup: Setup) -> EndingRule | None:
    """What may end a retraining early: of accuracy gates, the final accuracy and the early stop are left."""
    until = setup.train.until
    return replace(until, prunings=0) if isinstance(until, AccuracyGates) else until


def weighing_numbers(setup: Setup) -> list[str]:
    """The numbers of an epoch by which criteria weigh what they count in the next one."""
    criteria = criteria_of(setup.prune.criterion, setup.prune.then)
    observers = [one for criterion in criteria for one in observers_of(criterion.needs)]
    weighted = [one for one in observers if getattr(one, "increment", "") == "accuracy-weighted"]
    return [str(getattr(one, "accuracy", "")) for one in weighted]


def watched_numbers(setup: Setup) -> tuple[str, ...]:
    """The numbers of an epoch that a rule or a criterion looks at, beside those that each training has."""
    reads = () if setup.train.until is None else setup.train.until.reads
    reads = (*reads, *weighing_numbers(setup))
    return tuple(quantity.name for quantity in WATCHED_TOO if quantity.name in reads)


def epochs_of(setup: Setup, level: int) -> int:
    """How many epochs a training has, at most: one of some steps, or all of the recipe's.

    A training that starts from the rewind epoch is shorter by what lies before it.
    """
    if level > 0 and setup.prune.steps:
        return 1
    return setup.train.epochs - (setup.prune.rewind_epoch if level > 0 else 0)


def epochs_before(setup: Setup, level: int) -> int:
    """How many epochs all trainings before a level take, the dense one included if there is one; at most.

    Where a rule counts all trainings together, either of the dense one and the others may take all.
    """
    if level == 0:
        return 0
    if setup.train.until is not None and setup.train.until.together and not setup.prune.steps:
        return setup.train.epochs * (int(setup.prune.train_dense) + int(level > setup.prune.schedule.levels > 0))
    trainings = 1 + sum(isinstance(stage, Train) for stage in stages_of(setup.prune.then))
    dense = epochs_of(setup, 0) if setup.prune.train_dense else 0
    return dense + (level - 1) * trainings * epochs_of(setup, 1)


def epochs_in_all(setup: Setup) -> int:
    """How many epochs all trainings take, retrainings included; at most."""
    return epochs_before(setup, setup.prune.schedule.levels + 1) + len(setup.retrain.ways) * setup.train.epochs


def epochs_pruning(setup: Setup) -> int:
    """How many epochs all trainings but the last one take, at most."""
    together = setup.train.until is not None and setup.train.until.together and not setup.prune.steps
    return epochs_in_all(setup) - (0 if together else epochs_of(setup, setup.prune.schedule.levels))


def epochs_searching(setup: Setup) -> int:
    """How many epochs trials and finalists of all searches take, at most."""
    searches = [section for section in (setup.activations, setup.tune) if section.searches]
    return sum(one.trials * one.epochs + min(one.finalists, one.trials) * setup.epochs_last for one in searches)


def epochs_levels(setup: Setup) -> int:
    """How many epochs follow the dense training, those of searches and of a last training apart from it included."""
    whole = epochs_pruning(setup) + setup.epochs_last if setup.ends_apart else epochs_in_all(setup)
    return whole - epochs_before(setup, 1) + epochs_searching(setup)
