"""Try what a recipe searches on one batch: what cannot be put in, or trained, is refused at once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from budbreak.data import DataSet, Images, Split
from budbreak.errors import BudbreakError, InvalidValue, NoSites
from budbreak.foreign import call_foreign
from budbreak.live import replace_activations
from budbreak.recipes import Setup
from budbreak.search import Candidate, History, Options, Range, SearchSpace, TuningSpace, drawn
from budbreak.studies.making import make_network, pick_engine
from budbreak.studies.prunednetwork import space_of
from budbreak.studies.searching import tuned_setup
from budbreak.training import Engine, steps_per_epoch, train_step
from budbreak.values import inline

_TRIED = 8  # images
_DRAWN = 20  # candidates of a space of hyper-parameters, and more until each of its options was drawn
_MOST_DRAWN = 1000


def try_searches(setup: Setup, dataset: DataSet, parts: Split, *, threads: int | None) -> None:
    """Train a throw-away network on one batch with each activation, and with some of all hyper-parameters.

    Raises:
        NoSites: if the network calls no activation that could be replaced.
        InvalidValue: where one cannot be put in, is none of ``[train]``, or the sampler proposes nothing.
    """
    model = make_network(setup.network, dataset, 0)
    engine = pick_engine(setup, model, threads)
    engine.prepare(model)
    tried = _Trying(setup, model, engine, parts.train.first(_TRIED).to(engine.device), len(parts.train))
    with torch.random.fork_rng(devices=[]):
        if setup.activations.replaced:
            tried.activations()
        if setup.tune.searches:
            tried.settings(steps_per_epoch(len(parts.train), setup.train.batch_size))


@dataclass(frozen=True)
class _Trying:
    setup: Setup
    model: nn.Module
    engine: Engine
    images: Images
    images_in_all: int

    @property
    def inputs(self) -> torch.Tensor:
        return self.engine.place(self.images.normalised(self.images.images))

    def activations(self) -> None:
        asked = self.setup.activations
        try:
            space = space_of(self.setup, self.model, self.inputs)
        except NoSites as error:
            raise NoSites(error.value, error.rule, "choose another network, or take [activations] out") from error
        for candidate in _covering(space.lengths):
            plan = space.plan(candidate)
            plan = plan.trained(True, per=asked.per) if asked.trainable else plan
            replaced = replace_activations(self.model, plan, example=self.inputs)
            self.engine.prepare(replaced)
            self._step(replaced, self.setup)
        if asked.searches:
            _check_proposal(asked.sampler, space)

    def settings(self, steps: int) -> None:
        asked, epochs = self.setup.tune, self.setup.train.epochs
        space = asked.choices(epochs)
        _check_fields(space)
        for candidate in _drawn(space):
            try:
                tuned = tuned_setup(self.setup, space, candidate)
                tuned.train.schedule.check(epochs, steps)
            except BudbreakError as error:
                value = f"tune.space gives {inline(space.settings(candidate))}: {error.value}"
                raise type(error)(value, error.rule, error.fix) from error
            optimizer = tuned.train.optimizer.build(self.model)
            tuned.train.schedule.attach(optimizer, steps_per_epoch=steps, epochs=epochs)
        _check_batches(space, self.images_in_all)
        _check_proposal(asked.sampler, space)

    def _step(self, model: nn.Module, setup: Setup) -> None:
        train_step(model, setup.train.optimizer.build(model), self.inputs, self.images.labels, self.engine)


def _covering(lengths: Sequence[int]) -> Iterator[Candidate]:
    """Candidates in which each choice is at some site: as many at a time as there are sites.

    >>> list(_covering((5, 5, 5)))
    [(0, 1, 2), (3, 4, 0)]
    """
    for first in range(0, max(lengths), len(lengths)):
        yield tuple((first + site) % length for site, length in enumerate(lengths))


def _check_proposal(sampler: Any, space: SearchSpace | TuningSpace) -> None:
    rule = "a sampler proposes a candidate of its space at first"
    first = call_foreign(f"proposing by {sampler}", lambda: sampler.propose(space, History(), 0, 0), rule=rule)
    if first not in space.candidates:
        raise InvalidValue(f"{sampler} proposed {first!r}", rule, "mend the class")


def _check_fields(space: TuningSpace) -> None:
    """Refuse what decides how long a training is: trials would not be its beginning."""
    for name in ("epochs", "until"):
        if name in space:
            rule = "trials are the beginning of the last training, and all of one length"
            raise InvalidValue(f"tune.space chooses train.{name}", rule, f"set train.{name}, or compare arms")


def _check_batches(space: TuningSpace, images: int) -> None:
    """Refuse batches of more images than there are, which would be cut down without a word."""
    domains = [one.domain for one in space.parameters if one.name == "batch_size"]
    most = [domain.high if isinstance(domain, Range) else max(domain.values) for domain in domains]
    if most and most[0] > images:
        value, rule = f"tune.space gives batch_size = {most[0]}", f"there are {images} training images"
        raise InvalidValue(value, rule, "choose a smaller one")


def _drawn(space: TuningSpace) -> Iterator[Candidate]:
    """Some candidates, among them each option once at least."""
    draw, left = random.Random(0), _options(space)
    for count in range(_MOST_DRAWN):
        if count >= _DRAWN and not left:
            return
        candidate = drawn(space, draw)
        chosen = {(name, repr(value)) for name, value in space.chosen(candidate).items()}
        if count < _DRAWN or left & chosen:
            left -= chosen
            yield candidate


def _options(space: TuningSpace) -> set[tuple[str, str]]:
    lists = [(one.name, one.domain.values) for one in space.parameters if isinstance(one.domain, Options)]
    return {(name, repr(value)) for name, values in lists for value in values}
