"""Lookahead: magnitude, seen with the layers before and behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.evidence import Evidence, Weights, Wiring
from budbreak.graph import Link, Node, groups_of
from budbreak.masks import Layer, Score, Scores, ScoreSlice, UnitLayout


@dataclass(frozen=True)
class Lookahead:
    """Score weights by the squared change that removing one makes to the product of three layers in a row.

    score[o, i] = w[o, i]^2 * before[i] * behind[o], in float64; the same for each element of a kernel. (The paper's
    score is its square root, which gives the same order.)

    - before[i] = the sum of the squares of the weights that compute input unit i: the row of that unit in the layer
      before. Behind a flattened convolution all columns of a channel have its row.
    - behind[o] = the sum of the squares of the weights that output unit o enters: its column in the layer behind; of a
      unit that is flattened, the columns of all its positions. Where several layers follow, they add up.
    - Where branches are summed, their rows add up, and an identity path around others adds 1 on both of its sides.
      So does what is no layer: inputs and outputs of the model, attention, recurrent layers; all that together, once.
      A side with nothing else is a factor of 1.
    - With ``norm``, each BatchNorm on the way multiplies by (gain / sqrt(running variance + eps))^2: those behind the
      layer before, for before[i], and those behind this layer, for behind[o]. Other norms have no such factor.
    - A weight that is called several times sums over its calls. What is no weight of a layer (those of a GRU) is
      scored by w^2.

    Nonlinearities, pools and products of units are taken for the identity. Of linear layers, and of convolutions that
    use each element of a kernel once, the score is exactly that change, in squared Frobenius norm; one that slides over
    P positions changes P times as much, where windows do not overlap before and it is not flattened behind. So it is
    meant for scope `masks.Layer`, which it has unless another is given; it works in all.

    Args:
        norm: whether BatchNorm counts (LAP-BN).

    Source: Park et al. 2020, arXiv 2002.04809, and the authors' code. It differs in two places: their identity path has
    no factor of the norm that it starts behind, and behind a flattened layer their factors are those of other channels.
    """

    norm: bool = False
    needs = (Weights(), Wiring())
    scope = Layer()

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float64 [shape of the weight], >= 0.

        Raises:
            MissingEvidence: without `Weights` and `Wiring`.
        """
        weights, wired = evidence[Weights()], evidence[Wiring()]
        around = _Around({**wired.others, **weights}, wired.links, wired.scales if self.norm else {})
        return Scores({name: _score(weight, around.calls(name)) for name, weight in weights.items()})


@dataclass(frozen=True, eq=False)
class _Call:
    """What stands around one call of a weight.

    Args:
        layer: the call.
        before: the factor of each input unit, float64 [inputs].
        behind: the factor of each output unit, float64 [units].
    """

    layer: Node
    before: Tensor
    behind: Tensor

    def factors(self, rows: slice, columns: int) -> Tensor:
        """The factor of each element of some rows of the weight, kernels left out: float64 [rows, columns]."""
        first, second = (self.behind, self.before) if _layout(self.layer).dim == 0 else (self.before, self.behind)
        by_group = second.reshape(groups_of(self.layer), columns)
        group = torch.arange(len(first))[rows] * len(by_group) // len(first)
        return first[rows, None] * by_group[group]


class _Side:
    """What neighbours on one side add to the factor of each unit of a layer.

    Args:
        count: of its units.
    """

    def __init__(self, count: int) -> None:
        self.layers, self.others = torch.zeros(count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64)
        self.found = torch.zeros(count, dtype=torch.bool)

    def add(self, units: Sequence[int], values: Tensor, *, is_layer: bool) -> None:
        """Layers add up; all that is no layer together is one identity.

        Args:
            units: of each connection.
            values: what each adds, float64.
            is_layer: whether that is the squares of a layer.
        """
        at = torch.tensor(units)
        self.found[at] = True
        if is_layer:
            self.layers.index_add_(0, at, values)
        else:
            self.others.scatter_reduce_(0, at, values, "amax")

    def factor(self) -> Tensor:
        """1 where there is no neighbour."""
        return torch.where(self.found, self.layers + self.others, 1.0)


class _Around:
    """Looks up the neighbours of weights.

    Args:
        weights: of all layers.
        links: between them.
        scales: path of a norm that counts -> its factors.
    """

    def __init__(self, weights: Mapping[str, Tensor], links: Sequence[Link], scales: Mapping[str, Tensor]) -> None:
        self.weights, self.scales = weights, scales
        self.before: dict[int, list[Link]] = {}
        self.behind: dict[int, list[Link]] = {}
        self.layers: dict[str, dict[int, Node]] = {}
        self.known: dict[tuple[str, UnitLayout], tuple[Tensor, Tensor]] = {}
        for link in links:
            if link.source is not None:
                self.behind.setdefault(link.start.index, []).append(link)
                self.layers.setdefault(link.source, {})[link.start.index] = link.start
            if link.target is not None:
                if link.columns[0] >= 0:  # what enters an embedding chooses rows
                    self.before.setdefault(link.end.index, []).append(link)
                self.layers.setdefault(link.target, {})[link.end.index] = link.end

    def calls(self, name: str) -> list[_Call]:
        """Each call of a weight, with what stands around it."""
        return [self._call(name, layer) for layer in self.layers.get(name, {}).values()]

    def _call(self, name: str, layer: Node) -> _Call:
        units, columns = self._squares(name, layer)
        before, behind = _Side(len(columns)), _Side(len(units))
        for link in self.before.get(layer.index, ()):
            is_layer = link.source is not None and not link.skip
            before.add(link.columns, self._rows(link), is_layer=is_layer)
        for link in self.behind.get(layer.index, ()):
            is_layer = link.target is not None and not link.skip
            behind.add(link.units, self._columns(link), is_layer=is_layer)
        return _Call(layer, before.factor(), behind.factor())

    def _rows(self, link: Link) -> Tensor:
        """The squares of the rows that feed, with norms; 1 for what is no layer."""
        if link.source is None or link.skip:
            return torch.ones(len(link.columns), dtype=torch.float64)
        return self._squares(link.source, link.start)[0][list(link.units)] * self._scale(link)

    def _columns(self, link: Link) -> Tensor:
        """The squares of the columns that are fed, 1 for what is no layer, with norms."""
        if link.target is None or link.skip:
            return self._scale(link)
        return self._squares(link.target, link.end)[1][list(link.columns)] * self._scale(link)

    def _scale(self, link: Link) -> Tensor:
        """What the norms on the way multiply squares by, float64 [connections]."""
        scale = torch.ones(len(link.units), dtype=torch.float64)
        for norm in link.norms:
            if norm.owner in self.scales and norm.channels[0] >= 0:
                scale = scale * self.scales[norm.owner].cpu()[list(norm.channels)].square()
        return scale

    def _squares(self, name: str, layer: Node) -> tuple[Tensor, Tensor]:
        """The squared Frobenius norms of the row of each unit, and of the column of each input, float64 on the CPU."""
        layout, groups = _layout(layer), groups_of(layer)
        key = name, layout
        if key not in self.known:
            squares = self.weights[name].detach().double().contiguous().square()  # summed in one order in any format
            units = layout.members(squares).sum(1).cpu()
            if layout.dim == 0:
                split = (groups, len(squares) // groups, squares.shape[1], squares.shape[2:].numel())  # may hold a 0
                columns = squares.reshape(split).sum((1, 3)).flatten()
            else:
                columns = squares.flatten(1).sum(1)
            self.known[key] = units, columns.cpu()
        return self.known[key]


def _layout(layer: Node) -> UnitLayout:
    return layer.units or UnitLayout(0)


def _score(weight: Tensor, calls: Sequence[_Call]) -> Score:
    """w^2 times the factors, summed over the calls."""

    def open_slices() -> ScoreSlice:
        flat = weight.detach().reshape(-1)
        row = flat.numel() // len(weight)

        def score(lo: int, hi: int) -> Tensor:
            squares = flat[lo:hi].double().square()
            if not calls:
                return squares
            rows = slice(lo // row, -(-hi // row))
            factors = torch.stack([call.factors(rows, weight.shape[1]) for call in calls]).sum(0)
            spread = factors[:, :, None].expand(-1, -1, row // weight.shape[1]).reshape(-1)
            return squares * spread[lo - rows.start * row : hi - rows.start * row].to(squares.device)

        return score

    return Score(weight.shape, open_slices)
