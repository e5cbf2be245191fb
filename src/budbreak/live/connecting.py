"""Keep a path from an input to each class: as many other weights go."""

from __future__ import annotations

from typing import Any

from torch import nn

from budbreak.errors import InvalidValue
from budbreak.evidence import Evidence, Graph, Weights, check_not_handed_out
from budbreak.graph import Forward, trace
from budbreak.masks import (
    Element,
    Global,
    Mask,
    Quotas,
    Scope,
    Scores,
    check_choices,
    check_exchangeable,
    check_mask,
    kept_in_any_case,
    reselect,
    sparing_weights,
)

PATH_NEEDS = (Graph(), Weights())
"""The probes that `find_paths` reads."""


def connect(
    model: nn.Module,
    mask: Mask,
    example: Any,
    *,
    scores: Scores | None = None,
    scope: Scope | None = None,
    floor: int | float = 0,
    within: Mask | None = None,
    forward: Forward | None = None,
) -> Mask:
    """The mask with a path from an input to each class, and as many weights in each arena of its scope.

    A class that the mask does not reach gets the strongest path of what is alive: the one with the greatest product of
    abs(w); see `budbreak.graph.ModelGraph.paths`. For each weight that comes in, one goes: that with the lowest score
    of those on no path, of equal ones the higher flat index. A mask that reaches all classes is returned as it is.

        mask = bb.connect(model, mask, x, scope=bb.masks.Layer())

    Args:
        model: the live model, its weights not pruned yet; it is left as it is.
        mask: what was selected.
        example: a batch of inputs: see `budbreak.trace`.
        scores: by which the mask was selected, +inf = never prune; abs(w) unless given.
        scope: as the mask was selected: `Layer`, each layer keeps its number; `Rows`, each row; `Global` unless given:
            only the total stays the same.
        floor: how many weights stay in each layer at least, in scope `Global`; see `select`.
        within: what is alive; unless given, what the mask keeps and what is not exactly 0.
        forward: ``forward(model, example)``, if the model is not called with the inputs alone.

    Raises:
        Unreached: if no path of what is alive leads to a class: once pruned weights are set to zero, they are gone.
        InvalidValue: if no path to a class fits in beside the others; if the scope is none of these.
        CannotTrace: if how the model is wired cannot be seen.
        NotFinite: if a weight is NaN or infinite.
        UnknownName, MaskMismatch: if the mask, or what is alive, does not fit the model.
        TooManySpared: if floors, +inf and paths want more to stay than the mask keeps.
    """
    check_mask(mask)
    scope = Global() if scope is None else scope
    check_exchangeable(scope, Element())
    check_choices(scope=scope, granularity=Element(), allocation=None, floor=floor)
    weights = {name: weight.detach() for name, weight in mask.parameters(model).items()}
    if within is None:
        within = Mask.owning({name: mask[name] | (weight != 0).cpu() for name, weight in weights.items()})
    _check_within(mask, within)
    scores = Scores.elementwise(lambda weight: weight.abs(), weights) if scores is None else scores
    evidence = Evidence({Graph(): trace(model, example, forward), Weights(): weights})
    scope = scope.fit(model, lambda name, _, __: name in mask)
    sure = kept_in_any_case(scores, mask)
    paths = find_paths(evidence, mask, Quotas.of(mask, scope, floor), within=within, sure=sure)
    if paths.is_within(mask):
        return mask
    return reselect(sparing_weights(scores, paths), mask, scope=scope, floor=floor, within=mask | paths)


def find_paths(evidence: Evidence, mask: Mask, quotas: Quotas, *, within: Mask, sure: Mask | None = None) -> Mask:
    """One path to each class, and what stays in any case; see `budbreak.graph.ModelGraph.paths`.

    Args:
        evidence: of `PATH_NEEDS`.
        mask: what was selected.
        quotas: how many weights can stay where.
        within: what is alive.
        sure: what of the mask stays in any case.

    Raises:
        Unreached: if no path leads to a class; or what a weight computes goes on as numbers.
        InvalidValue, NotFinite: see `connect`.
    """
    graph = evidence[Graph()]
    check_not_handed_out(graph, mask)
    return graph.paths(mask, evidence[Weights()], quotas=quotas, within=within, sure=sure)


def _check_within(mask: Mask, within: Mask) -> None:
    """Refuse what is alive where the mask keeps more."""
    check_mask(within, "within")
    if not mask.is_within(within):
        name = next(name for name in mask if bool((mask[name] & ~within[name]).any()))
        raise InvalidValue(
            f"the mask keeps more of {name!r} than within",
            "within is what is alive, and what stays is part of it",
            "give within=within | mask, or leave it out",
        )
