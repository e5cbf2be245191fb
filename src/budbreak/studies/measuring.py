"""What is measured of a network in a run: the diagnostics, all from one observation."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence

from torch import nn
from torch.nn import functional

from budbreak.data import Images, batches
from budbreak.diagnostics import Diagnostic, Measurement, joined, needed
from budbreak.errors import NoSites
from budbreak.evidence import Evidence, probe
from budbreak.foreign import call_foreign
from budbreak.live import refreshed_norms
from budbreak.masks import Mask, Prunable
from budbreak.results import LayerResult

BATCH = 500  # images that are looked at together


def measure(
    diagnostics: Sequence[Diagnostic],
    model: nn.Module,
    images: Images,
    *,
    mask: Mask,
    prunable: Prunable,
    fresh: bool = False,
) -> Measurement:
    """All numbers of some diagnostics.

    A network that shows no activations has no dead units: their numbers are left out, as the look-ahead said.

    Args:
        diagnostics: what to measure; each looks at the evidence of its own needs.
        model: the live model; it is left as it was.
        images: what it is looked at with.
        mask: which weights stay.
        prunable: which weights the evidence covers.
        fresh: weights changed without training, so the norms' statistics lag behind: they are refreshed meanwhile.
    """
    seen = batches(images, BATCH)

    def observe(some: Sequence[Diagnostic]) -> Evidence:
        return probe(model, needed(some), batches=seen, loss=functional.cross_entropy, prunable=prunable)

    with refreshed_norms(model, seen) if fresh and needed(diagnostics) else contextlib.nullcontext():
        evidence = _observed(diagnostics, observe)
    measurements: list[Measurement] = []
    for diagnostic, own in zip(diagnostics, evidence, strict=True):
        if own is not None:
            with contextlib.suppress(NoSites):
                measurements.append(_measured(diagnostic, own, mask))
    return joined(measurements)


def _measured(diagnostic: Diagnostic, evidence: Evidence, mask: Mask) -> Measurement:
    """An error of a user's own diagnostic names her file and line."""
    what = f"measuring by {type(diagnostic).__name__}"
    rule = "a diagnostic gives its numbers, from what it needs"
    return call_foreign(what, lambda: diagnostic(evidence, mask), rule=rule, fix="mend the class")


def _observed(
    diagnostics: Sequence[Diagnostic], observe: Callable[[Sequence[Diagnostic]], Evidence]
) -> list[Evidence | None]:
    """The evidence for each: all of one pass, or, where some need activations that are not to be seen, of their own."""
    try:
        return [observe(diagnostics)] * len(diagnostics)
    except NoSites:
        return [_own_evidence(diagnostic, observe) for diagnostic in diagnostics]


def _own_evidence(diagnostic: Diagnostic, observe: Callable[[Sequence[Diagnostic]], Evidence]) -> Evidence | None:
    try:
        return observe([diagnostic])
    except NoSites:
        return None


def layer_results(mask: Mask, layers: Mapping[str, Mapping[str, float]]) -> tuple[LayerResult, ...]:
    """Kept weights and measured numbers of each prunable weight."""
    return tuple(
        LayerResult(name=name, kept=mask.kept_in(name), total=mask[name].numel(), numbers=dict(layers.get(name, {})))
        for name in mask
    )
