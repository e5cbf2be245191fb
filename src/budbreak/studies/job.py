"""One arm under one seed: the whole iteration, from dense to the last level, with everything measured."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn
from torch.nn import functional
from torch.optim.lr_scheduler import LambdaLR

from budbreak.data import Images, batches
from budbreak.diagnostics import DeadUnits, static_units
from budbreak.errors import CorruptFile, NoSites, StoreMismatch, UncoveredWeights
from budbreak.iteration import Level, Plan, iterate
from budbreak.live import dead_neurons, refreshed_norms
from budbreak.masks import Mask, UnitLayout, output_layout, parameters_with_layers, unwrap
from budbreak.networks import build
from budbreak.studies.making import (
    Data,
    epochs_before,
    epochs_of,
    learning_rate_factor,
    load_data,
    make_optimizer,
    make_plan,
    pick_engine,
    prepare_data,
)
from budbreak.studies.notes import Notes, Origin
from budbreak.studies.recipe import Recipe
from budbreak.studies.result import EpochResult, LayerResult
from budbreak.studies.weights import save_weights
from budbreak.training import Engine, evaluate, steps_per_epoch, train_epoch

_PROBE_BATCH = 500


@dataclass(frozen=True)
class Job:
    """One arm under one seed; ``folder`` holds its store and notes."""

    recipe: Recipe
    arm: str
    seed: int
    folder: Path
    data_dir: Path | None
    threads: int | None

    @property
    def name(self) -> str:
        """The arm and the seed."""
        return f"{self.arm}-seed{self.seed}"

    @property
    def origin(self) -> Origin:
        """What the files in its folder are compared with, and its levels named after."""
        return Origin(self.recipe.identity, self.arm, self.seed, lambda level: epochs_of(self.recipe, level))


@dataclass(frozen=True)
class Event:
    """An epoch is over.

    Args:
        job: its name.
        done, total: epochs of the job, from the dense level to the last.
        level, epoch: where it stands; ``density`` of that level.
        metrics: loss, validation_accuracy and what was measured; test_accuracy at the end of a level.
    """

    job: str
    done: int
    total: int
    level: int
    epoch: int
    density: float
    metrics: Mapping[str, float]


Report = Callable[[Event], None]


def run_job(job: Job, report: Report) -> None:
    """Run what is left of a job; its folder then holds everything that was measured."""
    with warnings.catch_warnings(), _way_out(job.folder):
        warnings.simplefilter("ignore", UncoveredWeights)  # the preview has said it, once for all jobs
        _run_job(job, report)


@contextlib.contextmanager
def _way_out(folder: Path) -> Generator[None, None, None]:
    """Say with every file that cannot be used what always helps in a run, whose folder no other can replace."""
    last = f"delete the folder {folder}: this job then begins anew"
    try:
        yield
    except StoreMismatch as error:
        raise StoreMismatch(error.value, error.rule, f"restore it from a copy, or {last}") from error
    except CorruptFile as error:
        fix = error.fix if last in error.fix else f"{error.fix}; or {last}"
        raise CorruptFile(error.value, error.rule, fix) from error


def _run_job(job: Job, report: Report) -> None:
    recipe = job.recipe
    dataset, parts = load_data(recipe, job.data_dir)
    model = build(recipe.network, dataset, init=recipe.init, seed=job.seed)
    engine = pick_engine(recipe, model, job.threads)
    engine.prepare(model)
    data = prepare_data(recipe, parts, engine)
    steps = steps_per_epoch(len(data.train), recipe.batch_size)
    optimizer = make_optimizer(recipe, model)
    scheduler = LambdaLR(optimizer, learning_rate_factor(recipe, steps))
    plan = make_plan(recipe, job.arm, seed=job.seed, steps=steps)
    logging.getLogger("budbreak.iteration").setLevel(logging.ERROR)  # the display says where a job stands
    with iterate(
        model,
        optimizer,
        plan,
        batches=batches(data.probe, _PROBE_BATCH),
        loss=functional.cross_entropy,
        resets=[scheduler],
        seed=job.seed,
        store=job.folder,
        also=job.origin.about,
    ) as levels:
        trainer = _Trainer(job, model, engine, data, plan, Notes(job.folder, job.origin.identity), report)
        for level in levels:
            trainer.train(level, optimizer, scheduler)
        save_weights(job.folder, model)


@dataclass(frozen=True)
class _Trainer:
    """Trains and measures one level after the other."""

    job: Job
    model: nn.Module
    engine: Engine
    data: Data
    plan: Plan
    notes: Notes
    report: Report

    def train(self, level: Level, optimizer: Any, scheduler: LambdaLR) -> None:
        recipe = self.job.recipe
        dead: DeadUnits | None = None
        for epoch in level.epochs(epochs_of(recipe, level.number)):
            if epoch == 0:
                self._note(level, 0, None)
            self.notes.check(level.number, level.stage, epoch)
            done = train_epoch(
                self.model,
                optimizer,
                self.data.train,
                engine=self.engine,
                batch_size=recipe.batch_size,
                augment=recipe.augment,
                after_step=scheduler.step,
            )
            dead = self._note(level, epoch + 1, done.loss)
        self._finish(level, dead or self._dead(level.mask))  # resumed behind the last epoch: measured again

    def _note(self, level: Level, epoch: int, loss: float | None) -> DeadUnits | None:
        """Measure after an epoch (0: before the first), and keep it; dead units where they were counted."""
        recipe = self.job.recipe
        wanted = epoch in (0, epochs_of(recipe, level.number)) or (recipe.dnr_every and epoch % recipe.dnr_every == 0)
        dead = self._dead(level.mask, fresh=epoch == 0) if wanted else None
        result = EpochResult(
            epoch=level.stage * epochs_of(recipe, level.number) + epoch,
            loss=loss,
            validation_accuracy=self._accuracy(self.data.parts.validation),
            dnr_total=dead and dead.total,
            dnr_static=dead and dead.static,
            dnr_dynamic=dead and dead.dynamic,
        )
        self.notes.add_epoch(level.number, level.stage, epoch, result)
        if epoch:
            self._tell(level, epoch, {key: value for key, value in asdict(result).items() if value is not None})
        return dead

    def _finish(self, level: Level, dead: DeadUnits | None) -> None:
        """Measure at the end of a training; the test set is looked at here only, and decides nothing."""
        last = self.notes.last_epoch(level.number, level.stage, epochs_of(self.job.recipe, level.number))
        metrics = {
            "test_accuracy": self._accuracy(self.data.parts.test),
            "validation_accuracy": last.validation_accuracy,
            "train_loss": cast(float, last.loss),  # only epoch 0 has none
            **_rates(dead),
        }
        level.record(**metrics)
        self.notes.set_layers(level.number, layer_results(self.model, level.mask, dead))
        self._tell(level, epochs_of(self.job.recipe, level.number), metrics)

    def _dead(self, mask: Mask, *, fresh: bool = False) -> DeadUnits | None:
        """Count dead units; ``fresh``: weights changed without training, so the norms' statistics lag behind.

        None where the network shows no activations: the run goes on without, as its look-ahead said.
        """
        images = batches(self.data.dnr, _PROBE_BATCH)
        try:
            with refreshed_norms(self.model, images) if fresh else contextlib.nullcontext():
                return dead_neurons(self.model, images, mask=mask)
        except NoSites:
            return None

    def _accuracy(self, images: Images) -> float:
        return evaluate(self.model, images, engine=self.engine).accuracy

    def _tell(self, level: Level, epoch: int, metrics: Mapping[str, float]) -> None:
        before = epochs_before(self.job.recipe, self.plan, level.number) + level.stage * epochs_of(
            self.job.recipe, level.number
        )
        total = epochs_before(self.job.recipe, self.plan, self.plan.levels + 1)
        self.report(Event(self.job.name, before + epoch, total, level.number, epoch, level.density, metrics))


def _rates(dead: DeadUnits | None) -> dict[str, float]:
    if dead is None:
        return {}
    return {
        "dnr_total": dead.total,
        "dnr_static": dead.static,
        "dnr_dynamic": dead.dynamic,
        "dnr_permanent": dead.permanent,
        "dnr_alive": dead.dynamic_alive,
    }


def layer_results(model: nn.Module, mask: Mask, dead: DeadUnits | None) -> list[LayerResult]:
    """Kept weights and dead units of each prunable weight; its rows are units where nobody knows better."""
    dynamic = {site.weight: site.dynamic for site in reversed(dead.sites if dead else ()) if site.weight is not None}
    layers = {name: layer for name, layer, _ in parameters_with_layers(unwrap(model))}
    static = {name: static_units(mask[name], output_layout(layers[name], mask[name]) or UnitLayout(0)) for name in mask}
    return [
        LayerResult(
            name=name,
            kept=mask.kept_in(name),
            total=mask[name].numel(),
            units=len(static[name]),
            static_units=int(static[name].sum()),
            dynamic=dynamic.get(name),
        )
        for name in mask
    ]
