"""between-levels: what scoring, selecting and rewinding take of a level, in the recipes."""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn
from torch.nn import functional
from torch.optim import Optimizer

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.settings import Settings
from benchmarks.work import images
from budbreak.data import batches, find
from budbreak.iteration import Level, iterate
from budbreak.masks import Mask, conv_and_linear
from budbreak.measuring import Contender, Timing
from budbreak.networks import build
from budbreak.recipes import Setup, load_recipe
from budbreak.studies import BATCH, make_plan, measure
from budbreak.training import RateScheduler, choose_engine, evaluate, steps_per_epoch, train_epoch

RECIPES = Path(__file__).parents[1] / "recipes"
LEVEL, TRAINING = "a level: training, evaluations, diagnostics", "of it the training"
STORED = ", with its store"
_EVALUATION, _DIAGNOSTICS = "an evaluation", "diagnostics"
SIZES = {
    "digits": (1437, 360),
    "mnist": (60_000, 10_000),
    "fashion-mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "tiny-imagenet-16-120": (21_600, 6_000),
}
"""Of each data set: training images (with those that are held out) and test images."""
_ONE_OF_EACH = (
    "digits-hosts",
    "mnist-lenet300-hosts",
    "mnist-lenet5-hosts",
    "mnist-bncnn-hosts",
    "cifar10-resnet20-short",
)
_EVALUATED = 1000
_RATE = 1e-3  # small, so that no number of steps on noise diverges


@dataclass(frozen=True)
class BetweenLevels:
    """From the end of a training to the beginning of the next one, in each arm of the recipes."""

    name = "between-levels"
    about = "Scoring, selecting and rewinding, with all that is asserted and recorded, beside a level of each recipe."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        every = tuple(sorted(path.stem for path in RECIPES.glob("*.toml")))
        names = settings.pick(("digits-mlp",), _ONE_OF_EACH, every)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of weights that stay dense, say
            tables = tuple(_table(name, settings) for name in names)
        remarks = (
            "Synthetic images of the data set's shape and number. A level's time is put together: some steps (20; of "
            "ResNet-20 one) scaled to its epochs, an evaluation of up to 1,000 images scaled to all that it evaluates, "
            "and its diagnostics in full.",
            "An arm's row is one turn of the loop over levels: the end of a training (record, hashes, what is "
            "asserted), evidence from as many images as the recipe says, scores, selection, rewinding. The levels of "
            "the recipe take turns. Files are written only in the row with a store.",
        )
        return Findings(tables, tuple(map(_goal, tables)), (), remarks)


def _goal(measured: Table) -> Goal:
    """The slowest arm decides."""
    between = [row for row in measured.rows if row.name not in (LEVEL, TRAINING) and not row.name.endswith(STORED)]
    slowest = max(between, key=lambda row: row.ratio)
    aim = f"{measured.title}: a level at least 50x what lies between two (2 %), in the slowest arm ({slowest.name})"
    return Goal(aim, 1 / slowest.ratio, 50)


def _table(name: str, settings: Settings) -> Table:
    arms = load_recipe(RECIPES / f"{name}.toml").arms
    work = Work(arms[0].setup, settings)
    parts = work.parts()
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        loops = {arm.name: Loop(work, arm.setup) for arm in arms}
        loops[arms[-1].name + STORED] = Loop(work, arms[-1].setup, Path(folder))
        for loop in loops.values():
            stack.callback(loop.leave)
        turns = [Contender(arm, loop.turn, prepare=loop.train) for arm, loop in loops.items()]
        timings = settings.meter(full=7)([*(Contender(part, run) for part, (run, _) in parts.items()), *turns])
    often = {part: times for part, (_, times) in parts.items()}
    level = _together(timings, often)
    rows = {LEVEL: level, TRAINING: _together(timings, {TRAINING: often[TRAINING]})}
    return table(name, LEVEL, {**rows, **{arm: timings[arm] for arm in loops}})


def _together(timings: Mapping[str, Timing], often: Mapping[str, float]) -> Timing:
    """Some parts one after the other, each so often."""
    scaled = [[seconds * times for seconds in timings[part].seconds] for part, times in often.items()]
    seconds = tuple(map(sum, zip(*scaled, strict=False)))
    chosen = [timings[part] for part in often]
    return Timing(seconds, max(part.discarded for part in chosen), max(part.disturbed for part in chosen))


@dataclass(frozen=True)
class _Task:
    """What `build` wants to know of a data set."""

    shape: tuple[int, int, int]
    classes: int


class Work:
    """What a recipe trains, and on how much."""

    def __init__(self, setup: Setup, settings: Settings) -> None:
        self.setup, self._entry, batch = setup, find(setup.data.name), setup.train.batch_size
        everything, self.tested = SIZES[setup.data.name]
        self.held_out = setup.data.validation or self._entry.validation
        self.count = min(everything - self.held_out, setup.data.limit or everything)
        self.steps = steps_per_epoch(self.count, batch)
        self.engine = choose_engine(self._network(), precision=setup.train.precision, threads=settings.threads)
        looked_at = max(setup.prune.images or self.count, setup.measure.images or self.count, _EVALUATED)
        self.images = images(min(self.count, looked_at), self._entry.shape)
        self.few = self.images.first(batch * (1 if setup.network.name == "resnet-20" else 20))

    def begin(self) -> tuple[nn.Module, Optimizer, RateScheduler]:
        """A fresh network with what trains it."""
        model, train = self.engine.prepare(self._network()), self.setup.train
        optimizer = train.optimizer.build(model)
        for group in optimizer.param_groups:
            group["lr"] = _RATE
        return model, optimizer, train.schedule.attach(optimizer, steps_per_epoch=self.steps, epochs=train.epochs)

    def parts(self) -> dict[str, tuple[Callable[[], object], float]]:
        """What a level consists of: name -> (run it once on part of the images, how often a level does that)."""
        model, optimizer, _ = self.begin()
        train, section = self.setup.train, self.setup.measure
        held, seen = self.images.first(min(self.held_out, _EVALUATED)), self.images.first(section.images or self.count)
        mask = Mask.dense(model)
        evaluated = (train.epochs + 1) * self.held_out + self.tested
        between = [epoch for epoch in range(1, train.epochs) if section.every and epoch % section.every == 0]
        return {
            TRAINING: (
                lambda: train_epoch(
                    model, optimizer, self.few,
                    engine=self.engine, batch_size=train.batch_size, augment=self.setup.data.augment,
                ),
                train.epochs * self.count / len(self.few),
            ),
            _EVALUATION: (lambda: evaluate(model, held, engine=self.engine), evaluated / len(held)),
            _DIAGNOSTICS: (
                lambda: measure(section.diagnostics, model, seen, mask=mask, prunable=conv_and_linear),
                2.0 + len(between),
            ),
        }  # fmt: skip

    def _network(self) -> nn.Module:
        section = self.setup.network
        return build(section.name, _Task(self._entry.shape, self._entry.classes), init=section.initialisation, seed=0)


class Loop:
    """The loop over the levels of an arm, which begins again when it has come to its end."""

    def __init__(self, work: Work, setup: Setup, folder: Path | None = None) -> None:
        self._work, self._setup, self._folder = work, setup, folder
        self._open = contextlib.ExitStack()
        self._levels: Iterator[Level] = iter(())
        self._level: Level | None = None
        self._left = 0
        self._fit: Callable[[Level], None] = lambda level: None

    def train(self) -> None:
        """Let the weights of a level move."""
        if not self._left:
            self._begin()
        if self._level is not None:
            self._fit(self._level)

    def turn(self) -> None:
        """From the end of a training to the beginning of the next."""
        self._left -= 1
        self._level = next(self._levels)

    def leave(self) -> None:
        """Leave the levels."""
        self._open.close()

    def _begin(self) -> None:
        self.leave()
        work = self._work
        model, optimizer, rates = work.begin()
        plan = replace(make_plan(self._setup, seed=0, steps=work.steps), allow_collapse=True)
        looked_at = work.images.first(self._setup.prune.images or work.count)
        levels = iterate(
            model, optimizer, plan,
            batches=batches(looked_at, BATCH), loss=functional.cross_entropy, resets=[rates],
            store=None if self._folder is None else tempfile.mkdtemp(dir=self._folder),
        )  # fmt: skip
        self._levels, self._left = iter(self._open.enter_context(levels)), len(plan.trainings)
        one = work.images.first(8)

        def fit(level: Level, optimizer: Optimizer) -> None:
            for _ in level.epochs(2):
                train_epoch(model, optimizer, one, engine=work.engine, batch_size=8, after_step=rates.after_step)

        self._fit = lambda level: fit(level, optimizer)
        self._level = None
        if plan.train_dense:
            self.turn()
