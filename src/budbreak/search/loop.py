"""Search the activations of a network: propose, train, score, again."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from budbreak.checks import check_count, check_function, check_instance, check_model, check_number, shown
from budbreak.errors import InvalidValue, NothingToPrune, nearest
from budbreak.graph import Forward
from budbreak.iteration import check_folder, describe, mask_digest
from budbreak.live import apply_mask, model_digest, model_state
from budbreak.masks import Mask, check_mask, unwrap
from budbreak.search.findings import spelt
from budbreak.search.objective import Evaluate, Objective, Train
from budbreak.search.parameters import Candidate
from budbreak.search.result import SearchResult
from budbreak.search.sampler import Sampler
from budbreak.search.samplers import ALL, LateAcceptance
from budbreak.search.space import Choices, SearchSpace
from budbreak.search.store import SearchStore
from budbreak.search.trial import History, Trial

_LOG = logging.getLogger(__name__)


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
    _check_arguments(train, evaluate, sampler, report)
    _check_numbers(trials, seed, epochs, store)
    pruned = _pruned(model, mask)
    choices = SearchSpace.of(pruned, space, example=example, forward=forward)
    _check_size(choices)
    objective = Objective(
        model=pruned, mask=mask, train=train, evaluate=evaluate, example=example, forward=forward, seed=seed
    )
    _check_units(objective, choices)
    search = _Search(space=choices, sampler=sampler, objective=objective, epochs=epochs, report=report)
    if store is None:
        return search.run(History(), trials, None)
    folder = SearchStore(store)
    history = folder.open(_identity(search, also), choices)
    try:
        return search.run(history, trials, folder)
    finally:
        folder.close()


@dataclass(frozen=True, eq=False, kw_only=True)
class _Search:
    """Proposes and tries."""

    space: SearchSpace
    sampler: Sampler
    objective: Objective
    epochs: float | None
    report: Callable[[History], object] | None

    def run(self, history: History, trials: int | None, store: SearchStore | None) -> SearchResult:
        history = history[:trials]
        if history:
            _LOG.info("%d trials are there already", len(history))
        while trials is None or len(history) < trials:
            candidate = self.sampler.propose(self.space, history, self.objective.seed, len(history))
            if candidate is None:
                break
            trial = self._try(candidate, history)
            if store is not None:
                store.add(len(history), trial)
            history = history.then(trial)
            self._tell(history)
        if not history:
            raise InvalidValue(f"{self.sampler!r} proposes nothing", "a search has one trial at least", "mend it")
        return SearchResult(self.space, history)

    def _try(self, candidate: Candidate, history: History) -> Trial:
        plan = self.space.plan(candidate)
        first = history.first_of(candidate)
        if first is not None:
            before = history[first]
            return Trial(
                candidate=candidate, score=before.score, seconds=0.0, epochs=0.0, same_as=first, note=before.note
            )
        try:
            outcome = self.objective(plan)
        except Exception as error:
            error.add_note(f"in trial {len(history)}: {spelt(plan)}")
            raise
        return Trial(
            candidate=candidate, score=outcome.score, seconds=outcome.seconds, epochs=self.epochs, note=outcome.note
        )

    def _tell(self, history: History) -> None:
        trial, number = history[-1], len(history) - 1
        if trial.diverged:
            _LOG.warning("trial %d diverged (%s), and counts as the worst", number, trial.note)
        else:
            again = "" if trial.same_as is None else f", known from trial {trial.same_as}"
            best = history.best_so_far[-1]
            _LOG.info("trial %d: score %.4f%s; best %.4f", number, trial.score, again, best)
        if self.report is not None:
            self.report(history)


def _check_arguments(train: object, evaluate: object, sampler: object, report: object) -> None:
    check_function("train", train, "lambda model: fit(model)")
    check_function("evaluate", evaluate, "lambda model: accuracy(model)")
    near = nearest(sampler, (kind.__name__ for kind in ALL)) if isinstance(sampler, str) else None
    example = f"bb.search.{near or 'LateAcceptance'}()"
    check_instance("sampler", sampler, ("propose",), example, call=False, choices=ALL)
    if report is not None:
        check_function("report", report, "lambda history: print(history[-1])")


def _check_numbers(trials: int | None, seed: int, epochs: float | None, store: object) -> None:
    if trials is not None:
        check_count("trials", trials)
    check_count("seed", seed, least=0)
    if epochs is not None:
        check_number("epochs", epochs, usual="10", zero=False)
    if store is not None:
        check_folder("store", store, "runs/search")


def _pruned(model: nn.Module, mask: Mask | None) -> nn.Module:
    """A copy of the user's own module, pruned."""
    pruned = copy.deepcopy(unwrap(model))
    if mask is None:
        _check_dense(pruned)
    else:
        check_mask(mask)
        apply_mask(pruned, mask)
    return pruned


def _check_dense(model: nn.Module) -> None:
    try:
        zeros = Mask.from_zeros(model)
    except NothingToPrune:
        return
    if zeros.kept < zeros.total:
        raise InvalidValue(
            f"mask is None, and {zeros.total - zeros.kept} of {zeros.total} weights of the model are 0",
            "without a mask all weights are trained, and pruned ones would come back",
            "give the mask, or write mask=bb.Mask.from_zeros(model); of a dense model mask=bb.Mask.dense(model)",
        )


def _check_size(space: SearchSpace) -> None:
    if space.size == 1:
        raise InvalidValue(
            f"the space has one candidate: {shown(space.plan((0,) * len(space)))}",
            "there is nothing to search: some site must have two activations to choose from",
            "name more; or put these in by bb.replace_activations(model, plan, example=...)",
        )


def _check_units(objective: Objective, space: SearchSpace) -> None:
    """Refuse activations with scalars of units at sites without units before anything is trained."""
    for place in range(max(space.lengths)):
        named = {site: choices[place] for site, choices in space.items() if place < len(choices)}
        plan = {site: activation for site, activation in named.items() if activation.per == "unit"}
        if plan:
            objective.replaced(plan)


def _identity(search: _Search, also: Mapping[str, object] | None) -> dict[str, Any]:
    """What makes two searches the same."""
    objective, model = search.objective, search.objective.model
    return {
        "space": {site: describe(choices) for site, choices in search.space.items()},
        "sampler": describe(search.sampler),
        "seed": objective.seed,
        "model": {name: [list(tensor.shape), str(tensor.dtype)] for name, tensor in model_state(model).items()},
        "modules": {name: f"{type(module).__name__}({module.extra_repr()})" for name, module in model.named_modules()},
        "weights": model_digest(model),
        "mask": None if objective.mask is None else mask_digest(objective.mask),
        "epochs": search.epochs,
        "also": describe(dict(also or {})),
    }
