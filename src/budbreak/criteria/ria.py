"""RIA: weights that are small among those of their output and of their input go first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.checks import check_number
from budbreak.evidence import ColumnNorms, Evidence, InputNorms, Weights
from budbreak.masks import Layer, Scores


@dataclass(frozen=True)
class RIA:
    """Score weights by their share of their row and of their column, times a power of their input's norm.

    score[o, j] = (|w[o, j]| / sum over k of |w[o, k]| + |w[o, j]| / sum over p of |w[p, j]|) * norm[j]^alpha, with the
    norms of `Wanda`. Rows are outputs, columns what they are multiplied with: of a convolution input channel and place
    in the kernel. Columns are summed over the outputs of their group. Pruned weights are 0: sums are over living ones,
    and what is left of a row shares its importance. A row or column without a living weight scores 0. The authors
    compare within each layer (scope `masks.Layer`, which it has unless another is given), within rows, or within N:M;
    see `Wanda` for inputs and their norm.

    Args:
        alpha: >= 0; 0.5 as in the paper. With 0 only weights are looked at.

    Source: Zhang et al. 2024 (RIA), "Plug-and-Play", ICLR 2024, equation 4.
    """

    alpha: float = 0.5
    needs = (Weights(), InputNorms())
    scope = Layer()

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, usual="0.5")

    def __call__(self, evidence: Evidence) -> Scores:
        """Scores: name -> float [shape of the weight], >= 0.

        Raises:
            MissingEvidence: without `Weights` and `InputNorms`.
        """
        weights, seen = evidence[Weights()], evidence[InputNorms()]
        rows: dict[str, Tensor] = {}
        columns: dict[str, Tensor] = {}
        for name, weight in weights.items():
            rows[name], columns[name] = _sums(weight, seen[name])
        return Scores.elementwise(_relative, weights, rows, columns, _powers(weights, seen, self.alpha))


def _sums(weight: Tensor, seen: ColumnNorms) -> tuple[Tensor, Tensor]:
    """The sums of magnitudes over the row and over the column of each weight, in its shape."""
    real = weight.detach().abs() if weight.is_complex() else weight.detach()
    arranged, wide = seen.arranged(real), torch.promote_types(real.dtype, torch.float32)
    over_columns = torch.linalg.vector_norm(arranged, ord=1, dim=2, dtype=wide)
    over_rows = torch.linalg.vector_norm(arranged, ord=1, dim=1, dtype=wide)
    return seen.of_rows(over_columns, weight.shape), seen.of_columns(over_rows, weight.shape)


def _powers(weights: Mapping[str, Tensor], seen: Mapping[str, ColumnNorms], alpha: float) -> Mapping[str, Tensor]:
    return {name: seen[name].of_columns(seen[name].norms ** alpha, weight.shape) for name, weight in weights.items()}


def _relative(w: Tensor, row: Tensor, column: Tensor, power: Tensor) -> Tensor:
    magnitude, least = w.abs(), torch.finfo(row.dtype).tiny  # of a sum that is 0: its weights are, too
    return (magnitude / row.clamp_min(least) + magnitude / column.clamp_min(least)) * power
