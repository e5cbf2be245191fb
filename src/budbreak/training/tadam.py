"""TAdam: Adam whose mean of the gradients mistrusts outliers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import ParamsT

from budbreak.checks import check_number
from budbreak.errors import InvalidValue
from budbreak.training.building import check_betas, groups_of, pair
from budbreak.training.tensorwise import TensorwiseOptimizer


@dataclass(frozen=True)
class TAdam:
    """Robust Adam: the mean of the gradients is that of a Student's t distribution, in which an outlier counts little.

    Of each tensor with n entries, with d = g + wd * w and nu = k_dof * n:
    u = (nu + n) / (nu + sum((d - m)^2 / (v + epsilon)));  m = (W * m + u * d) / (W + u);
    v = b2 * v + (1 - b2) * d^2;  W = (2 - 1 / b1) * W + u, which starts at b1 / (1 - b1);
    w -= lr * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon), at step t = 1, 2, ...

    A gradient as far from m as usual has u = 1, and the step is Adam's; the more of a tensor's entries are
    far off, the less the whole tensor listens. While m and v are 0, at the very start, every gradient is far
    off: the first steps are shorter than Adam's.

    Args:
        learning_rate: > 0.
        betas: (b1, b2); b1 in [0.5, 1), as W would turn negative below, b2 in [0, 1).
        epsilon: > 0; keeps the step finite where a weight has had no gradient.
        weight_decay: >= 0, on all parameters but scalars of activations; it goes through the scaling, as in `Adam`.
        k_dof: > 0; degrees of freedom for each entry: the lower, the less outliers count; the higher, the more it is
            `Adam`.

    Raises:
        InvalidValue: for a number out of range.

    Source: Ilboudo, Kobayashi & Sugimoto 2020, arXiv 2003.00179; k_dof as in the authors' implementation.
    Differs: n is how many entries have had a gradient at all, not how many the tensor has. They are the same unless a
    weight is pruned or behind a dead unit: so a pruned network takes the steps of the network without its pruned
    weights. In the authors' form the zeros dilute the sum, and at high sparsity every gradient has u near 2.
    """

    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    k_dof: float = 1.0

    def __post_init__(self) -> None:
        check_number("learning_rate", self.learning_rate, zero=False, usual="0.001")
        check_betas(self.betas)
        if self.betas[0] < 0.5:
            rule = "it must be in [0.5, 1): a shorter memory would give past gradients a negative weight"
            raise InvalidValue(f"betas[0] is {self.betas[0]}", rule, "usual is 0.9")
        check_number("epsilon", self.epsilon, zero=False, usual="1e-8")
        check_number("weight_decay", self.weight_decay, usual="0")
        check_number("k_dof", self.k_dof, zero=False, usual="1")

    def build(self, model: nn.Module) -> TAdamOptimizer:
        """A new one over all parameters."""
        return TAdamOptimizer(
            groups_of(model),
            float(self.learning_rate),
            betas=pair(self.betas),
            eps=float(self.epsilon),
            weight_decay=float(self.weight_decay),
            k_dof=float(self.k_dof),
        )


class TAdamOptimizer(TensorwiseOptimizer):
    """The live one; see `TAdam`. It remembers m, v (as torch's Adam names them), the number of steps and W.

    Args:
        params: parameters, or groups of them, as all of torch's optimizers take.
        lr, betas, eps, weight_decay, k_dof: as in `TAdam`.

    Raises:
        InvalidValue: for a number out of range.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        k_dof: float = 1.0,
    ) -> None:
        TAdam(lr, betas, eps, weight_decay, k_dof)  # refuses what is out of range
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "k_dof": k_dof})

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """See `TensorwiseOptimizer.move`."""
        state = self.state[parameter]
        if not state:
            state.update(_fresh(parameter, group["betas"][0]))
        state["step"] += 1
        weight, mean, square = (_real(one) for one in (parameter, state["exp_avg"], state["exp_avg_sq"]))
        slope = _real(gradient)
        if group["weight_decay"]:
            slope = slope.add(weight, alpha=group["weight_decay"])
        _observe(slope, mean, square, state["past_weight"], group)
        first, second = (1 - beta ** state["step"] for beta in group["betas"])
        root = square.sqrt().div_(math.sqrt(second)).add_(group["eps"])
        weight.addcdiv_(mean, root, value=-float(group["lr"]) / first)


def _observe(slope: Tensor, mean: Tensor, square: Tensor, past: Tensor, group: dict[str, Any]) -> None:
    """Take one gradient into m, v and W, in place."""
    (first, second), k_dof = group["betas"], group["k_dof"]
    distance = (slope - mean).square_().div_(square + group["eps"]).sum(dtype=past.dtype)
    square.mul_(second).addcmul_(slope, slope, value=1 - second)
    entries = square.sign().sum(dtype=past.dtype).clamp_(min=1)  # a third of the time of count_nonzero
    now = (k_dof + 1) * entries / (k_dof * entries + distance)
    mean.lerp_(slope, (now / (past + now)).to(mean.dtype))
    past.mul_(2 - 1 / first).add_(now)


def _fresh(parameter: Tensor, first: float) -> dict[str, Any]:
    """The state before the first step."""
    precise = torch.promote_types(_real(parameter).dtype, torch.float32)
    return {
        "step": 0,
        "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        "past_weight": torch.full((), first / (1 - first), dtype=precise, device=parameter.device),
    }


def _real(tensor: Tensor) -> Tensor:
    """A complex number as two real ones, in the same memory, as torch's Adam takes them."""
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor
