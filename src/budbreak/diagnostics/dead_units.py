"""The dead neuron rate: which outputs are zero, and whether the mask or the data made them so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.errors import MissingEvidence
from budbreak.mask import Mask
from budbreak.probes.unit_counts import SiteCounts


@dataclass(frozen=True)
class SiteDeadUnits:
    """Dead units at one site; rates are shares in [0, 1] of its units x positions.

    Args:
        site: the site's name; ``weight``: the prunable weight that alone feeds it, or None (after a residual
            sum, say), and then nothing here is static.
        units, positions: outputs of the site are units x positions (1 position for Linear).
        samples: samples seen.
        static_units: units without any incoming weight, by the mask.
        total: share of zero outputs, averaged over samples.
        static: share of outputs that belong to static units, zero or not (a bias or norm can keep one firing).
        dynamic: share of outputs that are zero and not static, averaged over samples.
        permanent: share of outputs that are zero on every sample.
    """

    site: str
    weight: str | None
    units: int
    positions: int
    samples: int
    static_units: int
    total: float
    static: float
    dynamic: float
    permanent: float

    @property
    def outputs(self) -> int:
        """Units x positions."""
        return self.units * self.positions


@dataclass(frozen=True)
class DeadUnits:
    """The dead neuron rate of a network: every output of every site counts the same.

    Attributes of `SiteDeadUnits` overall, and per site in ``sites`` (in the order of the forward pass).

    Args:
        dynamic_alive: dynamic / (1 - static): normalized by the living, since dynamic falls mechanically as
            static grows; 0 if every unit is static.
        threshold: |output| <= threshold counts as zero.
        mask: where static comes from: "given" or "zeros of the model".
        dtype: the dtype of the weights during the pass, e.g. "float32"; publish float32.
    """

    total: float
    static: float
    dynamic: float
    permanent: float
    dynamic_alive: float
    samples: int
    threshold: float
    mask: str
    dtype: str
    sites: tuple[SiteDeadUnits, ...]

    def __str__(self) -> str:
        """A table, one line a site."""
        width = max(len("all"), *(len(s.site) for s in self.sites))
        lines = [f"{'site':<{width}}  outputs    total   static  dynamic  permanent  fed by"]
        lines += [_line(s.site, width, s.outputs, s) + (s.weight or "more than one path") for s in self.sites]
        lines.append(_line("all", width, sum(s.outputs for s in self.sites), self).rstrip())
        lines.append(
            f"dynamic among the living {self.dynamic_alive:.4f}; {self.samples} samples; zero means |output| <= "
            f"{self.threshold:g}; static from: {self.mask}; {self.dtype}"
        )
        return "\n".join(lines)


def dead_units(
    counts: Mapping[str, SiteCounts], mask: Mask, *, threshold: float, mask_source: str, dtype: str
) -> DeadUnits:
    """Split the share of zero outputs into static and dynamic.

    With a(l, i) the number of samples in which output i of site l is active, of N, and k(l, i) = 1 where all
    incoming weights of its unit are pruned: total = mean(1 - a/N), static = mean(k),
    dynamic = mean((1 - k)(1 - a/N)), permanent = mean(a == 0).

    Args:
        counts: from `UnitCounts`.
        mask: decides what is static: never the outputs, because a norm or bias can keep a static unit firing.
        threshold: the one of the counts.
        mask_source: says in the result where the mask came from.
        dtype: says in the result what the model computed in.

    Raises:
        MissingEvidence: if there is no site.

    Source: Liu et al. 2023 (AP), section on DNR; ap.md 1.
    """
    if not counts:
        raise MissingEvidence("no site was reached", "DNR needs at least one activation module in the forward pass")
    sites = [_site(count, mask) for count in sorted(counts.values(), key=lambda c: c.site.order)]
    static, dynamic = _mean(sites, lambda s: s.static), _mean(sites, lambda s: s.dynamic)
    return DeadUnits(
        total=_mean(sites, lambda s: s.total),
        static=static,
        dynamic=dynamic,
        permanent=_mean(sites, lambda s: s.permanent),
        dynamic_alive=dynamic / (1 - static) if static < 1 else 0.0,
        samples=max(count.samples for count in counts.values()),
        threshold=threshold,
        mask=mask_source,
        dtype=dtype,
        sites=tuple(sites),
    )


def static_units(entry: Tensor) -> Tensor:
    """The units (dim 0) of a mask entry that keep no incoming weight: bool [units]."""
    return ~entry.flatten(1).any(1)


def _site(count: SiteCounts, mask: Mask) -> SiteDeadUnits:
    units, positions = count.active.shape
    static = torch.zeros(units, dtype=torch.bool)
    if count.site.weight is not None and count.site.weight in mask:
        static = static_units(mask[count.site.weight])
    zero = 1 - count.active.double() / count.samples
    return SiteDeadUnits(
        site=count.site.name,
        weight=count.site.weight,
        units=units,
        positions=positions,
        samples=count.samples,
        static_units=int(static.sum()),
        total=float(zero.mean()),
        static=float(static.double().mean()),
        dynamic=float(zero[~static].sum() / zero.numel()),
        permanent=float((count.active == 0).double().mean()),
    )


def _mean(sites: Sequence[SiteDeadUnits], rate: Callable[[SiteDeadUnits], float]) -> float:
    return sum(s.outputs * rate(s) for s in sites) / sum(s.outputs for s in sites)


def _line(name: str, width: int, outputs: int, r: SiteDeadUnits | DeadUnits) -> str:
    return f"{name:<{width}}  {outputs:7d}  {r.total:7.4f}  {r.static:7.4f}  {r.dynamic:7.4f}    {r.permanent:7.4f}  "
