"""What a sampler must hold to."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
import torch
from torch import nn

from budbreak.activations import GELU, Activation, ReLU, Swish, Tanh
from budbreak.graph import undisturbed
from budbreak.search import Candidate, History, Sampler, SearchSpace, Trial, TuningSpace
from budbreak.testing.promises import check_value, require

_MOST = 40  # trials of each search that is looked at
_FOUR: tuple[Activation, ...] = (ReLU(), Swish(), Tanh(), GELU())

Score = Callable[[int, Candidate], float | None]
"""(number of the trial, candidate) -> its score."""

LANDSCAPES: Mapping[str, Score] = {
    "a smooth one": lambda number, candidate: 1 / (1 + sum(one for one in candidate if isinstance(one, int | float))),
    "one in which all are equal": lambda number, candidate: 0.5,
    "one in which all trials diverge": lambda number, candidate: None,
    "one in which the first trials diverge": lambda number, candidate: None if number < 5 else 0.5,
    "one in which every other trial diverges": lambda number, candidate: None if number % 2 else 0.1 + number / 100,
    "one of scores of 0": lambda number, candidate: 0.0,
}


def check_sampler(sampler: Sampler, space: SearchSpace | None = None) -> None:
    """Check the contract of `budbreak.search.Sampler`.

    Besides `check_value`: in spaces of every form, and whatever the scores are, those of diverged trials included, it
    proposes candidates of the space, or None; the same history, seed and number give the same proposal, to another
    equal sampler in another process, too, after every trial of a search, and where trials before it still run; no
    global random generator is read or moved.

    Args:
        sampler: the value to check.
        space: to search besides those that are tried in any case.

    Raises:
        ContractBroken: with the promise that is not kept.
    """
    check_value(sampler)
    for one in (*_spaces(), *([] if space is None else [space])):
        for name, score in LANDSCAPES.items():
            _check_search(sampler, one, name, score)


def check_tuner(tuner: Sampler, space: TuningSpace | None = None) -> None:
    """Check of a sampler of settings what `check_sampler` checks of one of activations.

    Args:
        tuner: the value to check.
        space: to search besides those that are tried in any case.

    Raises:
        ContractBroken: with the promise that is not kept.
    """
    check_value(tuner)
    for one in (TuningSpace(_SETTINGS), *([] if space is None else [space])):
        for name in ("a smooth one", "one in which every other trial diverges"):
            _check_search(tuner, one, name, LANDSCAPES[name])


_SETTINGS = {
    "optimizer": {
        "choose": [
            {"is": "sgd", "learning_rate": {"low": 1e-4, "high": 0.1, "log": True}},
            {"is": "adam", "betas": [0.9, 0.99]},
        ]
    },
    "batch_size": {"low": 8, "high": 64},
    "augment": {"choose": [True, False]},
    "schedule": {"choose": ["constant", "cosine"], "when": {"optimizer": "sgd"}, "otherwise": "constant"},
}


def _spaces() -> tuple[SearchSpace, ...]:
    return (
        SearchSpace({"a": _FOUR}),
        SearchSpace(dict.fromkeys("abcd", _FOUR)),
        SearchSpace({"a": _FOUR, "b": _FOUR[:1], "c": (Tanh(), ReLU()), "d": _FOUR[2:], "e": _FOUR}),
    )


def _check_search(sampler: Sampler, space: SearchSpace | TuningSpace, name: str, score: Score) -> None:
    kind, before = type(sampler).__name__, _global_states()
    history = searched(sampler, space, score)
    require(bool(history), kind, "proposes a first candidate")
    require(_global_states() == before, kind, "draws from a generator of its own", "draw from generator(seed, number)")
    twin = cast("Sampler", pickle.loads(pickle.dumps(sampler)))
    with undisturbed(nn.Identity()):
        _seed_everything()
        for number, trial in reversed(list(enumerate(history))):  # so that nothing remembered is of any use
            again = twin.propose(space, history[:number], 0, number)
            promise = f"goes on from a history alone: in {name}, trial {number} was {trial.candidate}, and is {again}"
            require(again == trial.candidate, kind, promise, "keep nothing but what the history says")
            _check_blind(twin, space, history[: number // 2], number)


def _check_blind(sampler: Sampler, space: SearchSpace | TuningSpace, known: History, number: int) -> None:
    """Check a proposal for a trial that begins before those before it are over."""
    kind, first = type(sampler).__name__, sampler.propose(space, known, 0, number)
    inside = first is None or first in space.candidates
    require(inside, kind, f"stays in the space where trials run at a time, and proposes no {first!r}")
    again = sampler.propose(space, known, 0, number)
    require(again == first, kind, "proposes the same again where trials run at a time")


def searched(
    sampler: Sampler, space: SearchSpace | TuningSpace, score: Score, seed: int = 0, most: int = _MOST
) -> History:
    """The history of a search in which candidates have these scores; it ends with the sampler, or after ``most``.

    Raises:
        ContractBroken: if a proposal is no candidate of the space.
    """
    history = History()
    while len(history) < most:
        candidate = sampler.propose(space, history, seed, len(history))
        if candidate is None:
            break
        inside = candidate in space.candidates
        require(inside, type(sampler).__name__, f"stays in the space, and proposes tuples of int, not {candidate!r}")
        history = history.then(Trial(candidate=candidate, score=score(len(history), candidate), seconds=0.0))
    return history


def _seed_everything() -> None:
    random.seed(99)
    np.random.seed(99)
    torch.manual_seed(99)


def _global_states() -> list[object]:
    numpy_state = cast("tuple[object, ...]", np.random.get_state())
    return [random.getstate(), str(numpy_state), bytes(torch.get_rng_state().numpy())]
