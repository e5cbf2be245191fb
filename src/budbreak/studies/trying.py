"""Try a setup on one batch: whatever can fail in its training fails before the first epoch."""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from budbreak.data import DataSet, Split
from budbreak.diagnostics import DeadUnits
from budbreak.errors import InvalidValue, NoSites, NothingToPrune, UncoveredWeights
from budbreak.foreign import call_foreign
from budbreak.iteration import Plan, iterate
from budbreak.live import dead_neurons
from budbreak.masks import Mask, prunable_parameters
from budbreak.recipes import Setup
from budbreak.schedules import Dense
from budbreak.studies.making import make_network, make_plan, pick_engine
from budbreak.studies.measuring import measure
from budbreak.training import Constant, Engine, Foreseen, RateScheduler, evaluate, steps_per_epoch, train_step
from budbreak.values import naming

_TRIED = 8  # images in the batch that is tried: more show nothing more
_TIMED = 5  # calls that are timed, after a first one that warms up
_ENOUGH = 1.0  # seconds of timing, after which none is begun
_EVALUATED = 1000  # images that are looked at to time an evaluation or a measurement
_SMALL = 1e-9  # the step of a penalty that is only tried
_STORING = 0.02  # seconds: a checkpoint and the notes of an epoch of a small network
_NOTING = 0.05  # seconds: what a task leaves, and what is read of it for the run


@dataclass(frozen=True)
class Pace:
    """How fast a setup is trained.

    Args:
        epoch: seconds of one.
        task: seconds that a task takes beside its epochs.
    """

    epoch: float
    task: float

    def seconds(self, epochs: int) -> float:
        """Those of a task of so many epochs."""
        return self.task + epochs * self.epoch


def try_out(
    setup: Setup, dataset: DataSet, parts: Split, *, threads: int | None, timed: bool
) -> tuple[str, Pace | None]:
    """Train a throw-away network; what its dead neuron rates leave out, and how fast it is trained if ``timed``.

    Raises:
        BudbreakError: for whatever is wrong with the setup, the network or the amounts of data.
    """
    _check_amounts(setup, dataset, parts)
    model, again = (make_network(setup.network, dataset, 0) for _ in range(2))
    _check_repeatable(setup, model, again)
    _check_prunes(setup, model)
    engine = pick_engine(setup, model, threads)
    steps = steps_per_epoch(len(parts.train), setup.train.batch_size)
    with naming("train.schedule"):
        setup.train.schedule.check(setup.train.epochs, steps)
    _check_rate_at_end(setup, steps)
    _check_rates_of_short_trainings(setup, steps)
    with torch.random.fork_rng(devices=[]):
        unseen = _try_batch(setup, model, engine, parts, dataset.classes)
        return unseen, _pace(setup, again, engine, parts) if timed else None


def _check_prunes(setup: Setup, model: nn.Module) -> None:
    """Refuse a network without a weight to prune, with what a recipe can do about it."""
    try:
        prunable_parameters(model, make_plan(setup, seed=0, steps=1).prunable)
    except NothingToPrune as error:
        fix = "exclude fewer weights" if setup.prune.exclude else "choose a network with Linear layers or convolutions"
        raise NothingToPrune(error.value, error.rule, fix) from error


def _check_rate_at_end(setup: Setup, steps: int) -> None:
    """Without a rewind the schedule is at its end in all later levels: there the rate must not be 0."""
    schedule = setup.train.schedule
    if setup.prune.rewind != "none" or setup.prune.schedule.levels == 0 or not isinstance(schedule, Foreseen):
        return  # one that looks at more than steps cannot be asked
    last = call_foreign(
        f"{schedule}.factor",
        lambda: schedule.factor(setup.train.epochs * steps, steps_per_epoch=steps, epochs=setup.train.epochs),
        rule="a schedule of learning rates gives a factor at each step, and after the last",
    )
    if last == 0:
        raise InvalidValue(
            f"prune.rewind is 'none', and train.schedule {setup.train.schedule} ends at the rate 0",
            "without a rewind each level goes on with the rate at which the last one ended",
            'give the schedule an end over 0, or write rewind = "learning-rate"',
        )


def _check_rates_of_short_trainings(setup: Setup, steps: int) -> None:
    """After a rewind a training of some steps begins the schedule anew, and sees nothing of what comes later."""
    schedule, short = setup.train.schedule, setup.prune.steps
    if not short or setup.prune.rewind == "none" or isinstance(schedule, Constant):
        return
    raise InvalidValue(
        f"prune.steps is {short}, prune.rewind is {setup.prune.rewind!r}, and train.schedule is {schedule}",
        f"the schedule is laid over the {setup.train.epochs * steps:,} steps of [train]: after each rewind its "
        "beginning would be played again, and never its end",
        'write schedule = "constant", rewind = "none", or leave prune.steps out',
    )


def _check_repeatable(setup: Setup, model: nn.Module, again: nn.Module) -> None:
    """Paired arms begin with the same weights, and a killed task goes on with them."""
    first, second = model.state_dict(), again.state_dict()
    if first.keys() != second.keys() or not all(torch.equal(first[name], second[name]) for name in first):
        raise InvalidValue(
            f"{setup.network.name} gave two different networks for one seed",
            "a factory draws its weights from torch's generator, which is seeded before each call",
            "draw them by torch alone, without a seed of your own that changes",
        )


def _check_amounts(setup: Setup, dataset: DataSet, parts: Split) -> None:
    """Refuse numbers of images beyond what there is: they would be cut down without a word."""
    all_images = len(dataset.train_labels) - len(parts.validation)
    if setup.data.limit > all_images:
        raise InvalidValue(
            f"data.limit is {setup.data.limit}",
            f"{setup.data.name} has {all_images} training images beside the validation images",
            "choose a smaller one, or 0 for all",
        )
    if setup.train.batch_size > len(parts.train):
        raise InvalidValue(
            f"train.batch_size is {setup.train.batch_size}",
            f"there are {len(parts.train)} training images",
            "choose a smaller one",
        )


def _try_batch(setup: Setup, model: nn.Module, engine: Engine, parts: Split, classes: int) -> str:
    """Train on one batch, as small as the last of an epoch; why dead units cannot be measured, if so."""
    engine.prepare(model)
    name = setup.network.name
    smallest = len(parts.train) % setup.train.batch_size or setup.train.batch_size
    images = parts.train.first(min(smallest, _TRIED)).to(engine.device)
    inputs, labels = engine.place(images.normalised(images.images)), images.labels
    shape = f"a batch of shape {list(inputs.shape)}"
    rule = f"a network takes {shape} of {setup.data.name} in training"
    outputs = call_foreign(
        f"{name} on {shape}",
        lambda: model.train()(inputs),
        rule=rule,
        fix="change the network, or the data set",
    )
    _check_outputs(setup, outputs, (len(labels), classes))
    unseen = _unseen(setup, model, inputs, labels)
    optimizer, rates = _attached(setup, model, steps_per_epoch(len(parts.train), setup.train.batch_size))
    call_foreign(
        f"a training step of {name}",
        lambda: train_step(model, optimizer, inputs, labels, engine),
        rule="a network can be trained by gradients",
    )
    if (penalty := setup.train.penalty) is not None:
        call_foreign(
            f"a step of {penalty}",
            lambda: _shrink(setup, model),
            rule="a penalty shrinks the weights of a model that may be pruned",
        )
    call_foreign(
        f"the learning rate by {setup.train.schedule}",
        lambda: (rates.after_step(), rates.after_epoch(0.5, train_loss=1.0)),
        rule="a schedule sets the rate after each step and each epoch, as RateScheduler does",
    )
    return unseen


def _attached(setup: Setup, model: nn.Module, steps: int) -> tuple[Optimizer, RateScheduler]:
    """The optimizer, and what moves its rate."""
    train = setup.train
    optimizer = call_foreign(
        f"building {train.optimizer}",
        lambda: train.optimizer.build(model),
        rule="an optimizer's value builds one over all parameters of a model",
    )
    rates = call_foreign(
        f"attaching {train.schedule}",
        lambda: train.schedule.attach(optimizer, steps_per_epoch=steps, epochs=train.epochs),
        rule="a schedule gives a RateScheduler for an optimizer",
    )
    return optimizer, rates


def _pace(setup: Setup, model: nn.Module, engine: Engine, parts: Split) -> Pace:
    steps = steps_per_epoch(len(parts.train), setup.train.batch_size)
    beginning = _seconds(lambda: _train_nothing(setup, model, engine, steps))  # first: the other one changes weights
    return Pace(_seconds_of_epoch(setup, model, engine, parts), beginning + _NOTING)


def _train_nothing(setup: Setup, model: nn.Module, engine: Engine, steps: int) -> None:
    """What each training does before its first epoch and after its last one."""
    engine.prepare(model)
    optimizer, rates = _attached(setup, model, steps)
    plan = Plan(schedule=Dense(), prunable=make_plan(setup, seed=0, steps=1).prunable, rewind_to=None)
    with (
        warnings.catch_warnings(action="ignore", category=UncoveredWeights),  # the preview says it
        tempfile.TemporaryDirectory() as folder,
        iterate(model, optimizer, plan, resets=[rates], seed=0, store=folder) as levels,
    ):
        for _ in levels:
            pass


def _seconds_of_epoch(setup: Setup, model: nn.Module, engine: Engine, parts: Split) -> float:
    """Of training, validating, measuring and storing, each timed on a small part."""
    engine.prepare(model)
    looking = _seconds_of_looking(setup, model, engine, parts)  # first: many steps on one batch may throw weights far
    optimizer = setup.train.optimizer.build(model)
    images = parts.train.first(setup.train.batch_size).to(engine.device)
    inputs, labels = engine.place(images.normalised(images.images)), images.labels
    step = _timed(lambda: train_step(model, optimizer, inputs, labels, engine))
    step += _timed(lambda: _shrink(setup, model)) / setup.train.penalty_every
    return step * steps_per_epoch(len(parts.train), setup.train.batch_size) + looking + _STORING


def _shrink(setup: Setup, model: nn.Module) -> None:
    """A step of the penalty, if there is one, which changes next to nothing."""
    if (penalty := setup.train.penalty) is not None:
        penalty.apply(model, step=_SMALL, prunable=make_plan(setup, seed=0, steps=1).prunable)


def _seconds_of_looking(setup: Setup, model: nn.Module, engine: Engine, parts: Split) -> float:
    looked = parts.test.first(_EVALUATED).to(engine.device)
    validated = _timed(lambda: evaluate(model, looked, engine=engine)) * len(parts.validation) / len(looked)
    return validated + _seconds_of_measuring(setup, model, engine, parts)


def _seconds_of_measuring(setup: Setup, model: nn.Module, engine: Engine, parts: Split) -> float:
    """Of the diagnostics, per epoch on the average."""
    every, diagnostics = setup.measure.every, setup.measure.diagnostics
    if not (every and diagnostics):
        return 0.0
    wanted = min(setup.measure.images or len(parts.train), len(parts.train))
    images = parts.train.first(min(wanted, _EVALUATED)).to(engine.device)
    prunable = make_plan(setup, seed=0, steps=1).prunable
    mask = Mask.dense(model, prunable)
    once = _timed(lambda: measure(diagnostics, model, images, mask=mask, prunable=prunable))
    return once * wanted / len(images) / every


def _timed(call: Callable[[], object]) -> float:
    """The median of a few calls, in seconds; of fewer where they are slow, whose first one is no slower than others."""
    first = _seconds(call)
    seconds: list[float] = []
    while len(seconds) < _TIMED and first + sum(seconds) < _ENOUGH:
        seconds.append(_seconds(call))
    return statistics.median(seconds or [first])


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _unseen(setup: Setup, model: nn.Module, inputs: Tensor, labels: Tensor) -> str:
    """What the dead neuron rates leave out, or why there are none; empty if they are whole, or not measured."""
    rates = [diagnostic for diagnostic in setup.measure.diagnostics if isinstance(diagnostic, DeadUnits)]
    if not rates:
        return ""
    try:
        dead = call_foreign(
            f"evaluating {setup.network.name}",
            lambda: dead_neurons(model, [(inputs, labels)], threshold=rates[0].threshold),
            rule="a network takes the same images in evaluation as in training",
        )
    except NoSites as error:
        return f"no dead neuron rate: {error.value}; {error.rule}"
    return "\n".join(f"dead neuron rates: {remark}" for remark in dead.remarks)


def _check_outputs(setup: Setup, outputs: object, wanted: tuple[int, int]) -> None:
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else None
    if shape != wanted:
        shown = f"a tensor of shape {list(shape)}" if shape is not None else f"a {type(outputs).__name__}"
        raise InvalidValue(
            f"{setup.network.name} gave {shown}",
            f"{setup.data.name} has {wanted[1]} classes: for {wanted[0]} images a network gives {list(wanted)}",
            f"end it with a layer of {wanted[1]} outputs; a factory is given classes and shape",
        )
