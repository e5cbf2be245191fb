"""search-trials: a trial of a search for activations, and from it the whole search of SAFS on LeNet-5."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.findings import Findings, Goal, Table, table
from benchmarks.peers import per_sample_loader, plain_accuracy, tensor_loader
from benchmarks.settings import Settings
from benchmarks.work import MNIST, images
from budbreak.data import Images, Split, find
from budbreak.live import check_zeros, prune, replace_activations
from budbreak.masks import Layer, Mask
from budbreak.measuring import Contender, Timing
from budbreak.networks import build
from budbreak.recipes import Setup, load_recipe
from budbreak.results import Notes
from budbreak.search import History, Lagging, LateAcceptance, SearchSpace, Trial, drawn
from budbreak.studies import Bench, Trainer, prepare_data, train_once
from budbreak.training import evaluate, train_epoch
from reproductions.searching import TRIALS, epochs_saved, read_all

OURS, EPOCHS = "budbreak, as a task", "of it the epochs"
TRANSFORMS, TENSORS = "DataLoader, per-sample transforms", "DataLoader(TensorDataset)"
CHEAPER = "budbreak: known ones not trained, laggards stopped, 2 processes"
RULE = Lagging()
_RECIPE = Path(__file__).parents[1] / "recipes" / "mnist-lenet5-safs.toml"
_FOUND = Path(__file__).parents[1] / "reproductions" / "cells" / TRIALS
_SPARSITY, _BATCH, _SEED = 0.97, 256, 0
_TRIALS, _TUNINGS, _PROCESSES = 22, 20, 2  # the paper's; one process a core
_SEARCHES = 100  # that count how many candidates come twice


@dataclass(frozen=True)
class SearchTrials:
    """One trial of LeNet-5 as a task computes it, beside the loop that a user would write."""

    name = "search-trials"
    about = "A trial of a search for activations: LeNet-5, 97 % pruned, batch 256, Adam, images shaped as MNIST."

    def __call__(self, settings: Settings) -> Findings:
        """See `Benchmark`."""
        count, epochs = settings.pick((300, 1), (5_000, 1), (10_000, 2))
        with tempfile.TemporaryDirectory() as folder:
            work = _Work(settings, images(count, MNIST), images(count // 5, MNIST, seed=1), epochs, Path(folder))
            peers: Mapping[str, Callable[..., Any]] = {TRANSFORMS: per_sample_loader, TENSORS: tensor_loader}
            contenders = [Contender(OURS, work.task), Contender(EPOCHS, work.epochs_alone)]
            contenders += [Contender(name, work.plain(loader)) for name, loader in peers.items()]
            timings = settings.meter(full=5)(contenders)
        trial = table(f"a trial: epochs: {epochs}, {count:,} images, {count // 5:,} held out", OURS, timings)
        found = read_all(_FOUND)
        saved, distinct = epochs_saved(found[: settings.pick(1, None, None)], RULE), _distinct(work.space)
        whole = _whole(timings, saved, distinct)
        goals = tuple(
            Goal(f"the whole search at least 4x faster in wall time than one trial after another: {name}",
                 whole.row(name).ratio, 4.0)
            for name in peers
        )  # fmt: skip
        return Findings((trial, whole), goals, ("In both loops every pruned weight ends exactly zero.",),
                        _remarks(saved, distinct))  # fmt: skip


@dataclass(frozen=True)
class _Shape:
    """What `build` wants to know of a data set."""

    shape: tuple[int, int, int]
    classes: int


class _Work:
    """The pruned network with a candidate's activations, and the ways to train it."""

    def __init__(self, settings: Settings, train: Images, validation: Images, epochs: int, folder: Path) -> None:
        setup = load_recipe(_RECIPE).arms[0].setup
        entry, self._folder = find(setup.data.name), folder
        model = build(setup.network.name, _Shape(entry.shape, entry.classes), init="own", seed=_SEED)
        self._mask: Mask = prune(model, sparsity=_SPARSITY, scope=Layer())
        self._engine = settings.engine(model)
        self._engine.prepare(model)
        fields = {"train": setup.train.model_copy(update={"epochs": epochs}),
                  "measure": setup.measure.model_copy(update={"diagnostics": ()})}  # fmt: skip
        self._setup: Setup = setup.model_copy(update=fields)
        parts = Split(train, validation, validation)
        self._bench = Bench(model, self._engine, prepare_data(self._setup, parts, self._engine))
        self.space = SearchSpace.of(model, "paper", example=self._bench.example)
        self._plan = self.space.plan(drawn(self.space, random.Random(_SEED)))
        self._epochs, self._device = epochs, settings.device

    def task(self) -> None:
        """The trial as a task: put the activations in, train, measure, keep all that a kill must not lose."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        bench, setup = self._bench, self._setup
        trainer = Trainer(
            setup, _SEED, self._model(), self._engine, bench.data, bench.plan(setup, _SEED), Notes(folder, "trial"),
            lambda: None, lambda level: None, tested=False,
        )  # fmt: skip
        train_once(trainer, bench, setup, self._mask, folder, also={"task": "trial"})
        check_zeros(trainer.model, self._mask)
        shutil.rmtree(folder)

    def epochs_alone(self) -> None:
        """What the task computes, without all that is around it; the mask is not held."""
        bench = self._bench
        optimizer, rates = bench.equipment(model := self._model(), self._setup)
        for _ in range(self._epochs):
            train_epoch(
                model, optimizer, bench.data.parts.train,
                engine=self._engine, batch_size=_BATCH, after_step=rates.after_step,
            )  # fmt: skip
            evaluate(model, bench.data.parts.validation, engine=self._engine)

    def plain(self, loader: Callable[..., Iterable[Sequence[Tensor]]]) -> Callable[[], None]:
        """The same trial as a user would write it: float32, the mask multiplied in after each step."""
        parts = self._bench.data.parts
        train, held_out = loader(parts.train, _BATCH), loader(parts.validation, _BATCH)
        masks = {name: mask.float() for name, mask in self._mask.items()}

        def trial() -> None:
            model = self._model().to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
            optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=5e-4)
            for _ in range(self._epochs):
                _train_masked(model, optimizer, train, masks)
                plain_accuracy(model, held_out, self._device)
            check_zeros(model, self._mask)

        return trial

    def _model(self) -> nn.Module:
        return replace_activations(self._bench.model, self._plan, example=self._bench.example)


def _train_masked(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Sequence[Tensor]],
    masks: Mapping[str, Tensor],
) -> None:
    model.train()
    weights = {name: weight for name, weight in model.named_parameters() if name in masks}
    for inputs, labels in batches:
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        with torch.no_grad():
            for name, weight in weights.items():
                weight.mul_(masks[name])


def _distinct(space: SearchSpace) -> float:
    """Of the candidates that late acceptance proposes, the share that was not tried before: the mean of some searches.

    The scores are drawn, one for each candidate.
    """
    return sum(_distinct_in(space, seed) for seed in range(_SEARCHES)) / _SEARCHES


def _distinct_in(space: SearchSpace, seed: int) -> float:
    history = History()
    for number in range(_TRIALS):
        candidate = LateAcceptance().propose(space, history, seed, number)
        if candidate is None:
            break
        score = random.Random(f"{seed} {candidate}").uniform(0.3, 0.9)
        history = history.then(Trial(candidate=candidate, score=score, seconds=0.0))
    return len({trial.candidate for trial in history}) / len(history)


def _whole(timings: Mapping[str, Timing], saved: float, distinct: float) -> Table:
    """The whole search, computed from the trial: no row of it was run."""
    trained = (_TRIALS * distinct + _TUNINGS) / (_TRIALS + _TUNINGS)
    ours, epochs = timings[OURS], timings[EPOCHS]
    around = [max(0.0, whole - part) for whole, part in zip(ours.seconds, epochs.seconds, strict=False)]
    cheaper = tuple(
        trained * ((1 - saved) * part + rest) / _PROCESSES for part, rest in zip(epochs.seconds, around, strict=False)
    )
    rows = {CHEAPER: replace(ours, seconds=cheaper), OURS: ours}
    rows |= {name: timings[name] for name in (TRANSFORMS, TENSORS)}
    trials = _TRIALS + _TUNINGS
    scaled = {
        name: replace(timing, seconds=tuple(trials * one for one in timing.seconds)) for name, timing in rows.items()
    }
    return table(f"{_TRIALS} + {_TUNINGS} such trials, computed", CHEAPER, scaled)


def _remarks(saved: float, distinct: float) -> tuple[str, ...]:
    return (
        f"Measured: the first table. Computed from it: the second, {_TRIALS} trials of stage 1 and {_TUNINGS} of stage "
        f"2. Of the former {distinct:.0%} have a new candidate (late acceptance, drawn scores, {_SEARCHES} searches); "
        f'`stop = "lagging"` saves {saved:.0%} of the epochs (random candidates: docs/reproduction/search.md; for '
        f"stage 2 taken over, not measured); {_PROCESSES} processes on {_PROCESSES} cores take half the time.",
        "Equal epochs in all rows of the first table. What surrounds them is the same whatever their length, and so "
        "counts more here than in trials of 10 epochs and 50,000 images. Not in it: that each process starts once, and "
        "that each trial reads the data set, 0.2 to 0.3 s of MNIST.",
        "Peers: torch's own Adam, float32, every weight multiplied by its mask after each step, the accuracy on "
        "held-out images after each epoch.",
    )
