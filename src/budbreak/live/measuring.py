"""Measure a live model with any diagnostics."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from budbreak.diagnostics import Diagnostic, Measurement, joined, needed, quantities_of
from budbreak.evidence import probe
from budbreak.graph import Batches, Forward, Loss
from budbreak.masks import Mask, Prunable, check_mask, conv_and_linear


def measure(
    model: nn.Module,
    diagnostics: Sequence[Diagnostic],
    *,
    batches: Batches,
    mask: Mask | None = None,
    loss: Loss | None = None,
    forward: Forward | None = None,
    prunable: Prunable = conv_and_linear,
) -> Measurement:
    """The numbers of several diagnostics, from one pass over the batches; the model is left as it was.

    Args:
        model: the live model; it runs in eval mode. Right after a pruning or a rewind BatchNorm's statistics are
            those of other weights: measure inside `refreshed_norms`.
        diagnostics: whose quantities have different names.
        batches: any iterable of inputs, (inputs, targets) or mappings.
        mask: what is kept; `Mask.from_zeros` unless given.
        loss: ``loss(output, targets)``, needed where a diagnostic needs gradients.
        forward: how to run the model on a batch, if not ``model(inputs)``.
        prunable: which weights are looked at.

    Raises:
        InvalidValue: if two diagnostics give a number of the same name.
        MissingEvidence: if a loss is needed and not given; `NoSites`, if a diagnostic has no answer for this model.
        UnknownName, MaskMismatch: if the mask does not fit the model.
        EmptyBatches: if the batches yield nothing.
    """
    quantities_of(diagnostics)
    if mask is not None:
        check_mask(mask)
        mask.parameters(model)
    kept = Mask.from_zeros(model, prunable) if mask is None else mask
    probes = list(needed(diagnostics))
    evidence = probe(model, probes, batches=batches, loss=loss, forward=forward, prunable=prunable)
    return joined(diagnostic(evidence, kept) for diagnostic in diagnostics)
