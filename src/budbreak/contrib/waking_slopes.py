"""How nearly dead units come nearer to firing as each weight grows: the slope, through the whole network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from budbreak.checks import check_fraction
from budbreak.contrib.preactivations import PreActivations, SiteSpread, by_units
from budbreak.errors import NoSites
from budbreak.evidence import ProbeContext, WeightedMean, drawn_like, gradients_of
from budbreak.graph import Site

_STANDS_STILL = 1e-4
"""A unit whose deviation is this share of its magnitude or less: out of reach, or rounding."""


@dataclass(frozen=True)
class WakingSlopes:
    """How much nearer to firing nearly dead units come as each weight that feeds them grows: name -> tensor.

    slope = dF/dw for the weights of nearly dead units, 0 for all others. F = sum over nearly dead units i of mean over
    samples and positions of softplus(z_i / s_i), averaged over batches by their weight in the loss; z_i = the
    pre-activation as it enters the nonlinearity, s_i = its standard deviation, held fixed (see `PreActivations`). The
    derivative is that through the network in training mode: what BatchNorm takes away is no part of it.

    A unit is nearly dead if z_i > 0 on less than a share ``activity`` of samples and positions. It belongs to a site
    that gives exact zeros and that one weight alone feeds, and is not one that stands still: without a living weight
    behind it, nothing can move it.

    Args:
        activity: in (0, 1).
    """

    activity: float = 0.05
    mode = "train"
    after = (PreActivations(),)

    def __post_init__(self) -> None:
        check_fraction("activity", self.activity, zero=False)

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, Tensor]]:
        """See `Probe.start`.

        Raises (the result):
            NoSites: if no site gives exact zeros, fed by one weight.
        """
        mean, entered = WeightedMean(context), _Entered(context, self.activity)

        def listen(value: Tensor, parameters: Mapping[str, nn.Parameter], weight: float) -> None:
            mean.add(_slopes(entered.take(), parameters), weight)

        def result() -> Mapping[str, Tensor]:
            spreads = context.evidence[PreActivations()]
            _check_sites(spreads)
            return _of_nearly_dead(mean.result(), spreads, self.activity)

        context.on_preactivation(entered.hear, attached=True)
        context.on_loss(listen)
        return result

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, Tensor]:
        """See `Probe`."""
        return {name: drawn_like(weight, generator) for name, weight in weights.items()}


def nearly_dead(spread: SiteSpread, activity: float) -> Tensor:
    """Which units of a site are nearly dead: bool [units]; see `WakingSlopes`."""
    moving = spread.deviation > _STANDS_STILL * spread.magnitude
    return moving & (spread.active < activity) & _is_of_one_weight(spread.site)


def _is_of_one_weight(site: Site) -> bool:
    return site.exact_zeros and site.feed is not None


class _Entered:
    """What entered the nearly dead units in the running batch.

    Args:
        context: whose evidence says which units these are.
        activity: see `WakingSlopes`.
    """

    def __init__(self, context: ProbeContext, activity: float) -> None:
        self.context, self.activity = context, activity
        self._rows: dict[str, list[Tensor]] = {}

    def hear(self, site: Site, given: Tensor) -> None:
        """Keep pre-activations of nearly dead units, in deviations: [nearly dead units, samples x positions]."""
        spread = self.context.evidence[PreActivations()].get(site.name)
        if spread is None or not bool((chosen := nearly_dead(spread, self.activity)).any()):
            return
        rows = by_units(site, given)[chosen.to(given.device)]
        rows = rows.to(torch.promote_types(rows.dtype, torch.float32))
        self._rows.setdefault(site.name, []).append(rows / spread.deviation[chosen, None].to(rows))

    def take(self) -> Tensor | None:
        """F of this batch, None if no unit is nearly dead; then the next batch begins."""
        nearness = [functional.softplus(torch.cat(rows, dim=1)).mean(1).sum() for rows in self._rows.values()]
        self._rows.clear()
        return cast(Tensor, sum(nearness)) if nearness else None


def _slopes(nearness: Tensor | None, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    slopes = dict[str, Tensor]()
    if nearness is not None and nearness.requires_grad:
        slopes = gradients_of(nearness, parameters, retain_graph=True)
    return {name: slopes[name] if name in slopes else torch.zeros_like(own) for name, own in parameters.items()}


def _of_nearly_dead(
    slopes: Mapping[str, Tensor], spreads: Mapping[str, SiteSpread], activity: float
) -> dict[str, Tensor]:
    """The slopes of weights that feed nearly dead units; 0 for others."""
    chosen = {name: torch.zeros_like(slope, dtype=torch.bool) for name, slope in slopes.items()}
    for spread in spreads.values():
        if spread.site.feed is not None:
            weight, units = spread.site.feed.weight, spread.site.feed.units
            members = units.spread(nearly_dead(spread, activity), chosen[weight].shape)
            chosen[weight] |= members.to(chosen[weight].device)
    return {name: slope * chosen[name] for name, slope in slopes.items()}


def _check_sites(spreads: Mapping[str, SiteSpread]) -> None:
    if not any(_is_of_one_weight(spread.site) for spread in spreads.values()):
        raise NoSites(
            f"none of {list(spreads)} gives exact zeros and is fed by one weight alone",
            "units are woken by the weight that alone feeds them, and are dead where they give 0, as ReLU does",
            "choose another criterion for smooth activations, and where all units are sums",
        )
