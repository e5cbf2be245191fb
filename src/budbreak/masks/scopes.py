"""Where scores compete: over all layers, within each, or within each of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from budbreak.errors import TooManySpared
from budbreak.masks.arenas import keep_highest, level_off
from budbreak.masks.contest import Contest
from budbreak.masks.prunable import Prunable, conv_and_linear
from budbreak.masks.scores import Score
from budbreak.masks.source import Source
from budbreak.masks.threshold import select_competing
from budbreak.masks.units import UnitLayout, unusual_layouts


@dataclass(frozen=True)
class Global:
    """All scores of all layers compete with each other.

    With a floor, a layer that would keep less keeps its highest scores up to the floor, and the others compete for the
    rest.
    """

    divides, elementwise = False, False

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> Global:
        """See `Scope`."""
        return self

    def reach(self, alive: Mapping[str, Tensor]) -> None:
        """See `Scope`: any number."""

    def choose(self, contest: Contest) -> dict[str, Tensor]:
        """See `Scope`."""
        fixed: dict[str, Tensor] = {}
        left = contest.keep
        while True:
            rest = {name: score for name, score in contest.scores.items() if name not in fixed}
            try:
                kept = {**fixed, **select_competing(rest, left, contest.limits)}
            except TooManySpared as error:
                raise _by_floors_too(contest, error) if fixed else error from None
            short = [name for name in rest if _is_below(kept[name], contest.floors[name])]
            if not short:
                return {name: kept[name] for name in contest.scores}
            for name in short:
                fixed[name] = _highest(contest, name, contest.floors[name])
                left -= contest.floors[name]


def _by_floors_too(contest: Contest, error: TooManySpared) -> TooManySpared:
    """The same of all layers, where floors have taken a part of what is kept before the others competed."""
    fewest = contest.fewest()
    value = f"keep is {contest.keep}, but {fewest} stay by the floor or by scores of +inf"
    return TooManySpared(value, error.rule, f"keep at least {fewest}, lower the floor, or score fewer with +inf")


@dataclass(frozen=True)
class Layer:
    """The scores of each layer compete among themselves, for a share that an allocation gives the layer."""

    divides, elementwise = True, False

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> Layer:
        """See `Scope`."""
        return self

    def reach(self, alive: Mapping[str, Tensor]) -> None:
        """See `Scope`: any number."""

    def choose(self, contest: Contest) -> dict[str, Tensor]:
        """See `Scope`."""
        return {name: _highest(contest, name, share) for name, share in contest.shares().items()}


class _ByRow:
    """What `Rows` and `FittedRows` share."""

    divides, elementwise = True, True

    def layout(self, name: str) -> UnitLayout:
        """Where the rows of this weight lie."""
        raise NotImplementedError

    def reach(self, alive: Mapping[str, Tensor]) -> None:
        """See `Scope`: any number."""

    def choose(self, contest: Contest) -> dict[str, Tensor]:
        """See `Scope`."""
        source = Source(contest.scores, contest.limits)
        return {name: _rows_kept(source, name, share, self.layout(name)) for name, share in contest.shares().items()}


@dataclass(frozen=True)
class Rows(_ByRow):
    """The scores of each output row of a weight compete among themselves: all weights into one unit.

    Each layer keeps its share, by an allocation, as for `Layer`; within it each row keeps the same number, or all that
    are alive in it; what remains goes to the first rows that have room. The rows of a Linear or convolution are its
    outputs (inputs, height and width together); a weight of fewer than two dimensions is one row. Without a model, in
    a bare `select`, rows lie along dimension 0; `fit` knows those of transposed convolutions and embeddings.

    Source: Sun et al. 2023 (Wanda), arXiv 2306.11695: "compared on a per-output basis". Differs: the total is exact.
    """

    def layout(self, name: str) -> UnitLayout:
        """Along dimension 0: no model is known."""
        return UnitLayout(0)

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> Rows | FittedRows:
        """See `Scope`."""
        layouts = unusual_layouts(model, prunable)
        return FittedRows(layouts) if layouts else self


@dataclass(frozen=True)
class FittedRows(_ByRow):
    """The rows of one model, from `Rows.fit`.

    Args:
        layouts: (name, layout) of the weights whose outputs do not lie along dimension 0.
    """

    layouts: tuple[tuple[str, UnitLayout], ...]

    def layout(self, name: str) -> UnitLayout:
        """Where the rows of this weight lie."""
        return dict(self.layouts).get(name, UnitLayout(0))

    def fit(self, model: nn.Module, prunable: Prunable = conv_and_linear) -> FittedRows:
        """See `Scope`: fitted already."""
        return self


def _rows_kept(source: Source, name: str, keep: int, layout: UnitLayout) -> Tensor:
    shape = source.scores[name].shape
    scores = layout.rows(torch.from_numpy(source.whole(name)).reshape(shape)).numpy()
    alive = None if source.limits is None else layout.rows(source.limits[name]).numpy()
    capacities = np.full(len(scores), scores.shape[1]) if alive is None else alive.sum(axis=1)
    kept = keep_highest(name, scores, alive, level_off(capacities, keep))
    return layout.restore(torch.from_numpy(kept), shape)


def keep_in_rows(
    scores: Mapping[str, Score], mask: Mapping[str, Tensor], within: Mapping[str, Tensor], scope: Rows | FittedRows
) -> dict[str, Tensor]:
    """The highest scores of each row, as many as a mask keeps there: name -> bool.

    Args:
        scores: name -> scores.
        mask: name -> bool: how many stay.
        within: name -> bool: what competes; in each row at least so many.
        scope: fitted to the model.

    Raises:
        TooManySpared: if more scores of a row are +inf.
    """
    source, kept = Source(scores, within), dict[str, Tensor]()
    for name, entry in mask.items():
        layout, shape = scope.layout(name), entry.shape
        rows = layout.rows(torch.from_numpy(source.whole(name)).reshape(shape)).numpy()
        counts = layout.rows(entry).sum(1).numpy()
        chosen = keep_highest(name, rows, layout.rows(within[name]).numpy(), counts)
        kept[name] = layout.restore(torch.from_numpy(chosen), shape)
    return kept


def _highest(contest: Contest, name: str, keep: int) -> Tensor:
    """The ``keep`` highest scores of one layer."""
    return select_competing({name: contest.scores[name]}, keep, contest.limits)[name]


def _is_below(kept: Tensor, floor: int) -> bool:
    return floor > 0 and int(kept.count_nonzero()) < floor
