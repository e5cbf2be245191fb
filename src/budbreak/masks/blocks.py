"""Blocks: rectangles of a weight that go as one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from budbreak.checks import check_count
from budbreak.masks.granularity import check_budget, counted_in, living_means
from budbreak.masks.prunable import Prunable, conv_and_linear
from budbreak.masks.scores import Score, ScoreSlice
from budbreak.masks.units import UnitLayout, unusual_layouts


@dataclass(frozen=True)
class _Tiles:
    """What `Block` and `FittedBlocks` share: blocks of ``rows`` units times ``columns`` of their weights."""

    rows: int
    columns: int
    budget: Literal["blocks", "weights"] = "blocks"

    def layout(self, name: str) -> UnitLayout:
        """Where the units of this weight lie."""
        raise NotImplementedError

    def merge(self, name: str, score: Score, entry: Tensor | None) -> Score:
        """See `Granularity`."""
        return Score(self._grid(name, score.shape), lambda: self._means(name, score, entry))

    def shrink(self, name: str, entry: Tensor) -> Tensor:
        """See `Granularity`."""
        return self._tiles(name, entry).any(1).reshape(self._grid(name, entry.shape))

    def weigh(self, name: str, entry: Tensor) -> Tensor:
        """Int [of the merged shape]: how many weights of each block are kept."""
        return self._tiles(name, entry).sum(1).reshape(self._grid(name, entry.shape))

    def spread(self, name: str, entry: Tensor, shape: torch.Size) -> Tensor:
        """See `Granularity`."""
        height, width = self._matrix(name, shape)
        kept = entry.repeat_interleave(self.rows, 0)[:height].repeat_interleave(self.columns, 1)[:, :width]
        return self.layout(name).restore(kept, shape)

    def _means(self, name: str, score: Score, entry: Tensor | None) -> ScoreSlice:
        scores = score.tensor()
        alive = torch.ones(scores.shape, dtype=torch.bool) if entry is None else entry
        means = living_means(self._tiles(name, scores), self._tiles(name, alive.to(scores.device)))
        return lambda lo, hi: means[lo:hi]

    def _matrix(self, name: str, shape: torch.Size) -> tuple[int, int]:
        """[units, members] of a weight."""
        units = self.layout(name).count(shape) if len(shape) > 1 else 1
        return units, shape.numel() // max(units, 1)

    def _grid(self, name: str, shape: torch.Size) -> torch.Size:
        """How many blocks below each other, and beside each other."""
        height, width = self._matrix(name, shape)
        return torch.Size([-(-height // self.rows), -(-width // self.columns)])

    def _tiles(self, name: str, tensor: Tensor) -> Tensor:
        """[blocks, rows * columns]; 0 or False where a block reaches over the edge."""
        matrix = self.layout(name).rows(tensor)
        down, across = self._grid(name, tensor.shape)
        missing = (0, across * self.columns - matrix.shape[1], 0, down * self.rows - matrix.shape[0])
        tiles = functional.pad(matrix, missing).reshape(down, self.rows, across, self.columns)
        return tiles.movedim(2, 1).reshape(down * across, self.rows * self.columns)


@dataclass(frozen=True)
class Block(_Tiles):
    """Rectangles: some units times some of the weights of each, scored by the mean of their living weights.

    A weight is seen as a matrix [units, members]: those of Linear as they are, of convolutions input channels, height
    and width one after the other; a weight of fewer than two dimensions is one row. Where the matrix is no multiple of
    a block, the blocks at its lower and right edges are smaller, and count as one like all others. No block is spared.
    Without a model, in a bare `select`, units lie along dimension 0; `fit` knows those of transposed convolutions.

    Args:
        rows: how many units.
        columns: how many weights of each: ``Block(1, 16)`` is a run of 16 weights of one unit.
        budget: ``"blocks"``: what is kept is a number of blocks; ``"weights"``: a number of weights: as many blocks
            stay, of the highest scores, as hold no more living weights than that; see `Unit`.
    """

    counted: str = field(default="blocks", init=False, repr=False)
    spared: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        check_count("rows", self.rows)
        check_count("columns", self.columns)
        check_budget(self.budget, "blocks")
        object.__setattr__(self, "counted", counted_in(self.budget))

    def layout(self, name: str) -> UnitLayout:
        """Along dimension 0: no model is known."""
        return UnitLayout(0)

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> Block | FittedBlocks:
        """See `Granularity`."""
        layouts = unusual_layouts(model, prunable)
        return FittedBlocks(self.rows, self.columns, self.budget, layouts) if layouts else self


@dataclass(frozen=True)
class FittedBlocks(_Tiles):
    """The blocks of one model, from `Block.fit`.

    Args:
        layouts: (name, layout) of the weights whose outputs do not lie along dimension 0.
    """

    layouts: tuple[tuple[str, UnitLayout], ...] = ()
    counted: str = field(default="blocks", init=False, repr=False)
    spared: tuple[str, ...] = field(default=(), init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counted", counted_in(self.budget))

    def layout(self, name: str) -> UnitLayout:
        """Where the units of this weight lie."""
        return dict(self.layouts).get(name, UnitLayout(0))

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> FittedBlocks:
        """See `Granularity`: fitted already."""
        return self
