"""Tune the training of a network: propose settings, train, score, again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from budbreak.activations import Activation
from budbreak.checks import check_function, check_instance, check_model
from budbreak.errors import InvalidValue
from budbreak.graph import Forward
from budbreak.iteration import describe
from budbreak.live import replace_activations
from budbreak.masks import Mask
from budbreak.search.objective import Evaluate, TrainBySettings, TuningObjective
from budbreak.search.preparing import (
    check_numbers,
    check_reach,
    check_report,
    check_size,
    check_tunes,
    model_identity,
    pruned_copy,
)
from budbreak.search.result import Found
from budbreak.search.sampler import Sampler
from budbreak.search.samplers import TPE, TUNER_FAMILY, TUNERS
from budbreak.search.stopping import StoppingRule, check_stopping
from budbreak.search.trial import History
from budbreak.search.trying import Loop
from budbreak.search.tuning_space import Settings, TuningChoices, TuningSpace
from budbreak.values import inline


@dataclass(frozen=True)
class TuningResult(Found):
    """All trials of a tuning, and the best of them.

    The score of the best of many is a little too high, as it was chosen for it: measure the network that you train in
    the end on data that neither ``train`` nor ``evaluate`` has seen.
    """

    space: TuningSpace
    history: History

    @property
    def settings(self) -> Settings:
        """Those of the best trial.

        Raises:
            NotFinite: if all of them diverged.
        """
        return self.space.settings(self.best.candidate)

    def top(self, count: int) -> tuple[Settings, ...]:
        """The settings of the highest scores, the best first, each once; those of stopped trials come last."""
        return tuple(self.space.settings(candidate) for candidate in self.history.ranked[:count])


def tune_training(
    model: nn.Module,
    mask: Mask | None = None,
    *,
    train: TrainBySettings,
    evaluate: Evaluate,
    space: TuningChoices = "safs",
    tuner: Sampler = TPE(),
    trials: int | None = None,
    stop: StoppingRule | None = None,
    plan: Mapping[str, Activation] | None = None,
    example: Any = None,
    forward: Forward | None = None,
    store: str | Path | None = None,
    seed: int = 0,
    epochs: int | None = None,
    also: Mapping[str, object] | None = None,
    report: Callable[[History], object] | None = None,
) -> TuningResult:
    """Search the settings of a training: the second stage of SAFS.

    A tuner proposes settings; a fresh copy of the model as it is now is trained with them by ``train``, and scored by
    ``evaluate``. Masks, seeds, equal candidates, trainings that diverge and errors are as in `search_activations`.

    Args:
        model: pruned, or dense.
        mask: what is alive. None for a dense model.
        train: called as ``train(model, settings, report)``. It trains the model in place with the settings, which are
            plain forms: of the spaces with a name those of a recipe's ``[train]``,
            ``{"optimizer": {"is": "sgd", "learning_rate": 0.01, ...}, "schedule": "cosine"}``, of which
            ``budbreak.training.equip`` makes live ones; of your own space whatever that says. After each epoch, from 1,
            it may call ``report(epoch, accuracy)`` with what ``evaluate`` gives by then: that is recorded, and does not
            return where the trial ends, by ``stop`` or as it is NaN.
        evaluate: see `search_activations`.
        space: what to choose from, see `TuningSpace`: "safs" or "paper", both of which need ``epochs``; or your own,
            ``{"rate": {"low": 1e-4, "high": 0.1, "log": True}, "optimizer": {"choose": ["sgd", "adam"]}}``.
        tuner: proposes settings: `TPE`, `RandomSearch`, or `SMAC`, with which SAFS tunes; or yours.
        trials: at most so many; None: until the tuner stops.
        stop: ends trials that are not worth going on: `Hyperband`, `Lagging`, or yours. The score of such a trial is
            the last accuracy that it reported; it is the best only where no other has a score.
        plan: activations that are put in first, which are then trained if they are trainable: say
            ``result.plan.trained()`` of a search; None: the model's own.
        example: one batch as the model takes it, where there is a plan.
        forward: how to run the model on the example, if not ``model(example)``.
        store: see `search_activations`.
        seed: of everything random.
        epochs: that ``train`` takes, a whole number.
        also: what else must be as it was when the store is used again, by name.
        report: called after each trial with the history so far.

    Raises:
        UnknownName: for a space that there is not.
        InvalidValue: for a space with one candidate, for what an argument must not be, for an accuracy that is no
            share; where Optuna, or SMAC, is not installed; for a model with zeros among its weights and no mask.
        UnknownName, MaskMismatch: if the mask, or the plan, does not fit the model.
        InvariantBroken: if pruned weights are not zero after ``train``: which.
        StoreBusy, StoreMismatch, CorruptFile, CannotWrite: if the store cannot be used.
    """
    check_model(model)
    _check_arguments(train, evaluate, tuner)
    check_report(report)
    check_numbers(trials, seed, epochs, store)
    check_reach(tuner, trials)
    if stop is not None:
        check_stopping(stop)
    choices = TuningSpace.of(space, epochs)
    check_size(choices, choices.plain(), "write a range or a choice of two at least")
    pruned = _with_plan(pruned_copy(model, mask), plan, example, forward)
    objective = TuningObjective(model=pruned, mask=mask, train=train, evaluate=evaluate, seed=seed)
    loop = Loop(
        space=choices,
        sampler=tuner,
        outcome=lambda candidate, watch: objective(choices.settings(candidate), watch),
        spelt=lambda candidate: inline(choices.settings(candidate)),
        stop=stop,
        seed=seed,
        epochs=epochs,
        report=report,
    )
    return TuningResult(choices, loop.stored(trials, store, _identity(loop, choices, pruned, mask, also)))


def _with_plan(
    model: nn.Module, plan: Mapping[str, Activation] | None, example: Any, forward: Forward | None
) -> nn.Module:
    if plan is None:
        return model
    if example is None:
        rule = "how activations are put in is seen by running the model once"
        raise InvalidValue("there is a plan, and no example", rule, "give example=inputs, one batch")
    return replace_activations(model, plan, example=example, forward=forward)


def _identity(
    loop: Loop, space: TuningSpace, model: nn.Module, mask: Mask | None, also: Mapping[str, object] | None
) -> dict[str, Any]:
    """What makes two tunings the same; the plan is in the modules of the model."""
    return {
        "space": space.plain(),
        "tuner": describe(loop.sampler),
        "stop": describe(loop.stop),
        "seed": loop.seed,
        "epochs": loop.epochs,
        **model_identity(model, mask, also),
    }


def _check_arguments(train: object, evaluate: object, tuner: object) -> None:
    check_function("train", train, "lambda model, settings, report: fit(model, settings)")
    check_function("evaluate", evaluate, "lambda model: accuracy(model)")
    example = f"bb.search.{(TUNER_FAMILY.near(tuner) or TPE).__name__}()"
    check_instance("tuner", tuner, ("propose",), example, call=False, choices=TUNERS)
    check_tunes("tuner", tuner, example)
