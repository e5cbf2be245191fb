"""Fromage: each tensor moves by a share of its own norm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from budbreak.checks import check_model, check_number
from budbreak.training.tensorwise import TensorwiseOptimizer


@dataclass(frozen=True)
class Fromage:
    """Move each tensor against its gradient by a share of its own norm.

    The Frobenius-matched gradient method: w = (w - lr * |w| / |g| * g) / sqrt(1 + lr^2), with |.| the root of the sum
    of squares over one tensor; the division takes back by how much a step at right angles to w lengthens it. It has no
    momentum, no state and no weight decay.

    Each tensor is a layer of its own, biases, norms and scalars too, with two rules where the formula has none:
    a tensor without a gradient (g = 0) stays as it is; one that is all zeros, such as a fresh bias of a norm,
    takes the plain step w = -lr * g / sqrt(1 + lr^2), as it could never move by a share of nothing. A scalar (an alpha)
    moves by the share lr of itself, so with lr below 1 it keeps its sign.

    Of a pruned network both norms are those of the living weights: under `hold` weights and gradients that the mask
    prunes are zero, and it takes the steps of the network without them. What `compact` cuts out counts no longer, be
    it alive: weights, biases and norms of units that nothing reads.

    Args:
        learning_rate: > 0; the length of a step as a share of that of the weights, mostly 0.001 to 0.1.

    Raises:
        InvalidValue: for a number out of range.

    Source: Bernstein et al. 2020, arXiv 2002.03432, algorithm 1; the rule for zeros as in the authors' experiments.
    Differs: there a tensor without a gradient shrinks.
    """

    learning_rate: float = 0.01

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, zero=False, usual="0.01")

    def build(self, model: nn.Module) -> FromageOptimizer:
        """A new one over all parameters, in one group: nothing decays."""
        check_model(model)
        return FromageOptimizer(model.parameters(), float(self.learning_rate))


class FromageOptimizer(TensorwiseOptimizer):
    """The live one; see `Fromage`.

    Args:
        params: parameters, or groups of them, as all of torch's optimizers take.
        lr: > 0; the share of its norm that a tensor moves by.

    Raises:
        InvalidValue: for a rate out of range.
    """

    def __init__(self, params: ParamsT, lr: float = 0.01) -> None:
        Fromage(lr)  # refuses what is out of range
        super().__init__(params, {"lr": lr})

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """See `TensorwiseOptimizer.move`."""
        rate = float(group["lr"])
        size, slope = _norm(parameter), _norm(gradient)
        direction = gradient / torch.where(slope == 0, 1.0, slope)  # divided first: |w| / |g| may be beyond all floats
        length = torch.where(size == 0, slope, size)
        shrinking = torch.where(slope == 0, 1.0, slope.new_full((), 1 / math.sqrt(1 + rate**2)))
        parameter.sub_(direction * (rate * length)).mul_(shrinking)


def _norm(tensor: Tensor) -> Tensor:
    """Root of the sum of squares; of half precision in float32, where it overflows less."""
    half = tensor.dtype in (torch.float16, torch.bfloat16)
    return torch.linalg.vector_norm(tensor, dtype=torch.float32 if half else None)
