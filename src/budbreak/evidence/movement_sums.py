"""Which way training pushes each weight: toward zero, or away from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.checks import check_known
from budbreak.errors import MissingEvidence
from budbreak.evidence.examples import drawn_like
from budbreak.evidence.observer import RESETS, ObserverState, Reset, Training


@dataclass(frozen=True)
class MovementSums:
    """Minus the sum of weight times gradient over the steps of a training: name -> tensor, same shape as the weight.

    m = -(sum over steps of w * g), w and g right before the step: > 0 where gradient descent moves the weight away from
    zero. g is the gradient that the step is taken by: accumulated, clipped, unscaled. Over several processes, their
    mean. Accumulated in float32 (float64 for float64 weights); 0 for a weight without a gradient.

    Args:
        reset: "level": of each training alone; "never": of all trainings so far.

    Source: Sanh et al. 2020, arXiv 2005.07683, equation 4, without the learning rate.
    """

    reset: Reset = "level"

    def __post_init__(self) -> None:
        check_known(f"reset is {self.reset!r}", self.reset, RESETS)

    def watch(self, training: Training, state: ObserverState) -> None:
        """See `Observer.watch`."""

        def add(gradients: Mapping[str, Tensor]) -> None:
            for name, weight in training.parameters.items():
                wide = torch.promote_types(weight.dtype, torch.float32)
                sums = state.get(name)
                state[name] = torch.zeros_like(weight, dtype=wide) if sums is None else sums.to(weight.device)
            if gradients:
                moving = [training.parameters[name].detach() for name in gradients]
                sums = [state[name] for name in gradients]
                weights, given = _alike(moving, sums), _alike(list(gradients.values()), sums)
                torch._foreach_addcmul_(sums, weights, given, value=-1.0)  # pyright: ignore

        training.before_step(add)

    def result(self, state: Mapping[str, Tensor], *, ranks: int) -> Mapping[str, Tensor]:
        """See `Observer.result`."""
        if not state:
            rule = "it adds up over the steps of the optimizer that iterate was given"
            raise MissingEvidence(f"{self} has seen no step", rule, "train before, in level 0 too")
        return {name: sums / ranks for name, sums in state.items()} if ranks > 1 else dict(state)

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, Tensor]:
        """See `Probe`."""
        return {name: drawn_like(weight, generator) for name, weight in weights.items()}


def _alike(tensors: list[Tensor], sums: list[Tensor]) -> list[Tensor]:
    """In the dtypes of the sums, into which they are multiplied."""
    return [tensor.to(total.dtype) for tensor, total in zip(tensors, sums, strict=True)]
