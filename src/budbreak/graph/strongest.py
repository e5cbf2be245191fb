"""The strongest path to each channel: the one with the greatest product of the weights' magnitudes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from budbreak.graph.channels import Bundle, Channels, is_table, weight_places
from budbreak.graph.node import Kind, Node
from budbreak.graph.reachability import matrix_of

Element = tuple[str, int]
"""A weight's name, and the flat index of one of its elements."""


@dataclass(frozen=True)
class Strongest:
    """What the strongest paths from the inputs of a model are made of.

    Args:
        channels: of the graph.
        steps: for each bundle of them how its channels are reached.
        strengths: float64 [channels]: of the strongest path to each; -inf where none leads there.
        known: channel -> the one before, and what lies between, as far as a path has led there: paths meet.
    """

    channels: Channels
    steps: Sequence[_Step]
    strengths: Tensor
    known: dict[int, tuple[int, list[Element]]] = field(default_factory=dict[int, tuple[int, list[Element]]])

    def path_to(self, ends: Tensor) -> list[Element] | None:
        """The elements of weights on the strongest path to one of these channels; None if there is none.

        Args:
            ends: int64, numbers of channels. Of equally strong paths the first is taken at each step, from the end.
        """
        channel = int(ends[int(self.strengths[ends].argmax())])
        if math.isinf(float(self.strengths[channel])):
            return None
        path: list[Element] = []
        while channel:
            if channel not in self.known:
                step = self.steps[int(self.channels.bundle_of(torch.tensor([channel])))]
                self.known[channel] = step.back(self.strengths, channel - step.bundle.first)
            channel, elements = self.known[channel]
            path += elements
        return path


def find_strongest(nodes: Sequence[Node], channels: Channels, logs: Mapping[str, Tensor]) -> Strongest:
    """The strongest paths to all channels, in one pass over the graph.

    Paths are those of `ModelGraph.reachable`.

    Args:
        nodes: of a graph.
        channels: of the same.
        logs: name -> the logarithm of each element's magnitude, -inf where no path may lead; a weight that is not
            among them is neutral, and open everywhere.
    """
    strengths = torch.full((channels.count,), -math.inf, dtype=torch.float64)
    steps = [_step(bundle, nodes, logs) for bundle in channels.bundles]
    for step in steps:
        made = step.bundle
        strengths[made.first : made.first + made.count] = step.forward(strengths)
    return Strongest(channels, steps, strengths)


def _step(bundle: Bundle, nodes: Sequence[Node], logs: Mapping[str, Tensor]) -> _Step:
    if bundle.is_layer:
        return _Layer(bundle, nodes, logs)
    return _Meeting(bundle, logs) if bundle.operands else _Mixture(bundle, logs)


class _Step:
    """How the channels of one bundle are reached, where nothing tells one way from another."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle, self.node = bundle, bundle.node
        self.places, self.entering = bundle.entering

    def forward(self, strengths: Tensor) -> Tensor:
        """Of the strongest path to each of its channels: float64 [count]."""
        raise NotImplementedError

    def back(self, strengths: Tensor, place: int) -> tuple[int, list[Element]]:
        """The channel before on that path, 0 where it begins, and the elements that lie between."""
        raise NotImplementedError

    def into(self, strengths: Tensor, count: int) -> Tensor:
        """Of the strongest that enters at each of so many places."""
        found = torch.full((count,), -math.inf, dtype=torch.float64)
        return found.scatter_reduce(0, self.places.clamp(min=0), strengths[self.entering], "amax")

    def entered_at(self, strengths: Tensor, place: int) -> int:
        """The channel that does."""
        entering = self.entering[self.places.clamp(min=0) == place]
        return int(entering[int(strengths[entering].argmax())])


class _Layer(_Step):
    """The units of a layer: each by one element of its weight."""

    def __init__(self, bundle: Bundle, nodes: Sequence[Node], logs: Mapping[str, Tensor]) -> None:
        super().__init__(bundle)
        self.logs = logs.get(self.node.weight or "")
        self.matrix = matrix_of(bundle, nodes, self.logs, 0.0)

    def forward(self, strengths: Tensor) -> Tensor:
        return (self.matrix + self._columns(strengths)).amax(-1).flatten()

    def back(self, strengths: Tensor, place: int) -> tuple[int, list[Element]]:
        group, unit = divmod(place, self.matrix.shape[1])
        column = int((self.matrix[group, unit] + self._columns(strengths)[group, 0]).argmax())
        before = self.entered_at(strengths, group * self.matrix.shape[2] + column)
        if self.logs is None or self.node.weight is None:
            return before, []
        return before, [(self.node.weight, self._element(self.logs, group, unit, column))]

    def _columns(self, strengths: Tensor) -> Tensor:
        groups, _, columns = self.matrix.shape
        return self.into(strengths, groups * columns).reshape(groups, 1, columns)

    def _element(self, logs: Tensor, group: int, unit: int, column: int) -> int:
        """The flat index of the strongest one between a unit and a column."""
        _, units, columns = self.matrix.shape
        by_rows = self.node.units is None or self.node.units.dim == 0
        inputs, outputs = group * columns + column, group * units + unit
        row, within = (outputs, column) if by_rows else (inputs, unit)
        rows, cols = weight_places(self.node, logs.shape)
        cells = logs.unsqueeze(-1).flatten(2)
        within = int(cols[within])
        if is_table(self.node):
            row = int(rows[int(cells[rows[:, 0], within].amax(-1).argmax()), 0])
        else:
            row = int(rows[row, 0])
        return (row * cells.shape[1] + within) * cells.shape[2] + int(cells[row, within].argmax())


class _Meeting(_Step):
    """Sums, products and norms: each channel by one of those that meet in it; a norm's by one gain, too."""

    def __init__(self, bundle: Bundle, logs: Mapping[str, Tensor]) -> None:
        super().__init__(bundle)
        gains = logs.get(self.node.weight or "") if self.node.kind == Kind.NORM else None
        self.name = None if gains is None else self.node.weight
        self.gains = torch.zeros(bundle.count)
        if gains is not None:
            self.gains = torch.where(bundle.places < 0, 0, gains.flatten()[bundle.places.clamp(min=0)])

    def forward(self, strengths: Tensor) -> Tensor:
        entering = strengths[self.bundle.parents]
        best = entering.amax().expand(self.bundle.count) if self.bundle.mixes else entering.amax(0)
        return best + self.gains

    def back(self, strengths: Tensor, place: int) -> tuple[int, list[Element]]:
        parents = self.bundle.parents.flatten() if self.bundle.mixes else self.bundle.parents[:, place]
        before = int(parents[int(strengths[parents].argmax())])
        gain = int(self.bundle.places[place]) if self.name is not None else -1
        return before, [(self.name, gain)] if self.name is not None and gain >= 0 else []


class _Mixture(_Step):
    """What begins, and what cannot be followed: there anything enters by the strongest element of all weights."""

    def __init__(self, bundle: Bundle, logs: Mapping[str, Tensor]) -> None:
        super().__init__(bundle)
        self.begins = self.node.kind == Kind.INPUT or (bundle.is_token and not self.node.zeros)
        covered = all(name in logs for name in self.node.weights)
        best = [(float(logs[name].max()), name, int(logs[name].argmax())) for name in self.node.weights if covered]
        self.best = max(best, key=lambda found: found[0], default=None)

    def forward(self, strengths: Tensor) -> Tensor:
        if self.begins:
            return torch.zeros(self.bundle.count, dtype=torch.float64)
        return self.into(strengths, self.bundle.count) + (0.0 if self.best is None else self.best[0])

    def back(self, strengths: Tensor, place: int) -> tuple[int, list[Element]]:
        if self.begins:
            return 0, []
        return self.entered_at(strengths, place), [] if self.best is None else [self.best[1:]]
