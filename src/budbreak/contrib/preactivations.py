"""How what enters each nonlinearity is spread: which units fire at all, and how far the others are from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.errors import NotFinite
from budbreak.evidence import ProbeContext, drawn
from budbreak.graph import Feed, Site
from budbreak.masks import UnitLayout

_AT_ONCE = 1 << 15  # numbers: 256 KiB of float64


@dataclass(frozen=True)
class SiteSpread:
    """The pre-activations of one site's units, over samples and positions.

    Args:
        site: where.
        active: the share of them that is > 0, in [0, 1]: float64 [units].
        deviation: their standard deviation, >= 0: float64 [units].
        magnitude: their root mean square, >= deviation: float64 [units].
    """

    site: Site
    active: Tensor
    deviation: Tensor
    magnitude: Tensor


@dataclass(frozen=True)
class PreActivations:
    """How the pre-activations of each unit are spread, in training mode: site name -> `SiteSpread`.

    Pre-activations are what enters the nonlinearity, so behind a norm, which here normalises by the statistics of each
    batch, as it will in the training after a removal. Sums are in float64.
    """

    mode = "train"

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, SiteSpread]]:
        """See `Probe.start`.

        Raises (the result):
            NotFinite: for inputs that are NaN or infinite.
        """
        running: dict[str, _Sums] = {}

        def listen(site: Site, given: Tensor) -> None:
            for part in _parts(site, given):
                sums = _Sums.of(site, by_units(site, part))
                running[site.name] = running[site.name] + sums if site.name in running else sums

        context.on_preactivation(listen)
        return lambda: _over_ranks(context, running)

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, SiteSpread]:
        """See `Probe`: a site behind each weight whose rows are its units."""
        spreads: dict[str, SiteSpread] = {}
        for order, (name, weight) in enumerate(weights.items()):
            site = Site(name.removesuffix(".weight"), Feed(name, UnitLayout(0)), unit_dims=(-1,), order=order)
            active, deviation, mean = (drawn((len(weight),), generator).abs().double() for _ in range(3))
            spreads[site.name] = SiteSpread(site, active.clamp(max=1), deviation, torch.hypot(deviation, mean))
        return spreads


def _parts(site: Site, given: Tensor) -> Sequence[Tensor]:
    """What enters a site, some samples at a time: as float64 they stay in the cache, in a sixth of the time."""
    along_units = 0 in [dim % max(given.dim(), 1) for dim in site.unit_dims]
    if given.device.type != "cpu" or along_units or not given.numel():
        return (given,)
    return given.split(max(1, _AT_ONCE * len(given) // given.numel()))


def by_units(site: Site, given: Tensor) -> Tensor:
    """What enters a site as [units, samples x positions]."""
    dims = site.unit_dims
    moved = given.movedim(dims, tuple(range(len(dims))))
    return moved.reshape(moved.shape[: len(dims)].numel(), -1)


@dataclass(frozen=True)
class _Sums:
    """Sums over samples and positions, float64 [units], and of how many they are."""

    site: Site
    active: Tensor
    first: Tensor
    second: Tensor
    count: int

    @classmethod
    def of(cls, site: Site, rows: Tensor) -> _Sums:
        wide = rows.double()
        active, first = (wide > 0).sum(1, dtype=torch.float64), wide.sum(1)
        second = (wide * wide if wide is rows else wide.square_()).sum(1)
        return cls(site, active.cpu(), first.cpu(), second.cpu(), rows.shape[1])

    def __add__(self, other: _Sums) -> _Sums:
        sums = self.active + other.active, self.first + other.first, self.second + other.second
        return _Sums(self.site, *sums, self.count + other.count)

    def spread(self) -> SiteSpread:
        mean, square = self.first / self.count, self.second / self.count
        if not bool(torch.isfinite(square).all()):
            raise NotFinite(
                f"what enters site {self.site.name!r} is NaN or infinite",
                "its spread says nothing",
                "look for NaN in the batches, or in the weights",
            )
        deviation = (square - mean.square()).clamp_min(0).sqrt()
        return SiteSpread(self.site, self.active / self.count, deviation, square.sqrt())


def _over_ranks(context: ProbeContext, running: Mapping[str, _Sums]) -> Mapping[str, SiteSpread]:
    """The spreads over all processes that observe together; one of them may have seen nothing."""
    total: dict[str, _Sums] = {}
    for seen in context.processes.exchange("the spread of units", running):
        for name, sums in seen.items():
            total[name] = total[name] + sums if name in total else sums
    return {name: sums.spread() for name, sums in total.items()}
