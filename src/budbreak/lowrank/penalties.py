"""What penalties of singular values share: their sum over a model, and the step that shrinks them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from budbreak.errors import NotFinite
from budbreak.lowrank.matrices import Unfolded, unfolded
from budbreak.masks import Mask, Prunable

_HALF = (torch.float16, torch.bfloat16)


def penalized(model: nn.Module, cost: Callable[[Tensor], Tensor], mask: Mask | None, prunable: Prunable) -> Tensor:
    """The sum of ``cost(singular values [groups, n])`` over the weights: a scalar to differentiate.

    Raises:
        NotFinite: if a weight is NaN or infinite; and see `budbreak.lowrank.ranks`.
    """
    costs = [cost(singular_values(_checked(one))) for one in unfolded(model, mask, prunable)]
    return torch.stack([one.to(costs[0]) for one in costs]).sum()


@torch.no_grad()
def shrink_all(model: nn.Module, shrink: Callable[[Tensor], Tensor], mask: Mask | None, prunable: Prunable) -> None:
    """Replace the singular values [groups, n] of each weight by ``shrink`` of them, in place.

    Raises:
        NotFinite: before anything is changed, if a weight is NaN or infinite; and see `budbreak.lowrank.ranks`.
    """
    every = [(one, _checked(one)) for one in unfolded(model, mask, prunable)]
    for one, matrices in every:
        left, values, right = torch.linalg.svd(matrices, full_matrices=False)
        with torch.autocast(matrices.device.type, enabled=False):
            one.assign(left * shrink(values).unsqueeze(-2) @ right)


def singular_values(matrices: Tensor) -> Tensor:
    """Singular values [..., n] in falling order, differentiable: the gradient of f(s) is U diag(f'(s)) V^T.

    It is finite for every matrix: nothing is divided by differences of singular values. Those that rounding cannot
    tell from zero (numpy's cut, see `LayerRank.cut`) are exact zeros without a gradient: of the nuclear norm's
    subgradients there that is the smallest, and it leaves rows and columns of zeros as they are.
    """
    values = torch.linalg.svdvals(matrices)
    cut = values[..., :1] * max(matrices.shape[-2:]) * torch.finfo(values.dtype).eps
    return torch.where(values.detach() > cut.detach(), values, 0)


def _checked(one: Unfolded) -> Tensor:
    matrices = one.matrices()
    if not matrices.isfinite().all():
        value = f"{one.name!r} is NaN or infinite"
        raise NotFinite(value, "it has no singular values", "lower the learning rate, or look for where it came from")
    return matrices.float() if matrices.dtype in _HALF else matrices
