"""How much of their full rank the weights still have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from budbreak.diagnostics.measurement import Measurement, Quantity
from budbreak.errors import MaskMismatch
from budbreak.evidence import Evidence, Unfoldings, Weights
from budbreak.lowrank import LayerRank, ranks_of, summed
from budbreak.masks import Mask

_GROUP = "rank"


@dataclass(frozen=True)
class Rank:
    """The ranks of the weights that a mask covers, with what it prunes as zero.

    Per weight those of `budbreak.lowrank.LayerRank`; overall their sums over the weights, and rank_share = sum of the
    numerical ranks / sum of the full ones, 0 of a mask without entries. How convolutions are read as matrices:
    `budbreak.masks.Unfolding`.

    Source: Ganguli & Chong 2024, doi 10.3390/a17010048.
    """

    needs = (Weights(), Unfoldings())
    quantities = (
        Quantity("rank_share", "share of the full rank", "share", about="numerical rank / full rank.", group=_GROUP),
        Quantity("rank", "numerical rank", "count", about="singular values that are not rounding.", group=_GROUP),
        Quantity(
            "effective_rank",
            "effective rank",
            about="exp of the entropy of the singular values as shares of their sum.",
            group=_GROUP,
        ),
        Quantity(
            "stable_rank",
            "stable rank",
            about="the sum of the squares of the singular values / the square of the largest one.",
            group=_GROUP,
        ),
        Quantity(
            "energy_rank",
            "99 % energy rank",
            "count",
            about="the fewest singular values that hold 99 % of the sum of squares.",
            group=_GROUP,
        ),
    )

    def __call__(self, evidence: Evidence, mask: Mask) -> Measurement:
        """See `Diagnostic`; weights that the mask does not cover are left out.

        Raises:
            MaskMismatch: if the mask covers a weight that was not observed.
            InvalidValue, NotFinite: if a weight has no elements, or is NaN or infinite.
        """
        weights = evidence[Weights()]
        unfoldings = evidence[Unfoldings()]
        kept = {name: _kept(name, weights.get(name), mask) for name in mask}
        layers = ranks_of(kept, unfoldings).layers if kept else ()
        numbers = {layer.weight: _numbers([layer]) for layer in layers}
        return Measurement(_numbers(layers), numbers, {layer.weight: layer.spectrum for layer in layers})


def _numbers(layers: Sequence[LayerRank]) -> dict[str, float]:
    """The quantities of some weights together."""
    total = summed(layers)
    return {
        "rank_share": total["numerical"] / max(1, total["full"]),
        "rank": float(total["numerical"]),
        "effective_rank": float(total["effective"]),
        "stable_rank": float(total["stable"]),
        "energy_rank": float(total["energy"]),
    }


def _kept(name: str, weight: Tensor | None, mask: Mask) -> Tensor:
    if weight is None:
        raise MaskMismatch(
            f"the mask covers {name!r}, which was not observed",
            "ranks are those of the prunable weights",
            "probe and mask with the same prunable=",
        )
    return weight.where(mask[name].to(weight.device), 0)
