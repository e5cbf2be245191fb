"""Untrained networks of given widths: sizes and latencies do not depend on what was learnt."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

import budbreak as bb
from budbreak.masks import Layer, prunable_parameters
from budbreak.networks import build
from deployments.cases import NO_GOALS, Case, Goals, Places, share_of_zeros

_EXAMPLE = 8


@dataclass(frozen=True)
class _Shape:
    """What `build` asks of a data set."""

    shape: tuple[int, int, int]
    classes: int


@dataclass(frozen=True)
class WidthStudy:
    """A network without training, of which the smallest weights, or units of the smallest weights, go.

    Args:
        name, title, goals: see `Study`.
        network: its name; shape, classes: of its data.
        units, weights: percentages that go of each layer, of its units but the network's outputs, and of its weights.
    """

    name: str
    title: str
    network: str
    shape: tuple[int, int, int]
    classes: int
    units: Sequence[int]
    weights: Sequence[int]
    goals: Goals = NO_GOALS

    @property
    def about(self) -> str:
        """What it is."""
        return (
            "Not trained: random weights, of which the smallest of each layer go, or its channels of the smallest. It "
            "has no accuracy; sizes and latencies do not depend on training."
        )

    @property
    def planned(self) -> tuple[str, ...]:
        """Its cases."""
        return (*(f"weights-{one}" for one in self.weights), *(f"units-{one}" for one in self.units))

    def cases(self, places: Places, names: tuple[str, ...]) -> Iterator[Case]:
        """See `Study`."""
        dense = build(self.network, _Shape(self.shape, self.classes), seed=0).eval()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            example = torch.randn(_EXAMPLE, *self.shape)
        for name in names:
            yield _pruned(name, dense, example)


def _pruned(name: str, dense: nn.Module, example: torch.Tensor) -> Case:
    kind, _, percent = name.rpartition("-")
    model = copy.deepcopy(dense)
    whole = bb.Unit() if kind == "units" else bb.Element()
    bb.prune(model, sparsity=int(percent) / 100, granularity=whole, scope=Layer(), criterion=bb.criteria.Magnitude())
    zeros = share_of_zeros({name: one.detach() for name, one in prunable_parameters(model).items()})
    words = {"weights": "of the single weights of each layer", "units": "of the channels of each layer"}
    return Case(name, f"{percent} % {words[kind]}", dense, model, zeros, example, None, {})
