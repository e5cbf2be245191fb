"""Which way training pushes each weight: toward zero, or away from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.checks import check_count, check_known
from budbreak.errors import MissingEvidence
from budbreak.evidence.examples import drawn_like
from budbreak.evidence.observer import RESETS, ObserverState, Reset, Training

_STEPS, _SUM = "steps ", "sum "
"""What stands before the name of a weight in the state."""
_SEEN = "seen"
"""In the state once any step was taken, be it one in which no weight had a gradient."""


@dataclass(frozen=True)
class MovementSums:
    """Minus the sum of weight times gradient over the steps of a training: name -> tensor, same shape as the weight.

    m = -(sum over steps of w * g), w and g right before the step: > 0 where gradient descent moves the weight away from
    zero. g is the gradient that the step is taken by: accumulated, clipped, unscaled. Over several processes, their
    mean. Accumulated in float32 (float64 for float64 weights). A weight that had no gradient in any of these steps
    (frozen, or not used) is left out: `Movement` refuses it.

    Args:
        reset: "level": of each training alone; "never": of all trainings so far.
        every: look at each so many-th step of a weight only, the first one included: costs that much less, and
            estimates.

    Source: Sanh et al. 2020, arXiv 2005.07683, equation 4, without the learning rate.
    """

    reset: Reset = "level"
    every: int = 1

    def __post_init__(self) -> None:
        check_known(f"reset is {self.reset!r}", self.reset, RESETS)
        check_count("every", self.every)

    def watch(self, training: Training, state: ObserverState) -> None:
        """See `Observer.watch`."""

        def add(gradients: Mapping[str, Tensor]) -> None:
            state.setdefault(_SEEN, torch.ones((), dtype=torch.int64))
            _add_products(state, training, gradients if self.every == 1 else _due(state, gradients, self.every))

        training.before_step(add)

    def result(self, state: Mapping[str, Tensor], *, ranks: int) -> Mapping[str, Tensor]:
        """See `Observer.result`."""
        sums = {name.removeprefix(_SUM): tensor for name, tensor in state.items() if name.startswith(_SUM)}
        if _SEEN not in state:
            rule = "it adds up over the steps of the optimizer that iterate was given"
            raise MissingEvidence(f"{self} has seen no step", rule, "train before, in level 0 too")
        return {name: tensor / ranks for name, tensor in sums.items()} if ranks > 1 else sums

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, Tensor]:
        """See `Probe`."""
        return {name: drawn_like(weight, generator) for name, weight in weights.items()}


def _due(state: ObserverState, gradients: Mapping[str, Tensor], every: int) -> Mapping[str, Tensor]:
    """Those that are to be looked at. Each weight has its own count: optimizers may take turns, or other steps."""
    due = dict[str, Tensor]()
    for name, gradient in gradients.items():
        steps = state.setdefault(_STEPS + name, torch.zeros((), dtype=torch.int64))
        if int(steps) % every == 0:
            due[name] = gradient
        steps.add_(1)
    return due


def _add_products(state: ObserverState, training: Training, gradients: Mapping[str, Tensor]) -> None:
    for name in gradients:
        weight, sums = training.parameters[name], state.get(_SUM + name)
        if sums is None:
            state[_SUM + name] = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
        elif sums.device != weight.device:
            state[_SUM + name] = sums.to(weight.device)
    if gradients:
        sums = [state[_SUM + name] for name in gradients]
        weights = _alike([training.parameters[name].detach() for name in gradients], sums)
        torch._foreach_addcmul_(sums, weights, _alike(list(gradients.values()), sums), value=-1.0)  # pyright: ignore


def _alike(tensors: list[Tensor], sums: list[Tensor]) -> list[Tensor]:
    """In the dtypes of the sums, into which they are multiplied."""
    return [t if t.dtype == total.dtype else t.to(total.dtype) for t, total in zip(tensors, sums, strict=True)]
