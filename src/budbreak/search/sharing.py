"""Searches in Optuna's hands: its storages keep and share trials, its dashboard shows them, our samplers propose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from budbreak.activations import ActivationPlan
from budbreak.checks import check_count, check_instance, shown
from budbreak.errors import InvalidValue
from budbreak.search.optuna_studies import check_optuna, suggested
from budbreak.search.preparing import check_tunes
from budbreak.search.sampler import Sampler
from budbreak.search.samplers import ALL
from budbreak.search.space import SearchSpace
from budbreak.search.translation import Translation
from budbreak.search.tuning_space import Settings, TuningSpace

if TYPE_CHECKING:
    import optuna


def optuna_sampler(sampler: Sampler, space: SearchSpace | TuningSpace, seed: int = 0) -> optuna.samplers.BaseSampler:
    """A sampler for `optuna.create_study`, which proposes what one of ours does: see `suggest` for the other half.

    It keeps nothing: each proposal is made from the trials in the study's storage that are over, in the order in which
    they ended, so that a study goes on from any storage as if it had not been interrupted, and several processes share
    one (threads, ``n_jobs`` of ``optimize``, cannot: they share torch's generators, and the model). Those that run at a
    time do not know of each other: late acceptance is then an asynchronous chain. Trials that failed are as if they had
    not been: what they tried is proposed again. NaN is a failure to Optuna; of a training that diverges an objective
    returns ``-math.inf``. Those that Optuna pruned are stopped ones. Where the sampler proposes nothing more,
    ``study.optimize`` ends; trials that are asked for after that are drawn. Create the study once before several
    processes start: of two that make the tables of a new storage at a time, Optuna lets one fail.

    Args:
        sampler: such as ``LateAcceptance()``.
        space: what is chosen from: ``SearchSpace.of(model, "paper", example=...)``, or a `TuningSpace`.
        seed: of everything random.

    Raises:
        InvalidValue: where Optuna is not installed, or for what is no sampler, space or seed, or a sampler that cannot
            propose settings. Its methods, for a study that does not maximize one value, and for a trial whose value is
            no share in [0, 1].
        StoreMismatch: its methods, for a study of another sampler, space or seed.

    Example:
        .. code-block:: python

            space = bb.search.SearchSpace.of(model, "paper", example=inputs)
            sampler = bb.search.optuna_sampler(bb.search.LateAcceptance(), space)
            shared = {"storage": "postgresql://...", "study_name": "safs", "load_if_exists": True}
            study = optuna.create_study(direction="maximize", sampler=sampler, **shared)
            study.optimize(lambda trial: accuracy(bb.search.suggest(trial, space)))
    """
    check_instance("sampler", sampler, ("propose",), "bb.search.LateAcceptance()", call=False, choices=ALL)
    _check_space(space)
    if isinstance(space, TuningSpace):
        check_tunes("sampler", sampler)
    check_count("seed", seed, least=0)
    check_optuna("optuna_sampler")
    from budbreak.search.optuna_bridge import Bridge

    return Bridge(sampler, space, seed)


@overload
def suggest(trial: optuna.Trial, space: SearchSpace) -> ActivationPlan: ...
@overload
def suggest(trial: optuna.Trial, space: TuningSpace) -> Settings: ...
def suggest(trial: optuna.Trial, space: SearchSpace | TuningSpace) -> ActivationPlan | Settings:
    """What a trial of Optuna tries: the activations of each site, or settings of a training.

    Any sampler of Optuna may have proposed it. Sites and settings are its parameters, activations go by their names.

    Args:
        trial: as the objective of a study is given it.
        space: that of the sampler.

    Raises:
        InvalidValue: for what is no space.
    """
    _check_space(space)
    translation, chosen = Translation.of(space), dict[str, Any]()
    for parameter in translation.parameters:
        chosen[parameter.name] = suggested(trial, parameter) if parameter.active(chosen) else None
    candidate = translation.candidate(chosen)
    return space.plan(candidate) if isinstance(space, SearchSpace) else space.settings(candidate)


def _check_space(space: object) -> None:
    if not isinstance(space, SearchSpace | TuningSpace):
        rule = "it is a SearchSpace or a TuningSpace"
        fix = 'write bb.search.SearchSpace.of(model, "paper", example=inputs)'
        raise InvalidValue(f"space is {shown(space)}", rule, fix)
