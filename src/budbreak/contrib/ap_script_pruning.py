"""How the AP authors' script prunes, and the same with exact counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from budbreak.checks import exact
from budbreak.criteria import LeastMovedNegative, Magnitude
from budbreak.errors import InvalidValue
from budbreak.evidence import Evidence, StartWeights, Weights
from budbreak.masks import Mask, competing, select

Shares = tuple[float, float]
"""(p, q): of the living weights, what goes in all, and AP's part of it."""


def pruned_by_count(model: nn.Module, mask: Mask, start: Mapping[str, Tensor], *, shares: Shares, twice: bool) -> Mask:
    """The next mask: ``round(p * pool)`` weights go, ``floor(q * pool)`` of them by AP.

    Args:
        model: trained.
        mask: what it keeps now.
        start: state_dict name -> value before that training.
        shares: see `Shares`.
        twice: whether each bias puts the weight before it into the pool once more.

    Raises:
        InvalidValue: if there are fewer negative weights than AP is to remove.
    """
    weights = {name: parameter.detach() for name, parameter in mask.parameters(model).items()}
    evidence = Evidence({Weights(): weights, StartWeights(): {name: start[name] for name in weights}})
    size = len(_pool(model, mask, lambda name, weight: weight, twice=twice))
    p, q = map(exact, shares)
    by_ap = math.floor(q * size)
    kept = select(Magnitude()(evidence), mask.kept - (round(p * size) - by_ap), within=mask)
    scores = LeastMovedNegative()(evidence)
    _check_enough(by_ap, competing(scores, kept))
    return select(scores, kept.kept - by_ap, within=kept)


def pruned_by_threshold(
    model: nn.Module, mask: Mask, start: Mapping[str, Tensor], *, shares: Shares, twice: bool
) -> Mask:
    """The next mask as the script makes it: the arguments are those of `pruned_by_count`.

    The host prunes |w| < the interpolated percentile 100 (p - q) of the pool of living weights. AP prunes the negative
    weights whose displacement is <= the one at index floor(q * pool) of the sorted displacements of all negative ones.

    Raises:
        InvalidValue: as `pruned_by_count`; the script ends with an IndexError there.
    """
    p, q = shares
    magnitudes = _pool(model, mask, lambda name, weight: weight.abs(), twice=twice)
    threshold = float(np.percentile(magnitudes, 100 * (p - q)))
    weights = {name: parameter.detach() for name, parameter in mask.parameters(model).items()}
    kept = Mask({name: mask[name] & (weight.abs() >= threshold).cpu() for name, weight in weights.items()})
    if not q:
        return kept

    def moved(name: str, weight: Tensor) -> Tensor:
        return torch.where(weight < 0, (weight - start[name]).abs(), math.nan)

    places = _pool(model, kept, moved, twice=twice)
    negative, index = np.sort(places[~np.isnan(places)]), int(len(magnitudes) * q)
    _check_enough(index + 1, len(negative))
    last = float(negative[index])
    goes = {name: (weight < 0) & ((weight - start[name]).abs() <= last) for name, weight in weights.items()}
    return Mask({name: kept[name] & ~goes[name].cpu() for name in kept})


def _pool(
    model: nn.Module, mask: Mask, values: Callable[[str, Tensor], Tensor], *, twice: bool
) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """The values of all living weights, flat; the values of a weight again for each bias that comes after it."""
    parts: list[Tensor] = []
    current = torch.empty(0)
    for name, parameter in model.named_parameters():
        if "weight" in name:
            alive = mask[name].to(parameter.device) if name in mask else torch.zeros_like(parameter, dtype=torch.bool)
            current = values(name, parameter.detach())[alive].cpu()
            parts.append(current)
        elif twice:
            parts.append(current)
    return torch.cat(parts).numpy()


def _check_enough(wanted: int, there: int) -> None:
    if wanted > there:
        raise InvalidValue(
            f"AP is to remove {wanted} negative weights of {there}",
            "it removes no others",
            "choose a smaller q, or fewer levels",
        )
