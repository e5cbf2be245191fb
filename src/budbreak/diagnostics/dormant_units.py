"""Dormant units: those that hardly fire beside the others of their site."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.checks import check_not_negative
from budbreak.diagnostics.measurement import Measurement, Quantity
from budbreak.errors import NoSites
from budbreak.evidence import Evidence, MeanActivations, SiteMeans
from budbreak.masks import Mask

_GROUP = "dormant units"


@dataclass(frozen=True)
class DormantUnits:
    """How many units are dormant: their mean output is next to nothing beside that of their site.

    A unit u is dormant if m[u] <= tau * (mean of m over the units of its site), m[u] = the mean of |output[u]| over
    samples and positions. Where a whole site gives 0, all its units are dormant. dormant_units = the share of dormant
    units among all units of all sites; dormant_units_alive = the same without units of which the mask keeps no incoming
    weight, 0 if there are none. Per weight: of the sites that it alone feeds, the first. Other than "dead", it asks how
    strongly a unit fires, not how often, so it has an answer for smooth nonlinearities, too.

    Args:
        tau: >= 0; with 0 a unit is dormant where it is 0 throughout.

    Source: Sokar et al. 2023 (ReDo), arXiv 2302.12902, definition 3.1; their code adds 1e-9 to the mean.
    """

    tau: float = 0.025

    needs = (MeanActivations(),)
    quantities = (
        Quantity(
            "dormant_units",
            "dormant units",
            "share",
            "lower",
            about="units whose mean output is next to nothing beside that of their site.",
            group=_GROUP,
        ),
        Quantity(
            "dormant_units_alive",
            "dormant units among the living",
            "share",
            "lower",
            about="the same among units that keep an incoming weight.",
            group=_GROUP,
        ),
    )

    def __post_init__(self) -> None:
        check_not_negative("tau", self.tau, "write tau=0.025")

    def __call__(self, evidence: Evidence, mask: Mask) -> Measurement:
        """See `Diagnostic`.

        Raises:
            NoSites: if no nonlinearity was reached.
        """
        means = sorted(evidence[MeanActivations()].values(), key=lambda mean: mean.site.order)
        if not means:
            raise NoSites("no site was reached", "units are dormant where they hardly fire: a nonlinearity is needed")
        found = [(mean, _dormant(mean, self.tau), _living(mean, mask)) for mean in means]
        layers = {
            mean.site.feed.weight: _numbers([(dormant, living)])
            for mean, dormant, living in reversed(found)
            if mean.site.feed is not None
        }
        return Measurement(_numbers([(dormant, living) for _, dormant, living in found]), layers)


def _dormant(mean: SiteMeans, tau: float) -> Tensor:
    return mean.magnitudes <= tau * mean.magnitudes.mean()


def _living(mean: SiteMeans, mask: Mask) -> Tensor:
    """Which units keep an incoming weight, or may for all that is known: bool [units]."""
    feed = mean.site.feed
    if feed is None or feed.weight not in mask:
        return torch.ones(len(mean.magnitudes), dtype=torch.bool)
    return feed.units.members(mask[feed.weight]).any(1)


def _numbers(sites: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
    dormant, living = (torch.cat(parts) for parts in zip(*sites, strict=True))
    alive = int(living.sum())
    return {
        "dormant_units": float(dormant.double().mean()),
        "dormant_units_alive": int((dormant & living).sum()) / max(1, alive),
    }
