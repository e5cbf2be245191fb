"""From scores to a mask: exact counts, ties by index, in streaming passes without concatenation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Literal, Protocol

import torch
from torch import Tensor

from budbreak.checks import check_count, check_function, check_granularity, exact, shown
from budbreak.errors import InvalidValue, LayerCollapsed, MaskMismatch, did_you_mean
from budbreak.masks.granularity import Element, Granularity
from budbreak.masks.mask import Mask, check_mask
from budbreak.masks.scores import Scores
from budbreak.masks.threshold import capacity, count_below, select_competing

Scope = Literal["global", "layer"]


class Allocation(Protocol):
    """How a target is divided over layers (scope "layer"): ``(shapes, capacities, keep) -> name -> keep``."""

    def __call__(
        self, shapes: Mapping[str, torch.Size], capacities: Mapping[str, int], keep: int, /
    ) -> Mapping[str, int]:
        """Divide ``keep`` exactly; no layer gets more than its capacity."""
        ...


def select(
    scores: Scores,
    keep: int,
    *,
    scope: Scope = "global",
    granularity: Granularity | None = None,
    allocation: Allocation | None = None,
    within: Mask | None = None,
) -> Mask:
    """Keep exactly the ``keep`` highest scores.

    Of equal scores the lower flat index is kept (entries in the order of ``scores``, elements in logical C
    order, whatever the memory format). Memory beyond the mask: the scores near the threshold, and one slice.

    Args:
        scores: higher = keep, +inf = never prune; float64, float32, bfloat16 or float16.
        keep: how many stay: weights for `Element`, units for `Unit`; 0 to all that compete.
        scope: ``"global"``: all compete; ``"layer"``: within each layer, by ``allocation``.
        granularity: what goes as one; `Element` unless given. There is no model here, so units are given by their
            dimension, ``Unit(dim=0)``, and none are spared; or fitted: ``Unit().fit(model)``.
        allocation: divides ``keep`` over layers; the same density everywhere unless given.
        within: only what this mask keeps competes, and nothing else is kept.

    Raises:
        InvalidValue: if keep is out of range, or would prune what has score +inf.
        NotFinite: if a competing score is NaN; names the layer.
        MaskMismatch: if ``within`` does not fit the scores.
    """
    _check(scores, scope, allocation, within)
    granularity = Element() if granularity is None else granularity
    check_granularity(granularity)
    merged = {
        name: granularity.merge(name, score, None if within is None else within[name]) for name, score in scores.items()
    }
    limits = None if within is None else {name: granularity.shrink(name, within[name]) for name in scores}
    capacities = {name: capacity(score, limits, name) for name, score in merged.items()}
    _check_keep(keep, sum(capacities.values()))
    if scope == "global":
        kept = select_competing(merged, keep, limits)
    else:
        shapes = {name: score.shape for name, score in merged.items()}
        shares = (allocation or proportional)(shapes, capacities, keep)
        _check_shares(shares, capacities, keep)
        kept = {name: select_competing({name: score}, shares[name], limits)[name] for name, score in merged.items()}
    return _spread(kept, scores, granularity, within)


def _spread(kept: Mapping[str, Tensor], scores: Scores, granularity: Granularity, within: Mask | None) -> Mask:
    """The mask of single weights, from what is kept of what goes as one."""
    spread = {name: granularity.spread(name, kept[name], scores[name].shape) for name in scores}
    if within is not None and not isinstance(granularity, Element):
        spread = {name: entry & within[name] for name, entry in spread.items()}
    return Mask.owning(spread)


def survivors(sparsity: float | Fraction, total: int) -> int:
    """How many of ``total`` stay: ``round((1 - sparsity) * total)``, in the decimal digits of ``sparsity``.

    >>> survivors(0.9, 15), round((1 - 0.9) * 15)  # 1.5 rounds to even; the float falls short of it
    (2, 1)
    """
    return round((1 - exact(sparsity)) * total)


def check_collapse(mask: Mask, *, before: Mask, allowed: bool) -> None:
    """Refuse a mask that cuts the network in two, unless ``allowed``.

    Args:
        mask: what would stay.
        before: what was alive: a layer without weights there is said to have had none.
        allowed: whether a layer may lose all its weights.

    Raises:
        LayerCollapsed: with the first layer that keeps nothing.
    """
    collapsed = mask.collapsed()
    if not collapsed or allowed:
        return
    name = collapsed[0]
    if before.kept_in(name) == 0:
        raise LayerCollapsed(
            f"{name!r} has no living weight before the pruning already",
            "no signal passes a layer without weights; exact zeros count as pruned unless a mask says otherwise",
            "give mask=bb.Mask.dense(model) if its zeros are alive, or allow_collapse=True to see what happens",
        )
    raise LayerCollapsed(
        f"{name!r} would lose all its weights at density {mask.density:.4f}",
        "no signal passes a layer without weights",
        "stop at a higher density, use scope='layer', or allow_collapse=True to see what happens",
    )


def proportional(shapes: Mapping[str, torch.Size], capacities: Mapping[str, int], keep: int) -> dict[str, int]:
    """The same density in every layer, exactly ``keep`` in total, no layer above its capacity.

    What a full layer cannot take is divided among the others by size; remainders go to the largest
    fractions, of equal ones to the earlier layer.

    >>> sizes = {"a": torch.Size([6]), "b": torch.Size([3])}
    >>> proportional(sizes, {"a": 6, "b": 3}, 4)
    {'a': 3, 'b': 1}
    """
    shares = dict.fromkeys(shapes, 0)
    room = {name: capacities[name] for name in shapes if capacities[name] > 0}
    left = keep
    while left > 0:
        size = sum(shapes[name].numel() for name in room)
        # exact: floats miscount beyond 2^53, and equal remainders must stay equal
        ideal = {name: Fraction(left * shapes[name].numel(), size) for name in room}
        full = [name for name in room if ideal[name] >= room[name]]
        if not full:
            for name, extra in _largest_remainders(ideal, left, room).items():
                shares[name] += extra
            break
        for name in full:
            shares[name] += room[name]
            left -= room.pop(name)
    return shares


def _largest_remainders(ideal: Mapping[str, Fraction], total: int, room: Mapping[str, int]) -> dict[str, int]:
    whole = {name: min(math.floor(share), room[name]) for name, share in ideal.items()}
    order = sorted(ideal, key=lambda name: whole[name] - ideal[name])  # stable: the earlier layer of equal ones
    missing = total - sum(whole.values())
    for name in order:
        if missing and whole[name] < room[name]:
            whole[name] += 1
            missing -= 1
    return whole


def competing(scores: Scores, within: Mask | None = None) -> int:
    """How many weights may be pruned: those kept by ``within`` whose score is below +inf."""
    limits = None if within is None else {name: within[name] for name in scores}
    return count_below(dict(scores), limits, math.inf)


# --- checks ------------------------------------------------------------------------------------------------


def _check(scores: Scores, scope: str, allocation: Allocation | None, within: Mask | None) -> None:
    if not isinstance(scores, Scores):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(
            f"scores is {shown(scores)}",
            "it must be Scores",
            "write bb.Scores.of({name: tensor}), or criterion(evidence)",
        )
    check_scope(scope, allocation)
    if within is not None:
        check_mask(within, "within")
        _check_within(scores, within)


def check_scope(scope: object, allocation: object) -> None:
    """Refuse a scope that is none, and an allocation that is none or has nothing to divide.

    Raises:
        InvalidValue: with what to write.
    """
    if scope not in ("global", "layer"):
        near = "layer" if isinstance(scope, str) and scope.lower() in ("local", "layerwise", "layers") else "global"
        raise InvalidValue(f"scope is {shown(scope)}", "it must be 'global' or 'layer'", f"write scope={near!r}")
    if allocation is not None:
        check_function("allocation", allocation, "a function (shapes, capacities, keep) -> name -> keep")
    if allocation is not None and scope == "global":
        raise InvalidValue(
            "an allocation was given for scope 'global'",
            "an allocation divides a target over layers; globally the scores alone decide",
            "use scope='layer', or leave the allocation out",
        )


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


def _check_shares(shares: Mapping[str, int], capacities: Mapping[str, int], keep: int) -> None:
    fits = shares.keys() == capacities.keys() and all(0 <= shares[name] <= room for name, room in capacities.items())
    if not fits or sum(shares.values()) != keep:
        raise InvalidValue(
            f"the allocation divides {keep} into {dict(shares)}",
            f"the shares must add up to {keep} and be at most {dict(capacities)}",
            "mend the allocation",
        )
