"""What must hold in every run, asserted at the end of each training."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import Optimizer

from budbreak.errors import InvariantBroken, NotFinite
from budbreak.live import check_ownership, check_zeros, state_digest
from budbreak.masks import Mask, unwrap


def assert_invariants(
    model: nn.Module, optimizer: Optimizer, mask: Mask, *, keep: int, kept: int, before: Mask
) -> dict[str, bool]:
    """Assert what must hold after a training; every entry of the result is True.

    Args:
        model: the live model.
        optimizer: the live optimizer.
        mask: of this training.
        keep: how many things the schedule says stay.
        kept: how many do.
        before: the mask of the training before.

    Raises:
        InvariantBroken, ForeignParameter, NotFinite: with what does not hold.
    """
    check_zeros(model, mask)
    check_ownership(optimizer, mask.parameters(model))
    check_finite(model)
    if keep != kept:
        raise InvariantBroken(f"{kept} stay", f"the schedule says {keep}", "report this: it is a defect of budbreak")
    if not mask.is_within(before):
        raise InvariantBroken(
            "a pruned weight came back", "masks only shrink", "report this: it is a defect of budbreak"
        )
    return {
        "zeros held": True,
        "optimizer holds the live parameters": True,
        "parameters finite": True,
        "exact count": True,
        "nothing revived": True,
        "no layer collapsed": not mask.collapsed(),
    }


def check_finite(model: nn.Module) -> None:
    """Assert that no parameter is NaN or infinite.

    Raises:
        NotFinite: with the layer.
    """
    for name, parameter in unwrap(model).named_parameters():
        if not bool(torch.isfinite(parameter.detach()).all()):
            raise NotFinite(
                f"{name!r} holds NaN or infinite numbers",
                "a training that diverged is neither stored nor pruned",
                "lower the learning rate; the store keeps everything before this epoch",
            )


def mask_digest(mask: Mask) -> str:
    """SHA-256 of a mask."""
    return state_digest(mask)
