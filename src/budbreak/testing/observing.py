"""The contract of observers."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from budbreak.errors import ContractBroken, MissingEvidence
from budbreak.evidence import Observer, States, Watch
from budbreak.files import as_stored
from budbreak.masks import prunable_parameters
from budbreak.processes import Processes
from budbreak.testing.promises import alike, check_value, require
from budbreak.testing.toys import residual_cnn


def check_observer(observer: Observer[object]) -> None:
    """Check the contract of `budbreak.evidence.Observer`.

    Besides `check_value`: its ``reset`` is "level" or "never"; an empty state is `MissingEvidence`; it sees the same in
    the same training, also if its state is stored in the middle; and the training is the same as without it.

    Raises:
        ContractBroken: with the promise that is not kept.
    """
    check_value(observer)
    kind = type(observer).__name__
    require(observer.reset in ("level", "never"), kind, f'has reset "level" or "never", not {observer.reset!r}')
    _check_empty(observer, kind)
    seen, trained = _watch(observer, stored=False)
    again, _ = _watch(observer, stored=False)
    gone_on, _ = _watch(observer, stored=True)
    require(alike(seen, again), kind, "sees the same again", "keep nothing but its state")
    require(alike(seen, gone_on), kind, "goes on from a stored state", "keep all that it knows in its state")
    require(alike(trained, _watch(None, stored=False)[1]), kind, "leaves the training as it was", "only read")


def _check_empty(observer: Observer[object], kind: str) -> None:
    try:
        observer.result({}, ranks=1)
    except MissingEvidence:
        return
    except Exception as error:
        rule = "it must raise MissingEvidence for an empty state"
        raise ContractBroken(f"{kind} that has seen nothing fails by {error!r}", rule, "look before") from error
    raise ContractBroken(f"{kind} that has seen nothing has a result", "it must raise MissingEvidence", "look before")


def _watch(observer: Observer[object] | None, *, stored: bool) -> tuple[object, dict[str, Tensor]]:
    """What it sees in four steps of a small network, and the network then; ``stored``: by two watches in turn."""
    model = residual_cnn()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    observers = [] if observer is None else [observer]
    seen: object = None
    states: States = {}
    for steps in (range(2), range(2, 4)) if stored else (range(4),):
        watching = Watch(model, prunable_parameters(model), observers, is_on=lambda: True, recorded=lambda name: 0.5)
        with watching as watch:
            watch.begin()
            if states:
                watch.load(states)
            for step in steps:
                _train(model, optimizer, watch, step)
            states = cast(States, as_stored(cast(Any, watch.states())))
            seen = None if observer is None else copy.deepcopy(watch.result(observer, Processes()))
    return seen, {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _train(model: nn.Module, optimizer: torch.optim.Optimizer, watch: Watch, step: int) -> None:
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(step))
    optimizer.zero_grad()
    functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 0])).backward()
    watch.step(optimizer, has_closure=False)
    optimizer.step()
