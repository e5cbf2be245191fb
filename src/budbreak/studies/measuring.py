"""What is measured of a network in a run: the diagnostics, all from one observation."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from torch import nn
from torch.nn import functional

from budbreak.data import Images, batches
from budbreak.diagnostics import Diagnostic, Measurement, joined, needed
from budbreak.errors import NoSites
from budbreak.evidence import probe
from budbreak.live import refreshed_norms
from budbreak.masks import Mask, Prunable
from budbreak.studies.result import LayerResult

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
    needs, seen = list(needed(diagnostics)), batches(images, BATCH)
    with refreshed_norms(model, seen) if fresh and needs else contextlib.nullcontext():
        evidence = probe(model, needs, batches=seen, loss=functional.cross_entropy, prunable=prunable)
    measurements: list[Measurement] = []
    for diagnostic in diagnostics:
        with contextlib.suppress(NoSites):
            measurements.append(diagnostic(evidence, mask))
    return joined(measurements)


def layer_results(mask: Mask, layers: Mapping[str, Mapping[str, float]]) -> tuple[LayerResult, ...]:
    """Kept weights and measured numbers of each prunable weight."""
    return tuple(
        LayerResult(name=name, kept=mask.kept_in(name), total=mask[name].numel(), numbers=dict(layers.get(name, {})))
        for name in mask
    )
