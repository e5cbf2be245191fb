"""From scores to a mask: exact counts, ties by index, in streaming passes without concatenation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from budbreak.checks import check_count, shown
from budbreak.errors import InvalidValue, MaskMismatch, did_you_mean
from budbreak.masks.allocations import Allocation
from budbreak.masks.budgets import choose_within
from budbreak.masks.choices import check_choices
from budbreak.masks.contest import Contest, Scope
from budbreak.masks.floors import check_floors, floors_of
from budbreak.masks.granularity import Element, Granularity, has_budget
from budbreak.masks.mask import Mask, check_mask
from budbreak.masks.scopes import FittedRows, Global, Rows, keep_in_rows
from budbreak.masks.scores import Scores
from budbreak.masks.threshold import capacity, count_below


def select(
    scores: Scores,
    keep: int,
    *,
    scope: Scope | None = None,
    granularity: Granularity | None = None,
    allocation: Allocation | None = None,
    floor: int | float = 0,
    within: Mask | None = None,
) -> Mask:
    """Keep exactly the ``keep`` highest scores: of weights, or of what goes as one.

    Of equal scores the lower flat index is kept (entries in the order of ``scores``, elements in logical C
    order, whatever the memory format). Memory beyond the mask: the scores near the threshold, and one slice.

    Args:
        scores: higher = keep, +inf = never prune; float64, float32, bfloat16 or float16.
        keep: how many stay, of what the granularity counts: weights, units, blocks; 0 to all that compete. For
            ``Unit(budget="weights")``: how many weights stay at most.
        scope: where scores compete: `Global` unless given.
        granularity: what goes as one; `Element` unless given. There is no model here, so units are given by their
            dimension, ``Unit(dim=0)``, and none are spared; or fitted: ``Unit().fit(model)``.
        allocation: divides ``keep`` over layers, for the scopes `Layer` and `Rows`: `Uniform` unless given.
        floor: how many stay in each layer at least, of what ``keep`` counts; all that are alive, where they are
            fewer. A float: that share of the layer, rounded up.
        within: only what this mask keeps competes, and nothing else is kept.

    Raises:
        InvalidValue: if keep is out of range.
        TooManySpared: if it would prune what has score +inf.
        NotFinite: if a competing score is NaN; names the layer.
        MaskMismatch: if ``within`` does not fit the scores.
    """
    check_scores(scores, within)
    scope = Global() if scope is None else scope
    granularity = Element() if granularity is None else granularity
    check_choices(scope=scope, granularity=granularity, allocation=allocation, floor=floor)
    contest = contest_of(scores, keep, granularity=granularity, allocation=allocation, floor=floor, within=within)
    if has_budget(granularity):
        kept = _choose_within(scope, contest, granularity, _alive(scores, within))
    else:
        _check_keep(keep, sum(contest.capacities.values()))
        check_floors(floor, contest.floors, keep, f"keep is {keep}")
        kept = scope.choose(contest)
    mask = _spread(kept, scores, granularity, within)
    if isinstance(granularity, Element) and mask.kept != keep:
        raise InvalidValue(f"{scope} kept {mask.kept}", f"{keep} were to be kept", "mend its choose")
    return mask


def reselect(scores: Scores, mask: Mask, *, scope: Scope, floor: int | float = 0, within: Mask) -> Mask:
    """The highest scores, as many in each arena of a scope as a mask keeps there, whatever else had an influence on it.

    Args:
        scores: higher = keep, +inf = never prune.
        mask: how many stay.
        scope: `Global`, `Layer` or `Rows`, fitted to the model.
        floor: of scope `Global`: see `select`.
        within: what competes: in each arena at least so many.

    Raises:
        TooManySpared, InvalidValue, NotFinite, MaskMismatch: see `select`.
    """
    if isinstance(scope, Rows | FittedRows):
        check_scores(scores, within)
        return Mask.owning(keep_in_rows(scores, mask, within, scope))
    counts = {name: mask.kept_in(name) for name in mask}
    if not scope.divides:
        return select(scores, mask.kept, scope=scope, floor=floor, within=within)
    return select(scores, mask.kept, scope=scope, allocation=lambda _, __, ___: counts, within=within)


def contest_of(
    scores: Scores,
    keep: int,
    *,
    granularity: Granularity,
    allocation: Allocation | None,
    floor: int | float,
    within: Mask | None,
) -> Contest:
    """What competes in a selection; see `select`."""
    entries = dict.fromkeys(scores) if within is None else {name: within[name] for name in scores}
    merged = {name: granularity.merge(name, score, entries[name]) for name, score in scores.items()}
    limits = None if within is None else {name: granularity.shrink(name, within[name]) for name in scores}
    capacities = {name: capacity(score, limits, name) for name, score in merged.items()}
    floors = floors_of(floor, {name: score.shape.numel() for name, score in merged.items()}, capacities)
    spared = frozenset(name for name, score in scores.items() if score.spared)
    return Contest(merged, keep, limits, floors, allocation, spared)


def _alive(scores: Scores, within: Mask | None) -> Mapping[str, Tensor]:
    if within is not None:
        return within
    return {name: torch.ones(score.shape, dtype=torch.bool) for name, score in scores.items()}


def _choose_within(
    scope: Scope, contest: Contest, granularity: Granularity, alive: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """What is kept where ``keep`` is a budget of weights; those that are spared are part of it."""
    sizes = {name: cast(Any, granularity).weigh(name, alive[name]) for name in contest.scores}
    check_count("keep", contest.keep, least=0)
    spared = sum(int(entry.count_nonzero()) for entry in alive.values()) - sum(
        int(size.sum()) for size in sizes.values()
    )
    return choose_within(scope, contest, sizes, contest.keep - spared)


def _spread(kept: Mapping[str, Tensor], scores: Scores, granularity: Granularity, within: Mask | None) -> Mask:
    """The mask of single weights, from what is kept of what goes as one."""
    spread = {name: granularity.spread(name, kept[name], scores[name].shape) for name in scores}
    if within is not None and not isinstance(granularity, Element):
        spread = {name: entry & within[name] for name, entry in spread.items()}
    return Mask.owning(spread)


def competing(scores: Scores, within: Mask | None = None, *, floor: int | float = 0) -> int:
    """How many weights may be pruned: those kept by ``within`` whose score is below +inf, and the floor can spare."""
    limits = None if within is None else {name: within[name] for name in scores}
    below = {name: count_below({name: score}, limits, math.inf) for name, score in scores.items()}
    capacities = {name: capacity(score, limits, name) for name, score in scores.items()}
    floors = floors_of(floor, {name: score.shape.numel() for name, score in scores.items()}, capacities)
    return sum(min(below[name], capacities[name] - floors[name]) for name in scores)


# --- checks ------------------------------------------------------------------------------------------------


def check_scores(scores: object, within: Mask | None) -> None:
    """Refuse what are no scores, and those that do not fit a mask.

    Raises:
        InvalidValue, MaskMismatch: with what is amiss.
    """
    if not isinstance(scores, Scores):
        raise InvalidValue(
            f"scores is {shown(scores)}",
            "it must be Scores",
            "write bb.Scores.of({name: tensor}), or criterion(evidence)",
        )
    if within is not None:
        check_mask(within, "within")
        _check_within(scores, within)


def _check_within(scores: Scores, within: Mask) -> None:
    for name in within:
        if name not in scores:
            raise MaskMismatch(
                f"there are no scores for {name!r}",
                "a criterion scores every weight that the mask covers",
                did_you_mean(name, scores) or "score it too, or leave it out of within",
            )
    for name, score in scores.items():
        if within[name].shape != score.shape:
            raise MaskMismatch(
                f"within[{name!r}] has shape {tuple(within[name].shape)}, the scores {tuple(score.shape)}",
                "a mask entry has the shape of its weight",
            )


def _check_keep(keep: int, capacity: int) -> None:
    check_count("keep", keep, least=0)
    if keep > capacity:
        raise InvalidValue(f"keep is {keep}", f"only {capacity} compete", f"keep at most {capacity}")
