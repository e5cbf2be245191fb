"""What a candidate is worth: a network, trained by the user's function, scored by another."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from budbreak.activations import Activation
from budbreak.errors import InvalidValue, InvariantBroken, NotFinite
from budbreak.graph import Forward, undisturbed
from budbreak.iteration import derive_seed, seed_everything
from budbreak.live import check_zeros, held, model_state, replace_activations
from budbreak.masks import Mask
from budbreak.search.scores import odd_words, score_of
from budbreak.search.trial import Values
from budbreak.search.watching import TrialEnds, Watch

Train = Callable[..., object]
"""train(model), or train(model, report) where trials may be stopped: trains the model that it is given, in place, by
optimizers that it makes; ``report(epoch, accuracy)`` is a `Report`."""
TrainBySettings = Callable[..., object]
"""train(model, settings, report): the same, by these `Settings`."""
Evaluate = Callable[[nn.Module], float]
"""Gives the accuracy, a share in [0, 1], of the model that it is given."""


@dataclass(frozen=True)
class Outcome:
    """What came of one training: see `Trial`."""

    score: float | None
    seconds: float
    note: str = ""
    values: Values = ()
    stopped: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Judge:
    """Trains copies of a model, and scores them; the same training is worth the same, whoever asks and when.

    Each call works under the same seed, and leaves the model and the global random generators as they were.

    Args:
        model: the pruned one, from whose weights every training starts; never changed.
        mask: what is held while it is trained; None for a dense one.
        evaluate: see `search_activations`.
        seed: of the global generators of torch, numpy and `random`, alike for each training.
    """

    model: nn.Module
    mask: Mask | None
    evaluate: Evaluate
    seed: int

    def __call__(self, fresh: Callable[[], nn.Module], train: Callable[[nn.Module], object], watch: Watch) -> Outcome:
        """Train and score a fresh copy.

        Args:
            fresh: makes it.
            train: trains it in place.
            watch: what the training reports to.

        Raises:
            InvariantBroken: if pruned weights are not zero after ``train``.
            InvalidValue: if ``evaluate`` gives no share.
        """
        begin = time.perf_counter()
        with undisturbed(self.model):
            model = fresh()
            seed_everything(derive_seed(self.seed, "trial"))
            score, note = self._score(model, train, watch)
        return Outcome(score, time.perf_counter() - begin, note, watch.values, watch.stopped and score is not None)

    def _score(self, model: nn.Module, train: Callable[[nn.Module], object], watch: Watch) -> tuple[float | None, str]:
        try:
            with contextlib.suppress(TrialEnds):
                self._train(model, train)
            if watch.note:
                return None, watch.note
            before = _not_finite(self.model)
            odd = [name for name in _not_finite(model) if name not in before]
            if odd:  # before the zeros: NaN that is multiplied by 0 stays NaN
                return None, f"{odd[0]!r} is not finite after the training"
            self._check_zeros(model)
            given = watch.values[-1][1] if watch.stopped else self.evaluate(model)
            score = score_of(given)
        except (FloatingPointError, OverflowError, NotFinite) as error:
            return None, f"{type(error).__name__}: {' '.join(str(error).split())}"
        return score, "" if score is not None else f"the score is {odd_words(given)}"

    def _train(self, model: nn.Module, train: Callable[[nn.Module], object]) -> None:
        with contextlib.nullcontext() if self.mask is None else held(model, self.mask):
            given = train(model)
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


@dataclass(frozen=True, eq=False, kw_only=True)
class Objective:
    """A function from activations to what they are worth.

    Args:
        model, mask, evaluate, seed: see `Judge`.
        train: see `search_activations`.
        example: one batch as the model takes it.
        forward: how to run the model on the example.
    """

    model: nn.Module
    mask: Mask | None
    train: Train
    evaluate: Evaluate
    example: Any
    forward: Forward | None
    seed: int

    def __call__(self, plan: Mapping[str, Activation], watch: Watch | None = None) -> Outcome:
        """Train and score a fresh copy with the activations of a plan.

        Args:
            plan: the activations.
            watch: what ``train`` reports to, as its second argument; None: it has one argument.

        Raises:
            InvariantBroken: if pruned weights are not zero after ``train``.
            InvalidValue: if ``evaluate`` gives no share, or an activation cannot be put in.
        """
        judge = Judge(model=self.model, mask=self.mask, evaluate=self.evaluate, seed=self.seed)
        if watch is None:
            return judge(lambda: self.replaced(plan), self.train, Watch())
        return judge(lambda: self.replaced(plan), lambda model: self.train(model, watch), watch)

    def replaced(self, plan: Mapping[str, Activation]) -> nn.Module:
        """A fresh copy of the pruned model with these activations."""
        return replace_activations(self.model, plan, example=self.example, forward=self.forward)


@dataclass(frozen=True, eq=False, kw_only=True)
class TuningObjective:
    """A function from settings to what they are worth.

    Args:
        model, mask, evaluate, seed: see `Judge`.
        train: see `tune_training`.
    """

    model: nn.Module
    mask: Mask | None
    train: TrainBySettings
    evaluate: Evaluate
    seed: int

    def __call__(self, settings: Mapping[str, Any], watch: Watch) -> Outcome:
        """Train and score a fresh copy by these settings.

        Raises:
            InvariantBroken: if pruned weights are not zero after ``train``.
            InvalidValue: if ``evaluate`` gives no share.
        """
        judge = Judge(model=self.model, mask=self.mask, evaluate=self.evaluate, seed=self.seed)
        return judge(lambda: copy.deepcopy(self.model), lambda model: self.train(model, settings, watch), watch)


def _not_finite(model: nn.Module) -> list[str]:
    """The parameters and buffers that hold NaN or an infinity, as masks of attention do from the start."""
    state = model_state(model)
    return [name for name, tensor in state.items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
