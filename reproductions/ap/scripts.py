"""The AP authors' script and its defects, trained on a recipe's data and network; each arm and seed becomes a cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from budbreak.contrib import ApScript, ScriptLevel, Trainee, follow
from budbreak.data import Split, load, split
from budbreak.executors import Failure, Task, carry_out, open_executor
from budbreak.files import digest
from budbreak.masks import Mask, prunable_parameters
from budbreak.networks import build
from budbreak.recipes import load_recipe
from budbreak.training import Engine, choose_engine, environment, evaluate, steps_per_epoch, train_epoch
from reproductions.cells import Cell, columns, write_cell

SCHEMA = 1  # a changed meaning of a switch must not take old cells for new ones: raise this then
SEEDS = 3
NONZERO, DRIFT = "nonzero_density", "bias_drift"

SCRIPTS: Mapping[str, ApScript] = {
    "host": ApScript(q=0.0),
    "ap": ApScript(),
    "host-leak": ApScript(q=0.0, keeps_momentum=True),
    "leak": ApScript(keeps_momentum=True),
    "biases": ApScript(shares_biases=True),
    "statistics": ApScript(keeps_statistics=True),
    "redraw": ApScript(redraws=True),
    "norms": ApScript(pools_norms=True),
    "twice": ApScript(counts_twice=True),
    "thresholds": ApScript(cuts_at_thresholds=True),
    "rewound-script": ApScript(
        keeps_momentum=True, shares_biases=True, keeps_statistics=True, pools_norms=True, counts_twice=True,
        cuts_at_thresholds=True,
    ),
    "whole-script": ApScript(
        keeps_momentum=True, shares_biases=True, keeps_statistics=True, redraws=True, pools_norms=True,
        counts_twice=True, cuts_at_thresholds=True,
    ),
}  # fmt: skip
REFERENCES: Mapping[str, str | None] = {
    **dict.fromkeys(SCRIPTS, "ap"), "host": None, "ap": "host", "host-leak": "host", "rewound-script": "host",
    "whole-script": "host",
}  # fmt: skip
_NORMS_ONLY = ("statistics", "norms")  # without a norm these switches have no effect


@dataclass(frozen=True)
class ScriptStudy:
    """The script on the data and network of a recipe.

    Args:
        name: of the study.
        recipe: the file whose sections are taken.
        arms: of `SCRIPTS`.
    """

    name: str
    recipe: str
    arms: tuple[str, ...]

    @property
    def planned(self) -> dict[str, str | None]:
        """Arm -> the arm that it is compared with."""
        return {arm: REFERENCES[arm] for arm in self.arms}


STUDIES = (
    ScriptStudy(
        "mnist-lenet300-script",
        "mnist-lenet300-hosts.toml",
        tuple(arm for arm in SCRIPTS if arm not in _NORMS_ONLY),
    ),
    ScriptStudy("mnist-bncnn-script", "mnist-bncnn-hosts.toml", tuple(SCRIPTS)),
)


@dataclass(frozen=True)
class Job:
    """One arm of a study under one seed: a task, whose result is the cell that it writes.

    Args:
        study: of these.
        arm: of its arms.
        seed: 0 or more.
        recipe: the file of the study's recipe.
        data_dir: where the data sets are.
        cells: the folder of the cells.
    """

    study: ScriptStudy
    arm: str
    seed: int
    recipe: Path
    data_dir: Path | None
    cells: Path

    @property
    def file(self) -> Path:
        """Of its cell."""
        return self.cells / self.study.name / f"{self.arm}-seed{self.seed}.json"

    @property
    def identity(self) -> str:
        """See `Task`; one cell is written once."""
        return str(self.file)

    @property
    def name(self) -> str:
        """See `Task`."""
        return f"{self.study.name} {self.arm} seed {self.seed}"

    @property
    def needs(self) -> Sequence[Task]:
        """See `Task`."""
        return ()


def run_scripts(jobs: Sequence[Job], *, workers: int, finished: Callable[[Job], object]) -> list[Failure]:
    """Write each cell that is not there yet, several at a time.

    Args:
        jobs: in their order.
        workers: how many at a time, >= 1.
        finished: called with each job whose cell was written.

    Returns:
        Those that failed; the others go on.
    """
    missing = [job for job in jobs if not job.file.exists()]
    if not missing:
        return []
    with open_executor("processes", workers) as opened:
        return carry_out(
            missing, _write, executor=opened.executor, workers=opened.workers, tick=lambda: None, finished=finished
        )


def _write(job: Job) -> None:
    write_cell(job.cells, compute(job))


def jobs_of(
    studies: Sequence[ScriptStudy], recipes: Path, data_dir: Path | None, cells: Path, *, seeds: int
) -> list[Job]:
    """All arms of some studies under some seeds, seed by seed."""
    every = [(seed, study, arm) for seed in range(seeds) for study in studies for arm in study.arms]
    return [Job(study, arm, seed, recipes / study.recipe, data_dir, cells) for seed, study, arm in every]


def compute(job: Job) -> Cell:
    """Train one arm under one seed."""
    lab = _Lab.of(job)
    torch.manual_seed(job.seed)
    trainee = Trainee(lab.model, lab.optimizer, lab.train, lab.fresh)
    last = lab.setup.prune.schedule.levels
    ends: list[tuple[ScriptLevel, dict[str, float], float]] = []
    before = time.perf_counter()
    for level in follow(SCRIPTS[job.arm], trainee, last):
        ends.append((level, lab.measure(level.alive), time.perf_counter() - before))
        before = time.perf_counter()
    return _cell(job, lab, ends)


@dataclass(frozen=True)
class _Lab:
    """The live objects of one training after the other."""

    setup: Any
    model: nn.Module
    engine: Engine
    data: Split
    shape: Any
    seed: int

    @classmethod
    def of(cls, job: Job) -> _Lab:
        setup = load_recipe(job.recipe).arms[0].setup
        dataset = load(setup.data.name, job.data_dir)
        parts = split(dataset, setup.data.validation or None)
        train = parts.train.first(setup.data.limit or len(parts.train))
        model = build(setup.network.name, dataset, init=setup.network.initialisation, seed=job.seed)
        engine = choose_engine(model, precision=setup.train.precision, threads=1)
        engine.prepare(model)
        return cls(setup, model, engine, replace(parts, train=train), dataset, job.seed)

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return steps_per_epoch(len(self.data.train), self.setup.train.batch_size)

    def optimizer(self) -> Optimizer:
        return self.setup.train.optimizer.build(self.model)

    def train(self, optimizer: Optimizer) -> None:
        train = self.setup.train
        rates = train.schedule.attach(optimizer, steps_per_epoch=self.steps, epochs=train.epochs)
        for _ in range(train.epochs):
            train_epoch(
                self.model, optimizer, self.data.train, engine=self.engine, batch_size=train.batch_size,
                augment=self.setup.data.augment, after_step=rates.after_step,
            )  # fmt: skip
            rates.after_epoch(evaluate(self.model, self.data.validation, engine=self.engine).accuracy)

    def fresh(self, level: int) -> dict[str, torch.Tensor]:
        """Another draw for each seed and level."""
        network, seed = self.setup.network, 1000 * (level + 1) + self.seed
        other = build(network.name, self.shape, init=network.initialisation, seed=seed)
        return {name: parameter.detach() for name, parameter in other.named_parameters()}

    def measure(self, alive: Mask) -> dict[str, float]:
        accuracy = evaluate(self.model, self.data.test, engine=self.engine).accuracy
        return {"test_accuracy": accuracy, NONZERO: _of_weights(self.model, alive) / _weights(self.model)}


def _weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in prunable_parameters(model).values())


def _of_weights(model: nn.Module, mask: Mask) -> int:
    """How many weights of linear and convolutional layers a mask keeps: without the scales of norms."""
    return sum(mask.kept_in(name) for name in prunable_parameters(model))


def _density_all(model: nn.Module, alive: Mask) -> float:
    everything = sum(parameter.numel() for parameter in model.parameters())
    return (everything - alive.total + alive.kept) / everything


def _cell(job: Job, lab: _Lab, ends: Sequence[tuple[ScriptLevel, Mapping[str, float], float]]) -> Cell:
    script, setup = asdict(SCRIPTS[job.arm]), lab.setup.plain()
    identity = digest({"schema": SCHEMA, "script": script, "setup": setup, "seed": job.seed})
    trainings = [1 if level.level == 0 else 2 for level, _, _ in ends]
    epochs = [count * lab.setup.train.epochs for count in trainings]
    return Cell(
        recipe=job.study.name,
        run=job.study.name,
        task=f"script-{identity[:16]}",
        arm=job.arm,
        reference=REFERENCES[job.arm],
        seed=job.seed,
        setup={**setup, "script": script},
        environment={**environment(), "executor": "processes"},
        total=_weights(lab.model),
        levels=tuple(level.level for level, _, _ in ends),
        kept=tuple(_of_weights(lab.model, level.mask) for level, _, _ in ends),
        density_all=tuple(round(_density_all(lab.model, level.alive), 7) for level, _, _ in ends),
        epochs=tuple(epochs),
        steps=tuple(count * lab.steps for count in epochs),
        seconds=tuple(round(seconds, 2) for _, _, seconds in ends),
        end=columns([numbers for _, numbers, _ in ends]),
        rewound=columns([{DRIFT: level.bias_drift} for level, _, _ in ends]),
        during={},
        notes=(),
    )
