"""AP with one of its parts exchanged, as a follow-up: for ablations."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from budbreak.checks import check_fraction
from budbreak.contrib.signed_order import Arena, Order, Sign, SignedOrder


@dataclass(frozen=True)
class ApVariant:
    """A follow-up as AP lite, whose metric is a `SignedOrder`; at its defaults it removes what AP lite removes.

    Args:
        q: share of the weights alive before the level, in (0, 1).
        sign, order, arena, spare, seed: see `SignedOrder`.
    """

    q: float = 0.02
    sign: Sign = "negative"
    order: Order = "least-moved"
    arena: Arena = "global"
    spare: tuple[str, ...] = ()
    seed: int = 0
    retrains: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        check_fraction("q", self.q, zero=False)
        _ = self.criterion  # refuses what no metric is

    @property
    def criterion(self) -> SignedOrder:
        """What it removes by."""
        return SignedOrder(self.sign, self.order, self.arena, self.spare, self.seed)

    def replicate(self, seed: int) -> ApVariant:
        """The follow-up of another replicate; another one only where it draws."""
        return replace(self, seed=self.criterion.replicate(seed).seed)
