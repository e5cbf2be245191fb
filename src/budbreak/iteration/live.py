"""What the user gave to `iterate`, and what is read from it: evidence, and the record of a training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from budbreak.criteria import Criterion
from budbreak.errors import InvalidValue
from budbreak.evidence import Evidence, Samples, StartWeights, probe
from budbreak.graph import Batches, Forward, Loss
from budbreak.iteration.invariants import mask_digest
from budbreak.iteration.plan import LevelTarget, Plan
from budbreak.iteration.state import LevelRecord, Position
from budbreak.live import Resettable, model_digest
from budbreak.masks import Mask, prunable_parameters
from budbreak.processes import Processes


@dataclass(frozen=True)
class Live:
    """What the user gave to `budbreak.iterate`, unchanged throughout."""

    model: nn.Module
    optimizer: Optimizer
    plan: Plan
    batches: Batches | None
    loss: Loss | None
    forward: Forward | None
    samples: Samples | None
    resets: tuple[Resettable, ...]
    seed: int
    mask_grads: bool | None
    processes: Processes


def collect_evidence(live: Live, stage: int, start_weights: Mapping[str, Tensor]) -> Evidence:
    """What the criteria that act before a stage need: the host's, and those of its follow-ups."""
    plan = live.plan
    here = [f for f in plan.then if not f.retrains] if stage == 0 else [plan.retraining[stage - 1]]
    criteria = [plan.criterion, *(f.criterion for f in here if f.criterion is not None)]
    return probe(
        live.model,
        [need for criterion in criteria for need in criterion.needs],
        batches=live.batches,
        loss=live.loss,
        forward=live.forward,
        samples=live.samples,
        prunable=plan.prunable,
        start=start_weights,
        group=live.processes,
    )


def check_moved(live: Live, before: Position, target: LevelTarget, start_weights: Mapping[str, Tensor]) -> None:
    """Refuse to remove by displacement what was not trained: all scores would be equal, and the index would decide.

    Args:
        live: what the user gave.
        before: the training that is over.
        target: of the level that begins, or goes on with its next stage.
        start_weights: from the start of that training.

    Raises:
        InvalidValue: if a criterion that is about to remove something looks at start weights, and no step was taken.
    """
    now = prunable_parameters(live.model, live.plan.prunable)
    looking = [one for one in _acting(live.plan, before, target) if StartWeights() in one.needs]
    if not looking or not all(torch.equal(weight.detach(), start_weights[name]) for name, weight in now.items()):
        return
    value = f"{looking[0]} is to remove weights, but none has moved in the training before"
    rule = "it looks at how far weights moved: where none did, their index alone decides"
    if before.steps == before.first_step:
        raise InvalidValue(value, rule, "train first, in level 0 too, or use a criterion that does not look at it")
    if not live.plan.allow_collapse:
        warnings.warn(f"{value}: {rule}. Is the network dead, the learning rate 0, or all of it frozen?", stacklevel=2)


def _acting(plan: Plan, before: Position, target: LevelTarget) -> list[Criterion]:
    """The criteria that remove something after the training ``before``."""
    again = target.level == before.level
    removing = zip(plan.then, target.shares, strict=True)
    acting = [f.criterion for f, share in removing if share and f.criterion is not None and f.retrains == again]
    return acting if again or not target.host else [plan.criterion, *acting]


def make_record(
    live: Live, here: Position, mask: Mask, *, invariants: Mapping[str, bool], seconds: float, last_stage: bool
) -> LevelRecord:
    """The record of the training that stands at ``here``."""
    everything = sum(parameter.numel() for parameter in live.model.parameters())
    counted_total, counted_kept = live.plan.things(mask)
    return LevelRecord(
        level=here.level,
        stage=here.stage,
        last_stage=last_stage,
        kept=mask.kept,
        total=mask.total,
        density=mask.density,
        density_all=(everything - mask.total + mask.kept) / everything,
        counted=live.plan.granularity.counted,
        counted_kept=counted_kept,
        counted_total=counted_total,
        spared=tuple(live.plan.granularity.spared),
        host_removed=here.host,
        follow_ups_removed=here.follow_ups,
        shortfall=here.shortfall,
        steps=here.steps - here.first_step,
        epochs=here.epochs,
        seconds=seconds,
        rewound=here.rewound,
        mask_digest=mask_digest(mask),
        end_digest=model_digest(live.model),
        metrics=dict(here.metrics or {}),
        invariants=invariants,
        world_size=live.processes.size,
    )


def warn_of_zeros(live: Live) -> None:
    """Say that exact zeros at the start are taken as alive."""
    zeros = Mask.from_zeros(live.model, live.plan.prunable)
    if zeros.kept < zeros.total:
        warnings.warn(
            f"{zeros.total - zeros.kept} of {zeros.total} prunable weights are exactly 0 at the start; they are "
            "taken as alive. To go on from a sparse model, give mask=Mask.from_zeros(model).",
            stacklevel=4,
        )
