"""Search the activations of a network: propose, train, score, again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from torch import nn

from budbreak.checks import check_function, check_instance, check_model
from budbreak.graph import Forward
from budbreak.iteration import describe
from budbreak.masks import Mask
from budbreak.search.findings import spelt
from budbreak.search.objective import Evaluate, Objective, Train
from budbreak.search.preparing import check_numbers, check_report, check_size, model_identity, pruned_copy
from budbreak.search.result import SearchResult
from budbreak.search.sampler import Sampler
from budbreak.search.samplers import ALL, FAMILY, LateAcceptance
from budbreak.search.space import Choices, SearchSpace
from budbreak.search.stopping import StoppingRule, check_stopping
from budbreak.search.trial import History
from budbreak.search.trying import Loop


def search_activations(
    model: nn.Module,
    mask: Mask | None = None,
    *,
    train: Train,
    evaluate: Evaluate,
    example: Any,
    space: Choices = "paper",
    sampler: Sampler = LateAcceptance(),
    trials: int | None = None,
    stop: StoppingRule | None = None,
    store: str | Path | None = None,
    forward: Forward | None = None,
    seed: int = 0,
    epochs: float | None = None,
    also: Mapping[str, object] | None = None,
    report: Callable[[History], object] | None = None,
) -> SearchResult:
    """Search an activation for each site of a network: the first stage of SAFS.

    A sampler proposes candidates. Each is put into a fresh copy of the model as it is now, trained by ``train`` and
    scored by ``evaluate``. While ``train`` runs, what the mask prunes is held at zero through the steps of whatever
    optimizers of torch it makes, and afterwards it is checked that all of it is zero. Every training starts from the
    same weights and from the same seed of all global random generators; a candidate that was tried before is not
    trained again. The model itself, its modes and the generators are left as they were.

    A training that diverges is a trial without a score, worse than any: where ``evaluate`` returns NaN, weights are not
    finite, or FloatingPointError, OverflowError or `NotFinite` is raised. Whatever else is raised ends the search.

    Args:
        model: pruned, or dense.
        mask: what is alive. None for a dense model.
        train: trains the model that it is given, in place, and makes its optimizer itself, say by
            ``torch.optim.SGD(bb.activations.parameter_groups(model), ...)``: scalars are among the parameters. What it
            draws from beside the global generators (a `torch.Generator`, a loader that has one) it makes anew. What it
            returns is not looked at. The model comes in the mode, of training or not, that it has now.
        evaluate: the accuracy of the model that it is given: a share in [0, 1], on data that are neither those of
            ``train`` nor the test set.
        example: one batch as the model takes it, see `trace`.
        space: what to choose from: see `SearchSpace.of`.
        sampler: proposes candidates.
        trials: at most so many, those counted that a store holds already, and those whose candidate was tried before;
            None: until the sampler stops.
        stop: ends trials that are not worth going on, such as `Lagging` (quantile=0.1). ``train`` is then called as
            ``train(model, report)``, and calls ``report(epoch, accuracy)`` after each epoch, from 1, with what
            ``evaluate`` gives by then; that does not return where the trial ends. Its score is the last accuracy.
        store: a folder in which the search survives being killed: each trial is written as soon as it is over, and the
            same call goes on from there, as if it had not been interrupted. It may go on with more ``trials``.
        forward: how to run the model on the example, if not ``model(example)``.
        seed: of everything random.
        epochs: that ``train`` takes, > 0, for the record of what a search costs.
        also: what else must be as it was when the store is used again, by name: data, settings of the training.
            ``train`` and ``evaluate`` themselves are not compared.
        report: called after each trial with the history so far; the trial is ``history[-1]``.

    Raises:
        NoSites: if the model calls no activation.
        UnknownName: for a space, or a site, that there is not.
        InvalidValue: for a space with one candidate, for what an argument must not be, for an evaluation that is no
            share, where an activation cannot be put in; for a model with zeros among its weights and no mask.
        UnknownName, MaskMismatch: if the mask does not fit the model.
        InvariantBroken: if pruned weights are not zero after ``train``: which.
        StoreBusy, StoreMismatch, CorruptFile, CannotWrite: if the store cannot be used.
    """
    check_model(model)
    _check_arguments(train, evaluate, sampler)
    check_report(report)
    check_numbers(trials, seed, epochs, store)
    if stop is not None:
        check_stopping(stop)
    pruned = pruned_copy(model, mask)
    choices = SearchSpace.of(pruned, space, example=example, forward=forward)
    fix = "name more for some site; or put these in by bb.replace_activations(model, plan, example=...)"
    check_size(choices, choices.plan((0,) * len(choices)), fix)
    objective = Objective(
        model=pruned, mask=mask, train=train, evaluate=evaluate, example=example, forward=forward, seed=seed
    )
    _check_units(objective, choices)
    loop = Loop(
        space=choices,
        sampler=sampler,
        outcome=lambda candidate, watch: objective(choices.plan(candidate), None if stop is None else watch),
        spelt=lambda candidate: spelt(choices.plan(candidate)),
        stop=stop,
        seed=seed,
        epochs=epochs,
        report=report,
    )
    return SearchResult(choices, loop.stored(trials, store, _identity(loop, objective, also)))


def _check_arguments(train: object, evaluate: object, sampler: object) -> None:
    check_function("train", train, "lambda model: fit(model)")
    check_function("evaluate", evaluate, "lambda model: accuracy(model)")
    example = f"bb.search.{(FAMILY.near(sampler) or LateAcceptance).__name__}()"
    check_instance("sampler", sampler, ("propose",), example, call=False, choices=ALL)


def _check_units(objective: Objective, space: SearchSpace) -> None:
    """Refuse activations with scalars of units at sites without units before anything is trained."""
    for place in range(max(space.lengths)):
        named = {site: choices[place] for site, choices in space.items() if place < len(choices)}
        plan = {site: activation for site, activation in named.items() if activation.per == "unit"}
        if plan:
            objective.replaced(plan)


def _identity(loop: Loop, objective: Objective, also: Mapping[str, object] | None) -> dict[str, Any]:
    """What makes two searches the same."""
    return {
        "space": {site: describe(choices) for site, choices in cast("SearchSpace", loop.space).items()},
        "sampler": describe(loop.sampler),
        "stop": describe(loop.stop),
        "seed": loop.seed,
        "epochs": loop.epochs,
        **model_identity(objective.model, objective.mask, also),
    }
