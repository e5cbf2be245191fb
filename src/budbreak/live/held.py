"""Hold a mask in code that makes its own optimizers: through the steps of each that trains the model."""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from budbreak.live.holding import Hold, apply_mask, hold
from budbreak.live.ownership import held_by
from budbreak.masks import Mask


@contextlib.contextmanager
def held(model: nn.Module, mask: Mask) -> Generator[None, None, None]:
    """Inside, every optimizer of torch that trains weights of the model is held, from its first step on: see `hold`.

    For a function of the user's that makes its optimizer itself, and so cannot be given a `Hold`. What changes weights
    by other means is not seen: `check_zeros` afterwards.

    Args:
        model: whose pruned weights are set to zero at once.
        mask: what stays.

    Raises:
        UnknownName, MaskMismatch: if the mask does not fit the model.
        InvalidValue: in the first step of an optimizer that keeps state of pruned weights where no mask reaches it.
    """
    apply_mask(model, mask)
    steps = _Steps(model, mask)
    handle = register_optimizer_step_pre_hook(steps.before)
    try:
        yield
    finally:
        handle.remove()
        steps.release()


class _Steps:
    """The optimizers that have stepped so far, and what holds each."""

    def __init__(self, model: nn.Module, mask: Mask) -> None:
        self._model, self._mask = model, mask
        self._holds = dict[Optimizer, Hold | None]()

    def before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if optimizer not in self._holds:  # the hooks that are added now run in this very step
            own = held_by(optimizer, self._mask.parameters(self._model))
            part = Mask({name: self._mask[name] for name in own})
            self._holds[optimizer] = hold(self._model, optimizer, part) if own else None

    def release(self) -> None:
        for one in self._holds.values():
            if one is not None:
                one.release()
