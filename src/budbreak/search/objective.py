"""What a candidate is worth: a network with its activations, trained by the user's function, scored by another."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from budbreak.activations import Activation
from budbreak.checks import as_number, shown
from budbreak.errors import InvalidValue, InvariantBroken, NotFinite
from budbreak.graph import Forward, undisturbed
from budbreak.iteration import derive_seed, seed_everything
from budbreak.live import check_zeros, held, model_state, replace_activations
from budbreak.masks import Mask

Train = Callable[[nn.Module], object]
"""Trains the model that it is given, in place, by optimizers that it makes."""
Evaluate = Callable[[nn.Module], float]
"""Gives the accuracy, a share in [0, 1], of the model that it is given."""

_RULE = "evaluate(model) gives one number: a share in [0, 1], more is better, as accuracy is; NaN where it diverged"


@dataclass(frozen=True)
class Outcome:
    """What came of one training: see `Trial`."""

    score: float | None
    seconds: float
    note: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Objective:
    """A function from activations to what they are worth; the same ones have the same worth, whoever asks and when.

    Each call works on a copy of the model with these activations, under the same seed, and leaves the model and the
    global random generators as they were.

    Args:
        model: the pruned one, from whose weights every training starts; never changed.
        mask: what is held while it is trained; None for a dense one.
        train: see `search_activations`.
        evaluate: see `search_activations`.
        example: one batch as the model takes it.
        forward: how to run the model on the example.
        seed: of the global generators of torch, numpy and `random`, alike for each training.
    """

    model: nn.Module
    mask: Mask | None
    train: Train
    evaluate: Evaluate
    example: Any
    forward: Forward | None
    seed: int

    def __call__(self, plan: Mapping[str, Activation]) -> Outcome:
        """Train and score a fresh copy with the activations of a plan.

        Raises:
            InvariantBroken: if pruned weights are not zero after ``train``.
            InvalidValue: if ``evaluate`` gives no share, or an activation cannot be put in.
        """
        begin = time.perf_counter()
        with undisturbed(self.model):
            score, note = self._score(self.replaced(plan))
        return Outcome(score, time.perf_counter() - begin, note)

    def replaced(self, plan: Mapping[str, Activation]) -> nn.Module:
        """A fresh copy of the pruned model with these activations."""
        return replace_activations(self.model, plan, example=self.example, forward=self.forward)

    def _score(self, model: nn.Module) -> tuple[float | None, str]:
        seed_everything(derive_seed(self.seed, "trial"))
        try:
            self._train(model)
            before = _not_finite(self.model)
            odd = [name for name in _not_finite(model) if name not in before]
            if odd:  # before the zeros: NaN that is multiplied by 0 stays NaN
                return None, f"{odd[0]!r} is not finite after the training"
            self._check_zeros(model)
            score = score_of(self.evaluate(model))
        except (FloatingPointError, OverflowError, NotFinite) as error:
            return None, f"{type(error).__name__}: {' '.join(str(error).split())}"
        return score, "" if score is not None else "the score is NaN"

    def _train(self, model: nn.Module) -> None:
        with contextlib.nullcontext() if self.mask is None else held(model, self.mask):
            given = self.train(model)
        if isinstance(given, nn.Module) and given is not model:
            rule = "train(model) trains the model that it is given, in place: this one is scored"
            raise InvalidValue(f"train returned another {type(given).__name__}", rule, "train the model itself")

    def _check_zeros(self, model: nn.Module) -> None:
        if self.mask is None:
            return
        try:
            check_zeros(model, self.mask)
        except InvariantBroken as error:
            raise InvariantBroken(
                f"after train(model): {error.value}",
                "they are held through the steps of all optimizers of torch; something else writes to the weights",
                "train by a torch.optim.Optimizer; weights that you load or average, multiply by the mask",
            ) from None


def score_of(value: object) -> float | None:
    """The score that an evaluation gave; None for NaN and minus infinity, which are worse than any.

    Raises:
        InvalidValue: for what is no number in [0, 1].
    """
    given = value
    if isinstance(value, Tensor | np.ndarray | np.generic):
        if value.ndim > 0:  # one value in a list is a mistake more often than not
            raise InvalidValue(f"evaluate returned {shown(value)}", _RULE, "return its mean: float(correct.mean())")
        value = value.item()
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise InvalidValue(f"evaluate returned {shown(given)}", _RULE, _fix(value))
    if math.isnan(value) or value == -math.inf:
        return None
    if not 0 <= value <= 1:
        raise InvalidValue(f"evaluate returned {shown(given)}", _RULE, _fix(value))
    return float(value)


def _fix(value: object) -> str:
    number, _ = as_number(value)
    if 1 < number <= 100:
        return f"a percentage? return it divided by 100: {number / 100:g}"
    if math.isfinite(number) and not isinstance(value, str):
        return "a loss? return 1 / (1 + loss)"
    return "return a float" if value is not None else "return the accuracy: is there a return at its end?"


def _not_finite(model: nn.Module) -> list[str]:
    """The parameters and buffers that hold NaN or an infinity, as masks of attention do from the start."""
    state = model_state(model)
    return [name for name, tensor in state.items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
