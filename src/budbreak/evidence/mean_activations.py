"""How strongly each unit fires."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.errors import NotFinite
from budbreak.evidence.evidence import ProbeContext
from budbreak.evidence.examples import drawn
from budbreak.graph import Feed, Site
from budbreak.masks import UnitLayout


@dataclass(frozen=True)
class SiteMeans:
    """The mean outputs of one site's units.

    Args:
        site: where.
        magnitudes: the mean of |output| over samples and positions, float64 [units], >= 0.
    """

    site: Site
    magnitudes: Tensor


@dataclass(frozen=True)
class MeanActivations:
    """The mean magnitude of each unit's outputs over samples and positions: site name -> `SiteMeans`.

    mean[u] = (1/n) sum over samples and positions of |output[u]|. Added up in float32 within a batch, in float64 over
    batches.
    """

    def start(self, context: ProbeContext) -> Callable[[], Mapping[str, SiteMeans]]:
        """See `Probe.start`.

        Raises:
            NotFinite: by the result, for outputs that are NaN or infinite.
        """
        running: dict[str, tuple[Site, Tensor, int]] = {}

        def listen(site: Site, output: Tensor) -> None:
            sums, count = _by_unit(site, output)
            _, before, counted = running.get(site.name, (site, torch.zeros_like(sums), 0))
            running[site.name] = (site, before + sums, counted + count)

        context.on_activation(listen)
        return lambda: _over_ranks(context, running)

    def example(self, weights: Mapping[str, Tensor], generator: torch.Generator) -> Mapping[str, SiteMeans]:
        """See `Probe`: a site behind each weight whose rows are its units."""
        means: dict[str, SiteMeans] = {}
        for order, (name, weight) in enumerate(weights.items()):
            site = Site(name.removesuffix(".weight"), Feed(name, UnitLayout(0)), unit_dims=(-1,), order=order)
            means[site.name] = SiteMeans(site, drawn((weight.shape[0],), generator).abs().double())
        return means


def _by_unit(site: Site, output: Tensor) -> tuple[Tensor, int]:
    """The sums of magnitudes, float64 [units], and of how many outputs each."""
    moved = output.movedim(site.unit_dims, tuple(range(len(site.unit_dims))))
    units = moved.shape[: len(site.unit_dims)].numel()
    rows = moved.reshape(units, -1)
    return rows.abs().sum(1, dtype=torch.promote_types(rows.dtype, torch.float32)).double().cpu(), rows.shape[1]


def _over_ranks(context: ProbeContext, running: Mapping[str, tuple[Site, Tensor, int]]) -> Mapping[str, SiteMeans]:
    """Sums and counts added up over the processes that observe together; one of them may have seen nothing."""
    total: dict[str, tuple[Site, Tensor, int]] = {}
    for seen in context.processes.exchange("the means of units", running):
        for name, (site, sums, count) in seen.items():
            _, before, counted = total.get(name, (site, torch.zeros_like(sums), 0))
            total[name] = (site, before + sums, counted + count)
    means = {name: SiteMeans(site, sums / count) for name, (site, sums, count) in total.items()}
    for name, mean in means.items():
        if not bool(torch.isfinite(mean.magnitudes).all()):
            raise NotFinite(
                f"site {name!r} gave NaN or infinity",
                "the mean of it says nothing",
                "look for NaN in the batches, or in the weights",
            )
    return means
