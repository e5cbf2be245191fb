"""Carry out what follows the last pruning where activations are searched, or put in: trials, and the last training."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from budbreak.activations import ActivationPlan
from budbreak.errors import NotFinite
from budbreak.iteration import EndingRule
from budbreak.recipes import ActivationsSection, Setup, TuneSection, with_settings
from budbreak.results import VALIDATION_ACCURACY, Notes, compact_once
from budbreak.search import Candidate, History, SearchSpace, Trial, TuningSpace, Values
from budbreak.studies.chosen import PLAN, write_curves
from budbreak.studies.making import until_retrained
from budbreak.studies.prunednetwork import PrunedNetwork, of_epochs, space_of
from budbreak.studies.stops import Stops
from budbreak.studies.task import Kind, Task
from budbreak.studies.trainer import Tell
from budbreak.studies.trialfile import read_history, read_trial, write_trial
from budbreak.studies.weights import save_weights

_KEPT = ("task.json", "notes.json", "trial.json", "task.lock")  # of the folder of a trial that is over


@dataclass(frozen=True)
class _Stage:
    """One search: of activations, or of hyper-parameters, with the activations that were found before.

    Args:
        space: of the sampler.
        section: what is asked.
        trial: the kind of its trials.
        plan, setup: of a candidate.
    """

    space: SearchSpace | TuningSpace
    section: ActivationsSection | TuneSection
    trial: Kind
    plan: Callable[[Candidate], ActivationPlan | None]
    setup: Callable[[Candidate], Setup]


def _stage_of(pruned: PrunedNetwork) -> _Stage:
    setup = pruned.task.setup
    if pruned.task.kind in ("trial", "finalist"):
        space = space_of(setup, pruned.bench.model, pruned.bench.example)
        return _Stage(space, setup.activations, "trial", space.plan, lambda candidate: setup)
    settings, plan = setup.tune.choices(setup.train.epochs), chosen_plan(pruned.space, pruned.task)
    return _Stage(
        settings, setup.tune, "tuning", lambda _: plan, lambda candidate: tuned_setup(setup, settings, candidate)
    )


def tuned_setup(setup: Setup, space: TuningSpace, candidate: Candidate) -> Setup:
    """The setup with the settings that a candidate chooses in its ``[train]``.

    Raises:
        InvalidValue, UnknownName: if they are none.
    """
    return with_settings(setup, space.settings(candidate))


def _try(task: Task, tell: Tell) -> None:
    """A trial: what the sampler proposes after those that are over."""
    pruned = PrunedNetwork.of(task)
    stage, seen = _stage_of(pruned), task.needed(task.kind)
    history = read_history(seen)
    stopped = len(history) < len(seen)
    proposed = None if stopped else stage.section.sampler.propose(stage.space, history, task.seed, task.number)
    first = None if proposed is None else history.first_of(proposed)
    if proposed is None:
        write_trial(task, None)
    elif first is not None:
        write_trial(task, replace(history[first], seconds=0.0, epochs=0.0, values=(), same_as=first))
    else:
        rule = stage.section.stop
        until = None if rule is None else Stops(rule, history, task.number, task.seed)
        _score(pruned, stage, proposed, tell, epochs=stage.section.epochs, until=until)


def _try_finalist(task: Task, tell: Tell) -> None:
    """One of the best, trained for as long as the last training takes."""
    pruned = PrunedNetwork.of(task)
    stage = _stage_of(pruned)
    best = read_history(task.needed(stage.trial)).ranked
    if task.number >= len(best):
        write_trial(task, None)
    else:
        _score(pruned, stage, best[task.number], tell, epochs=task.setup.epochs_last)


def _score(
    pruned: PrunedNetwork,
    stage: _Stage,
    candidate: Candidate,
    tell: Tell,
    *,
    epochs: int,
    until: EndingRule | None = None,
) -> None:
    """Train a candidate, and keep its validation accuracy at the end; one that diverges has none."""
    begin, score, values, note = time.perf_counter(), None, Values(()), ""
    try:
        notes = pruned.train(stage.plan(candidate), stage.setup(candidate), tell, epochs=epochs, until=until)
        values = tuple((point.epoch, point.numbers[VALIDATION_ACCURACY.name]) for point in notes.curve(0)[1:])
        score, spent = values[-1][1], len(values)
    except (NotFinite, FloatingPointError, OverflowError) as error:
        note = f"{type(error).__name__}: {' '.join(str(error).split())}"
        over = len(Notes(pruned.task.folder, pruned.task.identity).curve(0)[1:])
        spent = min(epochs, over + 1)  # it diverged in the next one
    trial = Trial(
        candidate=candidate,
        score=score,
        seconds=time.perf_counter() - begin,
        epochs=float(spent),
        values=values,
        stopped=0 < len(values) < epochs,
        note=note,
    )
    write_trial(pruned.task, trial)
    _drop_store(pruned.task.folder)


def _drop_store(folder: Path) -> None:
    """The weights of a trial that is over: nobody reads them again."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in _KEPT:
            path.unlink()


def _finish(task: Task, tell: Tell) -> None:
    """The last training, with the best activations and hyper-parameters."""
    pruned = PrunedNetwork.of(task)
    setup, plan = chosen_setup(task), chosen_plan(pruned.space, task)
    lasting = of_epochs(setup, setup.epochs_last)
    trainer = pruned.trainer(plan, lasting, tell, until_retrained(setup), tested=True)
    pruned.train_with(trainer, setup)
    if plan is not None:
        plan.save(task.folder / PLAN)
        write_curves(task.folder, trainer.model, plan)
    save_weights(task.folder, trainer.model)
    if task.setup.measure.compact:
        compact_once(task.folder, task.identity, trainer.model, pruned.bench.data.parts.train)


def chosen_plan(space: SearchSpace | None, task: Task) -> ActivationPlan | None:
    """The activations of the last training: of the best finalist, else of the best trial, else the given ones.

    Raises:
        NotFinite: if all trials diverged.
    """
    if space is None:
        return None
    asked = task.setup.activations
    plan = space.plan(_winner(task, "trial", "finalist") if asked.searches else (0,) * len(space))
    return plan.trained(True, per=asked.per) if asked.trainable else plan


def chosen_setup(task: Task) -> Setup:
    """The setup of the last training, with the hyper-parameters that were found.

    Raises:
        NotFinite: if all trials diverged.
    """
    setup = task.setup
    if not setup.tune.searches:
        return setup
    return tuned_setup(setup, setup.tune.choices(setup.train.epochs), _winner(task, "tuning", "tuned"))


def _winner(task: Task, trial: Kind, finalist: Kind) -> Candidate:
    finalists = [read_trial(need) for need in task.needed(finalist)]
    scored = History(tuple(one for one in finalists if one is not None and one.score is not None))
    return (scored or read_history(task.needed(trial))).best_trial().candidate


CARRIED_OUT: Mapping[str, Callable[[Task, Tell], None]] = {
    "trial": _try,
    "finalist": _try_finalist,
    "tuning": _try,
    "tuned": _try_finalist,
    "final": _finish,
}
"""The kind of a task -> what carries it out."""
