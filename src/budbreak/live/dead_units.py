"""Measure the dead neurons of a live model."""

from __future__ import annotations

from torch import nn

from budbreak.diagnostics import DeadUnitRates, dead_units
from budbreak.evidence import UnitCounts, Unseen, probe
from budbreak.graph import Batches, Forward
from budbreak.masks import (
    Mask,
    Prunable,
    check_mask,
    conv_and_linear,
    prunable_parameters,
)


def dead_neurons(
    model: nn.Module,
    batches: Batches,
    *,
    mask: Mask | None = None,
    threshold: float = 0.0,
    every: int = 1,
    forward: Forward | None = None,
    prunable: Prunable = conv_and_linear,
) -> DeadUnitRates:
    """Measure the dead neuron rate of a model: total, static, dynamic, permanent; overall and per site.

    Sites are the nonlinearities that the forward pass calls: modules (nn.ReLU, and those of other packages that turn
    out to be one) and functions (``F.relu``, ``x.relu_()``, ``x.clamp(min=0)``), inside the layers of torch and of
    other packages, too. What is nonlinear and may be anything is no site: the result names it. The model runs in eval
    mode and in the dtype of its weights: float32 for numbers that are published. Right after a pruning or a rewind
    BatchNorm's statistics are those of other weights: count inside `refreshed_norms`.

    Args:
        model: the live model; it is left as it was.
        batches: any iterable of inputs, (inputs, targets) or mappings.
        mask: decides what is static; `Mask.from_zeros` unless given, and the result says which.
        threshold: |output| <= threshold counts as zero: 0 for ReLU; a smooth activation needs one.
        every: use each ``every``-th batch only.
        forward: how to run the model on a batch, if not ``model(inputs)``.
        prunable: which weights the default mask covers.

    Raises:
        NoSites: if the model calls no nonlinearity, or at threshold 0 only smooth ones.
        NotFinite: if a site gives NaN.
        UnknownName, MaskMismatch: if the mask does not fit the model.
        EmptyBatches: if the batches yield nothing.

    Source: Liu et al. 2023 (AP).
    """
    if mask is not None:
        check_mask(mask)
        mask.parameters(model)  # a mask of another model would find nothing static, without a word
    counts = UnitCounts(threshold)
    evidence = probe(model, [counts, Unseen()], batches=batches, forward=forward, prunable=prunable, every=every)
    dtype = str(next(iter(prunable_parameters(model, prunable).values())).dtype).removeprefix("torch.")
    return dead_units(
        evidence[counts],
        Mask.from_zeros(model, prunable) if mask is None else mask,
        threshold=threshold,
        mask_source="zeros of the model" if mask is None else "given",
        dtype=dtype,
        unseen=evidence[Unseen()],
    )
