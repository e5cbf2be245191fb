"""Optimizers at work on the model of an iteration: pruned weights are held through their steps, which are heard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from budbreak.iteration.identity import Setup
from budbreak.iteration.rates import Rates, RateWatch, rates_of
from budbreak.live import Hold, Resettable, groups_of, held_by, hold, steppers
from budbreak.masks import Mask

Held = Mapping[str, nn.Parameter]


@dataclass(frozen=True)
class Listeners:
    """Whom to tell of steps.

    Args:
        before: told the optimizer that is about to step, the prunable parameters that it holds, and whether it makes
            its gradients itself.
        after: told which of the optimizers has made a step, from 0.
    """

    before: Callable[[Optimizer, Held, bool], None]
    after: Callable[[int], None]


class Engaged:
    """The optimizers that train a model now.

    Args:
        setup: with the model.
        optimizers: given to `iterate`, or attached to one training.
        resets: attached with them; what was given to `iterate` is in ``setup``.
        watched: whether to look after schedulers; see `RateWatch`.

    Attributes:
        optimizers, resets: as given.
    """

    def __init__(
        self, setup: Setup, optimizers: tuple[Optimizer, ...], resets: tuple[Resettable, ...], *, watched: bool
    ) -> None:
        self.optimizers, self.resets, self._setup = optimizers, resets, setup
        known = (*setup.resets, *resets)
        self._watches = [RateWatch(optimizer, known) for optimizer in optimizers] if watched else []
        self._hold: Hold | None = None
        self._hooks: list[RemovableHandle] = []

    def start(self, mask: Mask, parameters: Held, listeners: Listeners) -> None:
        """Keep pruned weights at zero from now on, and tell of each step."""
        self._hold = hold(self._setup.model, self.optimizers, mask, mask_grads=self._setup.mask_grads)
        for place, optimizer in enumerate(self.optimizers):
            self._hear(place, optimizer, held_by(optimizer, parameters), listeners)

    def _hear(self, place: int, optimizer: Optimizer, held: Held, listeners: Listeners) -> None:
        inner = steppers(optimizer)[-1]  # which steps, however one that wraps it is called

        def before(stepping: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            listeners.before(stepping, held, len(args) > 1 or bool(kwargs))

        self._hooks.append(inner.register_step_pre_hook(before))
        self._hooks.append(inner.register_step_post_hook(lambda *_: listeners.after(place)))

    def update(self, mask: Mask) -> None:
        """Hold another mask."""
        if self._hold is not None:
            self._hold.update(mask)

    def release(self) -> None:
        """Stop holding."""
        if self._hold is not None:
            self._hold.release()
            self._hold = None

    def leave(self) -> None:
        """Hear no more steps."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def rates(self) -> Rates:
        """What schedulers move, of all groups."""
        return rates_of(groups_of(self.optimizers))

    def enter(self) -> None:
        """See `RateWatch.enter`."""
        for watch in self._watches:
            watch.enter()

    def begin(self) -> None:
        """See `RateWatch.begin`."""
        for watch in self._watches:
            watch.begin()

    def before_step(self, where: str) -> None:
        """See `RateWatch.before_step`."""
        for watch in self._watches:
            watch.before_step(where)

    def scheduler_made(self) -> str | None:
        """See `RateWatch.made_since`."""
        return next((made for watch in self._watches if (made := watch.made_since()) is not None), None)
