"""Prune a live model in one shot."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

from torch import nn
from torch.optim import Optimizer

from budbreak import criteria
from budbreak.checks import check_criterion, check_fraction, check_optimizer
from budbreak.criteria import Criterion, Magnitude, scope_of
from budbreak.errors import InvalidValue
from budbreak.evidence import Samples, check_rereadable, probe
from budbreak.graph import Batches, Forward, Loss
from budbreak.live.emptying import emptying
from budbreak.live.holding import apply_mask
from budbreak.live.ownership import check_ownership
from budbreak.masks import (
    Allocation,
    Asked,
    Element,
    Granularity,
    Mask,
    Prunable,
    Scope,
    check_choices,
    check_collapse,
    check_mask,
    check_rounds,
    check_targets,
    conv_and_linear,
    count_removable,
    exponential_path,
    prunable_parameters,
    sparsity_of,
    survivors,
    warn_of_uncovered,
)


def prune(
    model: nn.Module,
    *,
    sparsity: float,
    criterion: Criterion | None = None,
    scope: Scope | None = None,
    granularity: Granularity | None = None,
    allocation: Allocation | None = None,
    floor: int | float = 0,
    rounds: int | None = None,
    prunable: Prunable = conv_and_linear,
    mask: Mask | None = None,
    optimizer: Optimizer | Sequence[Optimizer] | None = None,
    batches: Batches | None = None,
    loss: Loss | None = None,
    forward: Forward | None = None,
    samples: Samples | None = None,
    allow_collapse: bool = False,
) -> Mask:
    """Prune a model in one shot: its pruned weights are set to zero in place.

    To keep them there through further training, `hold` the returned mask.

    Args:
        model: the live model.
        sparsity: pruned / prunable in the end, in [0, 1): a total, not a step; exactly
            ``round((1 - sparsity) * prunable)`` weights stay. For `Unit` it counts units, those of the classifier
            aside, and the mask's ``sparsity`` of weights is another number; with ``budget="weights"`` it is at least
            this one.
        criterion: `criteria.Magnitude` unless given.
        scope: where scores compete; unless given where the criterion is meant to be used (`criteria.Wanda`: within
            rows), or over all layers.
        granularity: `Element` unless given.
        allocation: divides the target over layers, in scopes `masks.Layer` and `masks.Rows`; `masks.Uniform` if None.
        floor: how many weights stay in each layer at least, or which share of each; units, for `Unit`.
        rounds: in how many rounds it prunes: in each the network is looked at without what is gone by then, and about
            the same share of the rest goes (`masks.exponential_path`). The criterion's own ``rounds`` unless given, one
            if it has none.
        prunable: which weights may go.
        mask: what is still alive; `Mask.from_zeros` unless given, so that zeros stay zeros.
        optimizer: refused if it (or several together) does not hold the pruned parameters, which catches a stale one.
        batches: the calibration set, for criteria that need data.
        loss: for criteria that need gradients.
        forward: how to run the model on a batch, if not ``model(inputs)``.
        samples: over how many terms a batch's mean loss is taken; see `probe`.
        allow_collapse: whether a layer may lose all its weights; if not, `LayerCollapsed` is raised.

    Returns:
        The mask: its ``density`` is what was reached.

    Raises:
        InvalidValue: for a sparsity outside [0, 1), or below what is already pruned; for a name or a class where
            an instance is wanted.
        LayerCollapsed: if a layer would keep no weight.
        TooManySpared: if the criterion spares more than may stay.
        NothingToPrune, MissingEvidence, NotFinite: see `probe` and `select`.

    Whatever is raised, the model is as it was.
    """
    check_fraction("sparsity", sparsity)
    parameters = prunable_parameters(model, prunable)
    if optimizer is not None:
        check_optimizer(optimizer)
        check_ownership(optimizer, dict(parameters))
    criterion = Magnitude() if criterion is None else criterion
    check_criterion(criterion, criteria.ALL)
    if mask is not None:
        check_mask(mask)
    warn_of_uncovered(model, prunable)
    alive = Mask.from_zeros(model, prunable) if mask is None else mask
    granularity = Element() if granularity is None else granularity
    scope = scope_of(criterion, granularity, scope)
    check_choices(scope=scope, granularity=granularity, allocation=allocation, floor=floor)
    scope, granularity = scope.fit(model, prunable), granularity.fit(model, prunable)
    total, living = count_removable(granularity, alive)
    keep = _survivors(sparsity, total, living)
    targets = {f"sparsity is {sparsity}: {keep} stay": (keep, keep)}
    check_targets(alive, targets, scope=scope, granularity=granularity, floor=floor)
    times: int = getattr(criterion, "rounds", 1) if rounds is None else rounds
    path = exponential_path(living, keep, times)
    check_rounds(scope, times, criterion)
    if times > 1:
        check_rereadable(batches, f"each of {times} rounds reads them")

    look = functools.partial(
        probe, model, criterion.needs, batches=batches, loss=loss, forward=forward, prunable=prunable, samples=samples
    )
    asked = Asked(f"sparsity is {sparsity}", criterion, scope, granularity, allocation, floor)

    def remove(within: Mask, keep: int) -> Mask:
        scores = criterion(look())
        if times > 1 and keep == path[0]:  # more rounds come: what the last one cannot reach is known now
            asked.check(scores, path[-1], within)
        chosen = asked.select(scores, keep, within)
        check_collapse(chosen, before=within, allowed=allow_collapse)
        return chosen

    with emptying(model) as empty:
        if mask is not None:
            empty(mask)
        chosen = _in_rounds(remove, path, alive, empty)
    apply_mask(model, chosen)
    return chosen


def _in_rounds(
    remove: Callable[[Mask, int], Mask], path: Sequence[int], alive: Mask, empty: Callable[[Mask], None]
) -> Mask:
    """Each round looks at the network without what is gone by then."""
    chosen = remove(alive, path[0])
    for before, after in itertools.pairwise(path):
        if after < before:
            empty(chosen)
            chosen = remove(chosen, after)
    return chosen


def _survivors(sparsity: float, total: int, alive: int) -> int:
    keep = survivors(sparsity, total)
    if keep > alive:
        raise InvalidValue(
            f"sparsity is {sparsity}: {keep} of {total} would stay, but only {alive} are alive",
            "sparsity is a total, and what was pruned does not come back; exact zeros count as pruned unless a mask "
            "says otherwise",
            f"give at least {sparsity_of(alive, total)}" if alive else "give mask=bb.Mask.dense(model)",
        )
    return keep
