"""What every task works with: data, a fresh network, and the engine that computes it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

from budbreak.iteration import Plan
from budbreak.recipes import Setup
from budbreak.studies.making import Data, load_data, make_network, make_plan, pick_engine, prepare_data
from budbreak.studies.task import Task
from budbreak.training import Engine, RateScheduler, steps_per_epoch

_EXAMPLE = 8  # images


@dataclass(frozen=True)
class Bench:
    """Data, a fresh network, and the engine that computes it; the network is prepared for the engine."""

    model: nn.Module
    engine: Engine
    data: Data

    @classmethod
    def of(cls, task: Task) -> Bench:
        """That of a task, of its setup and its seed."""
        setup = task.setup
        dataset, parts = load_data(setup.data, task.place.data_dir)
        model = make_network(setup.network, dataset, task.seed)
        engine = pick_engine(setup, model, task.place.threads)
        engine.prepare(model)
        return cls(model, engine, prepare_data(setup, parts, engine))

    @property
    def example(self) -> Tensor:
        """Some training images, as the network takes them."""
        images = self.data.parts.train.first(_EXAMPLE)
        return self.engine.place(images.normalised(images.images))

    def equipment(self, model: nn.Module, setup: Setup) -> tuple[Optimizer, RateScheduler]:
        """What trains a network by ``[train]``."""
        train = setup.train
        optimizer = train.optimizer.build(model)
        return optimizer, train.schedule.attach(optimizer, steps_per_epoch=self.steps(setup), epochs=train.epochs)

    def plan(self, setup: Setup, seed: int) -> Plan:
        """What prunes it."""
        return make_plan(setup, seed=seed, steps=self.steps(setup))

    def steps(self, setup: Setup) -> int:
        """Of the optimizer, in an epoch."""
        return steps_per_epoch(len(self.data.parts.train), setup.train.batch_size)
