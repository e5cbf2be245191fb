"""The dead neuron rate: which outputs are zero, and whether the mask or the data made them so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from budbreak.diagnostics.measurement import Better, Measurement, Quantity
from budbreak.errors import NoSites
from budbreak.evidence import Evidence, SiteCounts, UnitCounts, Unseen
from budbreak.masks import Mask, UnitLayout


def _rate(name: str, label: str, better: Better, about: str) -> Quantity:
    return Quantity(f"dead_units_{name}", label, "share", better, about, group="dead neuron rate (DNR)")


@dataclass(frozen=True)
class DeadUnits:
    """The dead neuron rate: how many outputs are zero, and whether the mask or the data made them so.

    The numbers of `DeadUnitRates` overall; per weight those of the sites that it alone feeds.

    Args:
        threshold: |output| <= threshold counts as zero: 0 for ReLU; a smooth activation needs one.

    Source: Liu et al. 2023 (AP).
    """

    threshold: float = 0.0

    quantities = (
        _rate("total", "total DNR", "", "outputs that are zero."),
        _rate("static", "static DNR", "", "outputs whose unit has no incoming weight left, zero or not."),
        _rate("dynamic", "dynamic DNR", "lower", "outputs that are zero and not static."),
        _rate("permanent", "permanent DNR", "lower", "outputs that are zero on every sample."),
        _rate("dynamic_alive", "dynamic DNR of the living", "lower", "dynamic among the outputs that are not static."),
    )

    def __post_init__(self) -> None:
        UnitCounts(self.threshold)  # refuses what is no threshold

    @property
    def needs(self) -> tuple[UnitCounts, Unseen]:
        """The counts at this threshold, and what could not be counted."""
        return UnitCounts(self.threshold), Unseen()

    def __call__(self, evidence: Evidence, mask: Mask) -> Measurement:
        """See `Diagnostic`; `NoSites` where there is no activation, or none that has an answer."""
        counts, unseen = self.needs
        rates = dead_units(evidence[counts], mask, threshold=self.threshold, unseen=evidence[unseen])
        return Measurement(rates.numbers, _layers(rates.sites))


@dataclass(frozen=True)
class SiteRates:
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
        needs_threshold: the nonlinearity is smooth and the threshold 0: its rates say nothing, and the overall ones
            leave it out.
        assumed: which dimension counts its units is a rule's choice: the way there could not be followed.
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
    needs_threshold: bool = False
    assumed: bool = False

    @property
    def outputs(self) -> int:
        """Units x positions."""
        return self.units * self.positions


@dataclass(frozen=True)
class DeadUnitRates:
    """The dead neuron rate of a network: every output of every site that has an answer counts the same.

    Attributes of `SiteRates` overall, and per site in ``sites`` (in the order of the forward pass).

    Args:
        dynamic_alive: dynamic / (1 - static): normalized by the living, since dynamic falls mechanically as
            static grows; 0 if every unit is static.
        threshold: |output| <= threshold counts as zero.
        mask: where static comes from: "given" or "zeros of the model".
        dtype: the dtype of the weights during the pass, e.g. "float32"; publish float32. "" where nobody said.
        sites: all of them; those that need a threshold count in no overall rate.
        unseen: the nonlinearities that ran and are no site, e.g. "torch.exp called in block2 (net.py:41)".
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
    sites: tuple[SiteRates, ...]
    unseen: tuple[str, ...] = ()

    def __str__(self) -> str:
        """A table, one line a site, and below it what the numbers leave out."""
        width = max(len("all"), *(len(site.site) for site in self.sites))
        lines = [f"{'site':<{width}}  outputs    total   static  dynamic  permanent  fed by"]
        lines += [_site_line(site, width) for site in self.sites]
        counted = [site.outputs for site in self.sites if not site.needs_threshold]
        lines.append(_line("all", width, sum(counted), self).rstrip())
        return "\n".join([*lines, self.basis, *self.remarks])

    @property
    def basis(self) -> str:
        """What the numbers were measured on, and what they mean."""
        return (
            f"dynamic among the living {self.dynamic_alive:.4f}; {self.samples} samples; zero means |output| <= "
            f"{self.threshold:g}; static from: {self.mask}" + (f"; {self.dtype}" if self.dtype else "")
        )

    @property
    def numbers(self) -> dict[str, float]:
        """The overall rates by the names of the quantities of `DeadUnits`."""
        return {**_named(self), "dead_units_dynamic_alive": self.dynamic_alive}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the numbers leave out or assume, a line each; () if nothing."""
        smooth = [site.site for site in self.sites if site.needs_threshold]
        left_out = f"left out, smooth activations need a threshold > 0: {_some(smooth)}"
        assumed = [
            f"{site.site}: units assumed in dimension 1" for site in self.sites if site.assumed and site.units > 1
        ]
        unseen = f"not seen, and not in these numbers: {_some(self.unseen)}"
        return (*([left_out] if smooth else []), *assumed, *([unseen] if self.unseen else []))


def dead_units(
    counts: Mapping[str, SiteCounts],
    mask: Mask,
    *,
    threshold: float,
    mask_source: str = "given",
    dtype: str = "",
    unseen: Sequence[str] = (),
) -> DeadUnitRates:
    """Split the share of zero outputs into static and dynamic.

    With a(l, i) the number of samples in which output i of site l is active, of N, and k(l, i) = 1 where all
    incoming weights of its unit are pruned: total = mean(1 - a/N), static = mean(k),
    dynamic = mean((1 - k)(1 - a/N)), permanent = mean(a == 0). Overall means are over the sites that have an
    answer: a smooth activation (GELU, Sigmoid) at threshold 0 has none.

    Args:
        counts: from `UnitCounts`.
        mask: decides what is static: never the outputs, because a norm or bias can keep a static unit firing.
        threshold: the one of the counts.
        mask_source: says in the result where the mask came from.
        dtype: says in the result what the model computed in.
        unseen: says in the result what the counts do not hold.

    Raises:
        NoSites: if there is no site, or none that has an answer at this threshold.

    Source: Liu et al. 2023 (AP), TMLR, arXiv 2212.06145, section on DNR.
    """
    if not counts:
        raise NoSites("no site was reached", "DNR needs at least one nonlinearity in the forward pass")
    in_order = sorted(counts.values(), key=lambda count: count.site.order)
    sites = [_site(count, mask, threshold) for count in in_order]
    counted = _with_an_answer(sites)
    static, dynamic = _mean(counted, lambda site: site.static), _mean(counted, lambda site: site.dynamic)
    return DeadUnitRates(
        total=_mean(counted, lambda site: site.total),
        static=static,
        dynamic=dynamic,
        permanent=_mean(counted, lambda site: site.permanent),
        dynamic_alive=dynamic / (1 - static) if static < 1 else 0.0,
        samples=max(count.samples for count in counts.values()),
        threshold=threshold,
        mask=mask_source,
        dtype=dtype,
        sites=tuple(sites),
        unseen=tuple(unseen),
    )


def _with_an_answer(sites: Sequence[SiteRates]) -> list[SiteRates]:
    counted = [site for site in sites if not site.needs_threshold]
    if not counted:
        raise NoSites(
            f"threshold is 0, and smooth activations give no exact zeros: {_some([site.site for site in sites])}",
            "dead means |output| <= threshold",
            "give a threshold > 0: threshold=0.01, say",
        )
    return counted


def _named(rates: DeadUnitRates | SiteRates) -> dict[str, float]:
    return {f"dead_units_{name}": getattr(rates, name) for name in ("total", "static", "dynamic", "permanent")}


def _layers(sites: Sequence[SiteRates]) -> dict[str, dict[str, float]]:
    """The rates of each weight that has an answer; of several sites that one weight feeds, the first's."""
    return {site.weight: _named(site) for site in reversed(sites) if site.weight and not site.needs_threshold}


def _static_units(entry: Tensor, units: UnitLayout) -> Tensor:
    """The units of a mask entry that keep no incoming weight: bool [units]."""
    return ~units.members(entry).any(1)


def _site(count: SiteCounts, mask: Mask, threshold: float) -> SiteRates:
    units, positions = count.active.shape
    static, feed = torch.zeros(units, dtype=torch.bool), count.site.feed
    if feed is not None and feed.weight in mask:
        static = _static_units(mask[feed.weight], feed.units)
    zero = 1 - count.active.double() / count.samples
    return SiteRates(
        site=count.site.name,
        weight=feed.weight if feed is not None else None,
        units=units,
        positions=positions,
        samples=count.samples,
        static_units=int(static.sum()),
        total=float(zero.mean()),
        static=float(static.double().mean()),
        dynamic=float(zero[~static].sum() / zero.numel()),
        permanent=float((count.active == 0).double().mean()),
        needs_threshold=threshold == 0 and not count.site.exact_zeros,
        assumed=count.site.assumed,
    )


def _mean(sites: Sequence[SiteRates], rate: Callable[[SiteRates], float]) -> float:
    return sum(site.outputs * rate(site) for site in sites) / sum(site.outputs for site in sites)


def _site_line(site: SiteRates, width: int) -> str:
    fed_by = site.weight or "no weight alone"
    if site.needs_threshold:
        return f"{site.site:<{width}}  {site.outputs:7d}  {'needs a threshold':<37}  {fed_by}"
    return _line(site.site, width, site.outputs, site) + fed_by


def _some(texts: Sequence[str]) -> str:
    return "; ".join(texts[:5]) + (f"; and {len(texts) - 5} more" if len(texts) > 5 else "")


def _line(name: str, width: int, outputs: int, rates: SiteRates | DeadUnitRates) -> str:
    shares = f"{rates.total:7.4f}  {rates.static:7.4f}  {rates.dynamic:7.4f}    {rates.permanent:7.4f}"
    return f"{name:<{width}}  {outputs:7d}  {shares}  "
