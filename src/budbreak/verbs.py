"""The verbs that work alone on a live model: prune it in one shot, measure its dead neurons."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from budbreak import criteria
from budbreak import granularity as granularities
from budbreak.checks import check_criterion, check_fraction, check_granularity, check_optimizer, shown
from budbreak.criteria import Magnitude
from budbreak.diagnostics import DeadUnits, dead_units
from budbreak.errors import InvalidValue
from budbreak.feeding import Batches, Forward, Loss
from budbreak.granularity import Element, Granularity, count_things
from budbreak.holding import apply_mask
from budbreak.mask import Mask, check_mask
from budbreak.optimizers import check_ownership
from budbreak.probes import UnitCounts, Unseen
from budbreak.probing import probe
from budbreak.prunable import Prunable, conv_and_linear, prunable_parameters, warn_of_uncovered
from budbreak.scores import Criterion
from budbreak.selection import Allocation, Scope, check_collapse, select, survivors
from budbreak.weighing import Samples


def prune(
    model: nn.Module,
    *,
    sparsity: float,
    criterion: Criterion | None = None,
    scope: Scope = "global",
    granularity: Granularity | None = None,
    allocation: Allocation | None = None,
    prunable: Prunable = conv_and_linear,
    mask: Mask | None = None,
    optimizer: Optimizer | None = None,
    batches: Batches | None = None,
    loss: Loss | None = None,
    forward: Forward | None = None,
    samples: Samples | None = None,
    allow_collapse: bool = False,
) -> Mask:
    """Prune a model in one shot: its pruned weights are set to zero in place.

    To keep them there through further training, `hold` the returned mask.

    Args:
        model: the live model.
        sparsity: pruned / prunable in the end, in [0, 1): a total, not a step; exactly
            ``round((1 - sparsity) * prunable)`` weights stay. For `Unit` it counts units, those of the classifier
            aside, and the mask's ``sparsity`` of weights is another number.
        criterion: `criteria.Magnitude` unless given.
        scope: ``"global"`` or ``"layer"``.
        granularity: `Element` unless given.
        allocation: divides the target over layers; for scope ``"layer"``.
        prunable: which weights may go.
        mask: what is still alive; `Mask.from_zeros` unless given, so that zeros stay zeros.
        optimizer: refused if it does not hold the pruned parameters, which catches a stale one.
        batches: the calibration set, for criteria that need data.
        loss: for criteria that need gradients.
        forward: how to run the model on a batch, if not ``model(inputs)``.
        samples: over how many terms a batch's mean loss is taken; see `probe`.
        allow_collapse: whether a layer may lose all its weights; if not, `LayerCollapsed` is raised.

    Returns:
        The mask: its ``density`` is what was reached.

    Raises:
        InvalidValue: for a sparsity outside [0, 1), or below what is already pruned; for a name or a class where
            an instance is wanted.
        LayerCollapsed: if a layer would keep no weight; nothing was set to zero then.
        NothingToPrune, MissingEvidence, NotFinite: see `probe` and `select`.
    """
    check_fraction("sparsity", sparsity)
    parameters = prunable_parameters(model, prunable)
    if optimizer is not None:
        check_optimizer(optimizer)
        check_ownership(optimizer, dict(parameters))
    criterion = Magnitude() if criterion is None else criterion
    check_criterion(criterion, criteria.ALL)
    if not isinstance(mask, Mask | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidValue(f"mask is {shown(mask)}", "it must be a Mask", "write bb.Mask({name: tensor})")
    warn_of_uncovered(model, prunable)
    alive = Mask.from_zeros(model, prunable) if mask is None else mask
    granularity = Element() if granularity is None else granularity
    check_granularity(granularity, granularities.ALL)
    granularity = granularity.fit(model, prunable)
    evidence = probe(
        model, criterion.needs, batches=batches, loss=loss, forward=forward, prunable=prunable, samples=samples
    )
    scores = criterion(evidence)
    keep = _survivors(sparsity, *count_things(granularity, alive))
    chosen = select(scores, keep, scope=scope, granularity=granularity, allocation=allocation, within=alive)
    check_collapse(chosen, before=alive, allowed=allow_collapse)
    apply_mask(model, chosen)
    return chosen


def _survivors(sparsity: float, total: int, alive: int) -> int:
    keep = survivors(sparsity, total)
    if keep > alive:
        raise InvalidValue(
            f"sparsity is {sparsity}: {keep} of {total} would stay, but only {alive} are alive",
            "sparsity is a total, and what was pruned does not come back",
            f"give at least {1 - alive / total:.6g}",
        )
    return keep


def dead_neurons(
    model: nn.Module,
    batches: Batches,
    *,
    mask: Mask | None = None,
    threshold: float = 0.0,
    every: int = 1,
    forward: Forward | None = None,
    prunable: Prunable = conv_and_linear,
) -> DeadUnits:
    """Measure the dead neuron rate of a model: total, static, dynamic, permanent; overall and per site.

    Sites are the activation modules (nn.ReLU and the like, and those of other packages that turn out to be one)
    that the forward pass calls. Functional activations are no sites: the result names them. The model runs in
    eval mode and in the dtype of its weights: float32 for numbers that are published. Right after a pruning or a
    rewind BatchNorm's statistics are those of other weights: count inside `norms.refreshed_norms`.

    Args:
        model: the live model; it is left as it was.
        batches: any iterable of inputs, (inputs, targets) or mappings.
        mask: decides what is static; `Mask.from_zeros` unless given, and the result says which.
        threshold: |output| <= threshold counts as zero: 0 for ReLU; a smooth activation needs one.
        every: use each ``every``-th batch only.
        forward: how to run the model on a batch, if not ``model(inputs)``.
        prunable: which weights the default mask covers.

    Raises:
        NoSites: if the model calls no activation module, or at threshold 0 only smooth ones.
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
