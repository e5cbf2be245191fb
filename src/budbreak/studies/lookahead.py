"""Everything that can be known, and can fail, before the first epoch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from budbreak.checks import check_count
from budbreak.data import DataSet, Split
from budbreak.errors import InvalidValue, NoSites
from budbreak.foreign import call_foreign
from budbreak.iteration import Plan, Preview
from budbreak.live import dead_neurons
from budbreak.networks import build
from budbreak.studies.making import (
    epochs_before,
    learning_rate_factor,
    load_data,
    make_optimizer,
    make_plan,
    pick_engine,
)
from budbreak.studies.recipe import Recipe
from budbreak.training import Engine, steps_per_epoch, train_step

_TRIED = 8  # images in the batch that is tried: more show nothing more


@dataclass(frozen=True)
class Overview:
    """What a run is about to do: said in the log, and checked before anything is trained.

    Args:
        folder: of the run.
        engine: how it computes.
        preview: of the first arm.
        jobs, workers, epochs: in all; at a time; of all jobs together.
        parts: training, validation and test images.
        unseen: what the dead neuron rates leave out, or why there are none; empty if they are whole.
    """

    folder: Path
    engine: str
    preview: Preview
    jobs: int
    workers: int
    epochs: int
    parts: tuple[int, int, int]
    unseen: str

    def __str__(self) -> str:
        """A few lines."""
        train, validation, test = self.parts
        return "\n".join(
            line
            for line in (
                str(self.preview),
                f"{self.jobs} jobs (arms x seeds), {self.workers} at a time, {self.epochs} epochs in all",
                f"{train} training, {validation} validation, {test} test images",
                self.engine,
                self.unseen,
                f"run: {self.folder}",
            )
            if line
        )


def look_ahead(recipe: Recipe, *, data_dir: Path | None, out: Path, workers: int | None = None) -> Overview:
    """Load the data, build the network, train it on one batch and count: whatever can fail before the first epoch.

    Raises:
        BudbreakError: for whatever is wrong with recipe, data, network or plan.
    """
    dataset, parts = load_data(recipe, data_dir)
    _check_amounts(recipe, dataset, parts)
    model = build(recipe.network, dataset, init=recipe.init, seed=0)
    _check_repeatable(recipe, model, build(recipe.network, dataset, init=recipe.init, seed=0))
    jobs = len(recipe.arms) * recipe.seeds
    count, threads = share_cores(jobs, workers)
    engine = pick_engine(recipe, model, threads)
    steps = steps_per_epoch(len(parts.train), recipe.batch_size)
    _check_learning_rate(recipe, steps)
    with torch.random.fork_rng(devices=[]):
        unseen = _try_out(recipe, model, engine, parts, dataset.classes)
    plans = [make_plan(recipe, arm, seed=0, steps=steps) for arm in recipe.arms]
    return Overview(
        folder=out / recipe.folder_name,
        engine=engine.describe(),
        preview=_preview(plans, model, engine.place(parts.test.normalised(parts.test.images[:1]))),
        jobs=jobs,
        workers=count,
        epochs=recipe.seeds * sum(epochs_before(recipe, plan, plan.levels + 1) for plan in plans),
        parts=(len(parts.train), len(parts.validation), len(parts.test)),
        unseen=unseen,
    )


def share_cores(jobs: int, workers: int | None) -> tuple[int, int]:
    """(processes, threads of each): a core each if there is more than one job, all cores for a single one."""
    if workers is not None:
        check_count("workers", workers)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if jobs == 1:
        return 1, cores
    return min(workers or cores, jobs), 1


def _preview(plans: Sequence[Plan], model: nn.Module, example: Tensor) -> Preview:
    """All are made, though only the host's is shown: each refuses counts that cannot work."""
    rule = "a network takes a single image in evaluation"
    previews = [
        call_foreign("evaluating the network", lambda plan=plan: plan.preview(model, example=example), rule=rule)
        for plan in plans
    ]
    return previews[0]


def _check_repeatable(recipe: Recipe, one: nn.Module, other: nn.Module) -> None:
    """Paired arms begin with the same weights, and a killed run goes on with them."""
    first, second = one.state_dict(), other.state_dict()
    if first.keys() != second.keys() or not all(torch.equal(first[name], second[name]) for name in first):
        raise InvalidValue(
            f"{recipe.network} gave two different networks for one seed",
            "a factory draws its weights from torch's generator, which is seeded before each call",
            "draw them by torch alone, without a seed of your own that changes",
        )


def _check_amounts(recipe: Recipe, dataset: DataSet, parts: Split) -> None:
    """Refuse numbers of images beyond what there is: they would be cut down without a word."""
    all_images = len(dataset.train_labels) - len(parts.validation)
    if recipe.train_limit > all_images:
        raise InvalidValue(
            f"train_limit is {recipe.train_limit}",
            f"{recipe.dataset} has {all_images} training images beside the validation images",
            "choose a smaller one, or 0 for all",
        )
    if recipe.batch_size > len(parts.train):
        raise InvalidValue(
            f"batch_size is {recipe.batch_size}",
            f"there are {len(parts.train)} training images",
            "choose a smaller one",
        )


def _check_learning_rate(recipe: Recipe, steps: int) -> None:
    """Refuse milestones and a warm-up that fall between two steps, so that they change nothing."""
    total = recipe.epochs * steps
    for milestone in recipe.milestones:
        if not 0 < round(milestone * steps) < total:
            raise InvalidValue(
                f"the milestone {milestone:g} falls on step {round(milestone * steps)} of {total}",
                "a drop comes after the first step and before the last",
                "move it, or take it out",
            )
    if recipe.warmup and learning_rate_factor(recipe, steps)(0) == 1:
        raise InvalidValue(
            f"warmup is {recipe.warmup:g} epochs, of {steps} steps each", "it lasts two steps or more", "take it out"
        )


def _try_out(recipe: Recipe, model: nn.Module, engine: Engine, parts: Split, classes: int) -> str:
    """Train a throw-away network on one batch, as small as the last of an epoch; why DNR cannot be had, if so."""
    engine.prepare(model)
    smallest = len(parts.train) % recipe.batch_size or recipe.batch_size
    images = parts.train.first(min(smallest, _TRIED)).to(engine.device)
    inputs, labels = engine.place(images.normalised(images.images)), images.labels
    shape = f"a batch of shape {list(inputs.shape)}"
    what, rule = f"{recipe.network} on {shape}", f"a network takes {shape} of {recipe.dataset} in training"
    outputs = call_foreign(what, lambda: model.train()(inputs), rule=rule, fix="change the network, or the data set")
    _check_outputs(recipe, outputs, (len(labels), classes))
    unseen = _unseen(recipe, model, inputs, labels)
    optimizer = make_optimizer(recipe, model)
    call_foreign(
        f"a training step of {recipe.network}",
        lambda: train_step(model, optimizer, inputs, labels, engine),
        rule="a network can be trained by gradients",
    )
    return unseen


def _unseen(recipe: Recipe, model: nn.Module, inputs: Tensor, labels: Tensor) -> str:
    """What the dead neuron rates leave out, or why there are none; empty if they are whole."""
    try:
        dead = call_foreign(
            f"evaluating {recipe.network}",
            lambda: dead_neurons(model, [(inputs, labels)]),
            rule="a network takes the same images in evaluation as in training",
        )
    except NoSites as error:
        return f"no dead neuron rate: {error.value}; {error.rule}"
    return "\n".join(f"dead neuron rates: {remark}" for remark in dead.remarks)


def _check_outputs(recipe: Recipe, outputs: object, wanted: tuple[int, int]) -> None:
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else None
    if shape != wanted:
        shown = f"a tensor of shape {list(shape)}" if shape is not None else f"a {type(outputs).__name__}"
        raise InvalidValue(
            f"{recipe.network} gave {shown}",
            f"{recipe.dataset} has {wanted[1]} classes: for {wanted[0]} images a network gives {list(wanted)}",
            f"end it with a layer of {wanted[1]} outputs; a factory is given classes and shape",
        )
