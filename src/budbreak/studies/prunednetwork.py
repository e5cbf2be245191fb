"""The network that was pruned, and how copies of it are trained, with whatever activations."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from budbreak.activations import ActivationPlan
from budbreak.iteration import EndingRule, Plan, iterate
from budbreak.live import replace_activations
from budbreak.masks import Mask
from budbreak.recipes import Setup
from budbreak.results import Notes
from budbreak.schedules import Dense
from budbreak.search import SearchSpace
from budbreak.studies.bench import Bench
from budbreak.studies.making import pick_engine
from budbreak.studies.prunedfile import load_pruned
from budbreak.studies.task import Task
from budbreak.studies.trainer import Tell, Trainer


def train_once(
    trainer: Trainer,
    bench: Bench,
    setup: Setup,
    mask: Mask,
    folder: Path,
    *,
    also: Mapping[str, object],
    first_epoch: int = 0,
) -> None:
    """Train a network under a mask once, by ``[train]``, in a store that survives being killed.

    Args:
        trainer: of the network.
        bench: it is prepared on.
        setup: decides the optimizer and its schedule, which may be made for more epochs than the trainer trains.
        mask: what is alive; all that is pruned stays zero.
        folder: of the store.
        also: what tells this training from others.
        first_epoch: so many epochs of ``[train]`` lie before it: the learning rate is where it is after them.
    """
    optimizer, rates = bench.equipment(trainer.model, setup)
    for _ in range(first_epoch * bench.steps(setup)):
        rates.after_step()
    with iterate(
        trainer.model,
        optimizer,
        Plan(schedule=Dense(), prunable=trainer.plan.prunable, rewind_to=None),
        resets=[rates],
        seed=trainer.seed,
        store=folder,
        also=also,
        mask=mask,
    ) as levels:
        for level in levels:
            trainer.train(level, optimizer, rates)


@dataclass(frozen=True)
class PrunedNetwork:
    """The network that was pruned, and what it is trained by."""

    task: Task
    bench: Bench
    mask: Mask

    @classmethod
    def of(cls, task: Task) -> PrunedNetwork:
        """What the first of the tasks that a task needs left."""
        bench, pruned = Bench.of(task), task.needs[0]
        return cls(task, bench, load_pruned(pruned.folder, bench.model, identity=pruned.identity))

    @functools.cached_property
    def space(self) -> SearchSpace | None:
        """What each site may have; None where the network keeps its own activations."""
        setup = self.task.setup
        return space_of(setup, self.bench.model, self.bench.example) if setup.activations.replaced else None

    def train(
        self, plan: ActivationPlan | None, setup: Setup, tell: Tell, *, epochs: int, until: EndingRule | None
    ) -> Notes:
        """Train a copy with the activations of a plan for so many epochs, the first of those of the last training."""
        trainer = self.trainer(plan, _shortened(setup, epochs), tell, until, tested=False)
        self.train_with(trainer, setup)
        return trainer.notes

    def train_with(self, trainer: Trainer, setup: Setup) -> None:
        """Train by a setup, whose learning rate goes on where the pruned weights were taken from."""
        also, first = {"task": self.task.identity}, self.task.setup.first_epoch
        train_once(trainer, self.bench, setup, self.mask, self.task.folder, also=also, first_epoch=first)

    def trainer(
        self, plan: ActivationPlan | None, setup: Setup, tell: Tell, until: EndingRule | None, *, tested: bool
    ) -> Trainer:
        """What trains a copy with the activations of a plan, in the precision of the setup."""
        task, bench, model = self.task, self.bench, self.bench.model
        if plan is not None:
            model = replace_activations(model, plan, example=bench.example)
        engine = pick_engine(setup, model, task.place.threads)
        engine.prepare(model)
        notes, of_plan = Notes(task.folder, task.identity), bench.plan(task.setup, task.seed)
        return Trainer(
            setup, task.seed, model, engine, bench.data, of_plan, notes, tell, lambda level: until, tested=tested
        )


def space_of(setup: Setup, model: nn.Module, example: Any) -> SearchSpace:
    """What each site of a network may have by ``[activations]``: one activation where nothing is searched.

    Raises:
        NoSites, InvalidValue: see `SearchSpace.of`.
    """
    asked = setup.activations
    given = () if asked.use is None else (asked.use,)
    return SearchSpace.of(model, asked.choices or given, example=example)


def _shortened(setup: Setup, epochs: int) -> Setup:
    """A setup of so many epochs, in which nothing is measured but the accuracy."""
    measure = setup.measure.model_copy(update={"diagnostics": (), "compact": False})
    shorter = of_epochs(setup, epochs)
    return shorter.model_copy(update={"train": shorter.train.model_copy(update={"until": None}), "measure": measure})


def of_epochs(setup: Setup, epochs: int) -> Setup:
    """A setup of so many epochs."""
    return setup.model_copy(update={"train": setup.train.model_copy(update={"epochs": epochs})})
