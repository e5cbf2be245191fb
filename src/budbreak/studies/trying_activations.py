"""Try the activations of a recipe on one batch: those that cannot be put in, or trained, are refused at once."""

from __future__ import annotations

import torch

from budbreak.data import DataSet, Split
from budbreak.errors import InvalidValue
from budbreak.foreign import call_foreign
from budbreak.live import replace_activations
from budbreak.search import History
from budbreak.studies.making import make_network, pick_engine
from budbreak.studies.searching import space_of
from budbreak.studies.sections import Setup
from budbreak.training import train_step

_TRIED = 8  # images


def try_activations(setup: Setup, dataset: DataSet, parts: Split, *, threads: int | None) -> None:
    """Put each activation that a site may have into a throw-away network, and train it on one batch.

    Raises:
        NoSites: if the network calls no activation.
        InvalidValue: where one cannot be put in, or the sampler proposes nothing.
    """
    model, asked = make_network(setup.network, dataset, 0), setup.activations
    engine = pick_engine(setup, model, threads)
    engine.prepare(model)
    images = parts.train.first(_TRIED).to(engine.device)
    inputs = engine.place(images.normalised(images.images))
    space = space_of(setup, model, inputs)
    with torch.random.fork_rng(devices=[]):
        for place in range(max(space.lengths)):
            plan = space.plan(tuple(min(place, length - 1) for length in space.lengths))
            plan = plan.trained(True, per=asked.per) if asked.trainable else plan
            replaced = replace_activations(model, plan, example=inputs)
            engine.prepare(replaced)
            train_step(replaced, setup.train.optimizer.build(replaced), inputs, images.labels, engine)
    if asked.space is None:
        return
    rule = "a sampler proposes a candidate of its space at first"
    first = call_foreign(
        f"proposing by {asked.sampler}", lambda: asked.sampler.propose(space, History(), 0, 0), rule=rule
    )
    if first not in space.candidates:
        raise InvalidValue(f"{asked.sampler} proposed {first!r}", rule, "mend the class")
